"""Plain nets and ResNets for CIFAR against §4.2 of the paper."""

import numpy as np
import pytest

from minicnn import Tensor, seed
from minicnn.models import resnet_cifar
from minicnn.models.resnet import BasicBlock
from minicnn.nn import init
from tests.models.residual_checks import check_gradients, check_learning, counts, outputs, rows

IMAGE = (3, 32, 32)
DEPTHS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}


def multiply_adds(depth):
    """conv1, then n blocks of two 3×3 a stage, c² · 9 · pixels each, but c·c/2 for a new stage's first; then fc."""
    n = (depth - 2) // 6
    each = 16 * 16 * 9 * 32 * 32  # in all stages the same: twice the channels, half the rows and columns
    return 3 * 16 * 9 * 32 * 32 + 3 * 2 * n * each - 2 * each // 2 + 64 * 10


@pytest.mark.parametrize("depth", DEPTHS)
@init.shapes_only()
def test_counts_of_option_a(depth):
    net = getattr(resnet_cifar, f"resnet{depth}")()
    assert counts(net, IMAGE) == (DEPTHS[depth], multiply_adds(depth))
    in_millions = {20: 40.55, 32: 68.86, 44: 97.17, 56: 125.49, 110: 252.89, 1202: 2829.24}
    assert round(multiply_adds(depth) / 1e6, 2) == in_millions[depth]


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_plain_nets_have_the_parameters_of_option_a(depth):
    assert counts(getattr(resnet_cifar, f"plain{depth}")(), IMAGE) == (DEPTHS[depth], multiply_adds(depth))


@pytest.mark.parametrize(("depth", "parameters"), [(20, 272_474), (56, 855_770)])
@init.shapes_only()
def test_counts_of_option_b(depth, parameters):
    # two projections with their batch norms: 16·32 + 2·32 and 32·64 + 2·64 parameters, 16·32·16² and 32·64·8² products
    assert parameters == DEPTHS[depth] + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    net = getattr(resnet_cifar, f"resnet{depth}")(shortcut="B")
    assert counts(net, IMAGE) == (parameters, multiply_adds(depth) + 16 * 32 * 16**2 + 32 * 64 * 8**2)


@pytest.mark.parametrize("net", [resnet_cifar.plain20, resnet_cifar.resnet20])
def test_layers(net):
    model = net()
    parts = ["conv1", "layer1", "layer2", "layer3", "avgpool", "fc"]
    assert outputs(model, IMAGE, parts) == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8), (64,), (10,)]
    found = rows(model, IMAGE)
    assert len(found) == 20  # depth counts convolutions and the linear layer
    assert found["layer2.0.conv1"] == ((32, 16, 16), 16 * 32 * 9, 16 * 32 * 9 * 256)
    assert found["layer3.2.conv2"] == ((64, 8, 8), 64 * 64 * 9, 64 * 64 * 9 * 64)


def test_names_of_the_state():
    shapes = {name: a.shape for name, a in resnet_cifar.resnet20().state_dict().items()}
    expected = {
        "conv1.weight": (16, 3, 3, 3), "bn1.weight": (16,), "layer1.0.conv1.weight": (16, 16, 3, 3),
        "layer2.0.conv1.weight": (32, 16, 3, 3), "layer3.2.bn2.running_var": (64,), "fc.weight": (10, 64),
        "fc.bias": (10,),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected
    assert not [name for name in shapes if "downsample" in name]
    assert "layer2.0.downsample.1.bias" in resnet_cifar.resnet20(shortcut="B").state_dict()


def test_a_plain_net_and_a_resnet_take_the_same_state():
    seed(1)
    plain = resnet_cifar.plain20(width=0.25)
    seed(1)
    residual = resnet_cifar.resnet20(width=0.25)
    state = plain.state_dict()
    assert all(np.array_equal(a, state[name]) for name, a in residual.state_dict().items())
    residual.load_state_dict(state)
    x = Tensor(np.random.default_rng(0).standard_normal((2, *IMAGE)).astype(np.float32))
    assert not np.allclose(plain(x).numpy(), residual(x).numpy())


def test_option_a_takes_every_second_pixel_and_adds_zeros():
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    y = resnet_cifar.subsample_and_pad(3, 5, 2)(Tensor(x)).numpy()
    assert y.shape == (2, 5, 2, 3)
    assert y.dtype == np.float32
    assert np.array_equal(y[:, :3], x[:, :, ::2, ::2])
    assert not y[:, 3:].any()


def test_a_plain_block_is_the_branch_of_a_basic_block():
    seed(2)
    plain = resnet_cifar.PlainBlock(4, 4)
    block = BasicBlock(4, 4)
    block.load_state_dict(plain.state_dict())
    x = Tensor(np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32))
    assert np.array_equal(plain(x).numpy(), np.maximum(block.branch(x).numpy(), 0))


def test_options():
    net = resnet_cifar.resnet_cifar(8, shortcut="A", num_classes=7, in_channels=1, width=0.5)
    assert net(Tensor(np.zeros((2, 1, 32, 32), np.float32))).shape == (2, 7)
    assert outputs(net, (1, 32, 32), ["conv1", "layer3"]) == [(8, 32, 32), (32, 8, 8)]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((21,), r"^depth \(=21\) must be 6n \+ 2, with n blocks in each of the 3 stages: use 20 or 26$"),
    ((2,), r"^depth \(=2\) must be 6n \+ 2, with n blocks in each of the 3 stages: use 8 or 14$"),
    ((0,), r"^depth \(=0\) must be at least 1$"),
    ((20, "C"), r"^unknown shortcut 'C'.* Known: A, B$"),
])  # fmt: skip
def test_bad_options(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        resnet_cifar.resnet_cifar(*arguments)


@pytest.mark.parametrize(("depth", "option"), [(20, "A"), (20, "B"), (56, "A"), (20, None)])
def test_gradients(depth, option, rng):
    seed(0)
    build = resnet_cifar.resnet_cifar if option else resnet_cifar.plain_cifar
    shortcut = {"shortcut": option} if option else {}
    check_gradients(build(depth, num_classes=5, width=0.25, **shortcut), (3, 3, 16, 16), rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet56", "resnet110", "plain20"])
def test_learns_one_batch_by_heart(name, rng):
    seed(0)
    check_learning(getattr(resnet_cifar, name)(num_classes=8, width=0.5), (3, 16, 16), rng)


@pytest.mark.slow
def test_option_b_learns_one_batch_by_heart(rng):
    seed(0)
    check_learning(resnet_cifar.resnet20(num_classes=8, shortcut="B", width=0.5), (3, 16, 16), rng)
