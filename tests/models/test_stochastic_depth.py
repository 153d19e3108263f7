"""Stochastic depth: which branches stay, and that the nets in training and in use are the paper's."""

import numpy as np
import pytest

from minicnn import Tensor, nn, seed
from minicnn.models import stochastic_depth
from minicnn.models.resnet_cifar import resnet110, resnet_cifar
from minicnn.nn import init
from tests.models.residual_checks import check_gradients, check_learning, counts

CIFAR = (3, 32, 32)


@init.shapes_only()
def test_counts():
    assert counts(stochastic_depth.resnet110_stochastic_depth(), CIFAR) == (1_727_962, 252_887_680)


def test_survival_falls_along_a_line():
    p = stochastic_depth.survivals(54, 0.5)
    assert p[0] == 1 - 0.5 / 54
    assert p[-1] == 0.5
    assert np.allclose(np.diff(p), -0.5 / 54)
    assert np.isclose(sum(p), 40.25)  # (3·54 − 1)/4: "40 blocks" of §3
    net = stochastic_depth.resnet110_stochastic_depth()
    drops = [m for _, m in net.named_modules() if isinstance(m, nn.StochasticDepth)]
    assert np.allclose([1 - m.p for m in drops], p)
    assert {m.mode for m in drops} == {"batch"}


def test_the_state_is_that_of_resnet110():
    state = resnet110(width=0.25).state_dict()
    assert stochastic_depth.resnet110_stochastic_depth(width=0.25).load_state_dict(state).ok
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer3.17.bn2.running_var", "fc.bias"} <= state.keys()


def test_in_use_every_branch_counts_as_much_as_it_was_there():
    seed(0)
    block = stochastic_depth.SurvivingBlock(4, 4, survival=0.75).astype("float64").eval()
    x = Tensor(np.random.default_rng(0).standard_normal((3, 4, 5, 6)))
    expected = np.maximum(0.75 * block.branch(x).numpy() + x.numpy(), 0)
    assert np.allclose(block(x).numpy(), expected, rtol=1e-12)


def test_in_training_a_branch_is_there_as_it_is_or_not_at_all():
    seed(0)
    block = stochastic_depth.SurvivingBlock(4, 4, survival=0.75).astype("float64")
    x = Tensor(np.random.default_rng(0).standard_normal((3, 4, 5, 6)))
    without = np.maximum(x.numpy(), 0)
    whole = np.maximum(block.branch(x).numpy() + x.numpy(), 0)
    there = []
    for _ in range(400):
        y = block(x).numpy()
        there.append(np.allclose(y, whole, rtol=1e-12))
        assert there[-1] or np.array_equal(y, without)
    assert 0.68 < np.mean(there) < 0.82  # 0.75 ± 3 standard deviations of 0.022


def test_shortcuts_average_and_pad():
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    y = stochastic_depth.average_and_pad(3, 6, 2)(Tensor(x)).numpy()
    assert y.shape == (2, 6, 2, 3)
    assert np.allclose(y[:, :3], x.reshape(2, 3, 2, 2, 3, 2).mean((3, 5)))
    assert not y[:, 3:].any()


@pytest.mark.parametrize("build", [stochastic_depth.stochastic_depth_resnet, resnet_cifar])
def test_odd_images(build):
    """Shortcuts and strided convolutions agree about the last row."""
    assert build(8)(Tensor(np.zeros((1, 3, 29, 30), np.float32))).shape == (1, 10)


def test_options():
    net = stochastic_depth.stochastic_depth_resnet(8, num_classes=7, in_channels=1, width=0.5)
    assert net(Tensor(np.zeros((2, 1, 32, 32), np.float32))).shape == (2, 7)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"depth": 111}, r"^depth \(=111\) must be 6n \+ 2, with n blocks in each of the 3 stages: use 110 or 116$"),
    ({"survival": 0}, r"^survival \(=0\) must be above 0 and at most 1: it is the probability that the last block "
                      "stays$"),
    ({"survival": 1.5}, r"^survival \(=1.5\) must be above 0 and at most 1"),
])  # fmt: skip
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        stochastic_depth.stochastic_depth_resnet(**options)


def test_gradients(rng):
    seed(0)
    net = stochastic_depth.stochastic_depth_resnet(20, num_classes=5, width=0.25)
    for _, module in net.named_modules():
        if isinstance(module, nn.StochasticDepth):
            module.p = 0.0  # no chance: finite differences need the same function twice
    check_gradients(net, (3, 3, 16, 16), rng)


@pytest.mark.slow
@pytest.mark.parametrize("survival", [1.0, 0.8])
def test_learns_one_batch_by_heart(survival, rng):
    seed(0)
    net = stochastic_depth.stochastic_depth_resnet(20, survival, num_classes=8, width=0.5)
    check_learning(net, (3, 16, 16), rng)
