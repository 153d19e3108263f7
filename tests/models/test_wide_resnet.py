"""Wide ResNets: the eight nets of the paper's tables 4 and 5 on CIFAR, and torchvision's two."""

import numpy as np
import pytest

from minicnn import Tensor, nn, seed
from minicnn.models import wide_resnet
from minicnn.nn import init
from tests.models.residual_checks import check_gradients, check_learning, counts, outputs, rows

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
PARAMETERS = {
    (40, 1): 563_930, (40, 2): 2_243_546, (40, 4): 8_949_210, (16, 4): 2_748_890, (16, 8): 10_961_370,
    (22, 8): 17_158_106, (28, 10): 36_479_194, (28, 12): 52_517_850,
}  # fmt: skip


def multiply_adds(depth, k):
    """conv1, then 2n 3×3 a stage, which all cost the same but a stage's first, then three projections, then fc."""
    n, c, P = (depth - 4) // 6, 16 * k, 32 * 32
    macs = 3 * 16 * 9 * P + 3 * 2 * n * c * c * 9 * P
    macs -= (c - 16) * c * 9 * P + 2 * c * c * 9 * P // 2       # the firsts read 16, c and 2c channels
    macs += (16 * c * P if k > 1 else 0) + 2 * c * c * P // 2    # 16 → c, c → 2c on P/4, 2c → 4c on P/16
    return macs + 4 * c * 10


@pytest.mark.parametrize(("depth", "k"), PARAMETERS)
@init.shapes_only()
def test_counts_on_cifar(depth, k):
    net = getattr(wide_resnet, f"wrn_{depth}_{k}")()
    assert counts(net, CIFAR) == (PARAMETERS[depth, k], multiply_adds(depth, k))


def test_the_cost_that_is_printed():
    assert multiply_adds(28, 10) == 5_243_328_768


@pytest.mark.parametrize(("name", "parameters", "macs"), [
    ("wide_resnet50_2", 68_883_240, 11_398_021_120), ("wide_resnet101_2", 126_886_696, 22_753_050_624),
])  # fmt: skip
@init.shapes_only()
def test_counts_on_imagenet(name, parameters, macs):
    assert counts(getattr(wide_resnet, name)(), IMAGENET) == (parameters, macs)


def test_layers_on_cifar():
    net = wide_resnet.wrn(16, 2)
    parts = ["conv1", "layer1", "layer2", "layer3", "avgpool", "fc"]
    assert outputs(net, CIFAR, parts) == [(16, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8), (128,), (10,)]
    found = rows(net, CIFAR, kinds=("Conv2d",))
    assert len(found) == 16  # depth counts convolutions, projections too
    assert found["layer1.0.downsample"] == ((32, 32, 32), 16 * 32, 16 * 32 * 1024)


def test_names_of_the_state():
    shapes = {name: a.shape for name, a in wide_resnet.wrn(10, 2, dropout=0.3).state_dict().items()}
    expected = {
        "conv1.weight": (16, 3, 3, 3), "bn1.weight": (16,), "layer1.0.conv1.weight": (32, 16, 3, 3),
        "layer1.0.bn2.weight": (32,), "layer1.0.downsample.weight": (32, 16, 1, 1), "layer2.0.bn1.weight": (32,),
        "layer3.0.conv2.weight": (128, 128, 3, 3), "bn2.bias": (128,), "fc.weight": (10, 128),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected


def test_names_on_imagenet():
    shapes = {name: a.shape for name, a in wide_resnet.wide_resnet50_2(width=1 / 16).state_dict().items()}
    assert shapes["layer1.0.conv2.weight"] == (8, 8, 3, 3)     # twice resnet50's
    assert shapes["layer1.0.conv3.weight"] == (16, 8, 1, 1)    # as many as resnet50's
    assert shapes["layer4.0.downsample.0.weight"] == (128, 64, 1, 1)


def test_dropout_works_in_training_alone():
    seed(0)
    net, x = wide_resnet.wrn(10, 1, dropout=0.3), Tensor(np.ones((2, *CIFAR), np.float32))
    seed(0)
    without = wide_resnet.wrn(10, 1)
    assert [m.p for _, m in net.named_modules() if isinstance(m, nn.Dropout)] == [0.3] * 3
    assert np.array_equal(net.eval()(x).numpy(), without.eval()(x).numpy())
    assert not np.array_equal(net.train()(x).numpy(), net(x).numpy())


def test_options():
    net = wide_resnet.wrn(10, 3, num_classes=7, in_channels=1)
    assert net(Tensor(np.zeros((2, 1, 32, 32), np.float32))).shape == (2, 7)


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((30, 4), r"^depth \(=30\) must be 6n \+ 4, with n blocks in each of the 3 stages: use 28 or 34$"),
    ((28, 0), r"^k \(=0\) must be at least 1$"),
    ((28, 2, 1.0), r"^Dropout: p \(=1.0\) must be at least 0 and below 1"),
])  # fmt: skip
def test_bad_options(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        wide_resnet.wrn(*arguments)


@pytest.mark.parametrize(("depth", "k"), [(16, 1), (16, 2), (28, 1)])
def test_gradients_on_cifar(depth, k, rng):
    seed(0)
    check_gradients(wide_resnet.wrn(depth, k, num_classes=5), (2, 3, 8, 8), rng)


def test_gradients_on_imagenet(rng):
    seed(0)
    check_gradients(wide_resnet.wide_resnet50_2(num_classes=5, width=1 / 16), (3, 3, 64, 64), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "k", "dropout"), [(16, 2, 0.0), (16, 2, 0.3), (28, 1, 0.0)])
def test_learns_one_batch_by_heart_on_cifar(depth, k, dropout, rng):
    seed(0)
    check_learning(wide_resnet.wrn(depth, k, dropout, num_classes=8), (3, 16, 16), rng)


@pytest.mark.slow
def test_learns_one_batch_by_heart_on_imagenet(rng):
    seed(0)
    check_learning(wide_resnet.wide_resnet50_2(num_classes=8, width=1 / 8), (3, 64, 64), rng)
