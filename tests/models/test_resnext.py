"""ResNeXt against torchvision's counts and the paper's table 7."""

import numpy as np
import pytest

from minicnn import Tensor, seed
from minicnn.models import resnext
from minicnn.nn import init
from minicnn.ops.activation import relu
from minicnn.ops.conv import conv2d
from tests.models.residual_checks import check_gradients, check_learning, counts, outputs, rows

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


@pytest.mark.parametrize(("name", "shape", "parameters", "macs"), [
    ("resnext50_32x4d", IMAGENET, 25_028_904, 4_230_479_872),
    ("resnext101_32x8d", IMAGENET, 88_791_336, 16_414_015_488),
    ("resnext101_64x4d", IMAGENET, 83_455_272, 15_460_270_080),
    ("resnext29_8x64d", CIFAR, 34_426_698, 5_387_266_048),
    ("resnext29_16x64d", CIFAR, 68_155_210, 10_688_866_304),
])  # fmt: skip
@init.shapes_only()
def test_counts(name, shape, parameters, macs):
    assert counts(getattr(resnext, name)(), shape) == (parameters, macs)


@pytest.fixture(scope="module")
def resnext50():
    return resnext.resnext50_32x4d()


def test_the_first_bottleneck_of_table_1(resnext50):
    found, P = rows(resnext50, IMAGENET), 56 * 56
    assert [found[f"layer1.0.conv{i}"] for i in (1, 2, 3)] == [
        ((128, 56, 56), 64 * 128, 64 * 128 * P),
        ((128, 56, 56), 128 * 4 * 9, 128 * 4 * 9 * P),
        ((256, 56, 56), 128 * 256, 128 * 256 * P),
    ]
    # fig. 1 and eq. 4: C·(256·d + 3·3·d·d + d·256) with C = 32, d = 4, about the 70 thousand of a plain bottleneck
    block = sum(found[f"layer1.1.conv{i}"][1] for i in (1, 2, 3))
    assert block == 32 * (256 * 4 + 9 * 4 * 4 + 4 * 256) == 70_144
    assert 256 * 64 + 9 * 64 * 64 + 64 * 256 == 69_632


def test_names_and_shapes_of_the_state(resnext50):
    shapes = {name: a.shape for name, a in resnext50.state_dict().items()}
    expected = {
        "conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (128, 64, 1, 1),
        "layer1.0.conv2.weight": (128, 4, 3, 3), "layer1.0.conv3.weight": (256, 128, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer2.0.bn1.weight": (256,),
        "layer4.2.conv2.weight": (1024, 32, 3, 3), "layer4.2.bn3.running_var": (2048,), "fc.weight": (1000, 2048),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected
    assert len(shapes) == 267


def test_layers_on_cifar():
    net = resnext.resnext_cifar(2, 8, width=1 / 8)
    parts = ["conv1", "layer1", "layer2", "layer3", "avgpool", "fc"]
    assert outputs(net, CIFAR, parts) == [(8, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8), (128,), (10,)]
    assert len(rows(net, CIFAR)) == 29 + 3  # depth doesn't count projections


def test_grouped_bottlenecks_are_sums_of_paths():
    """Fig. 3: (a) C separate paths, summed, and (c) one bottleneck with C groups are the same function."""
    seed(0)
    C, d = 4, 3
    block = resnext.aggregated(C, d * 256 // 16)(16, 16, 1).astype("float64").eval()
    w1, w2, w3 = (conv.weight.data for conv in (block.conv1, block.conv2, block.conv3))
    assert (w1.shape, w2.shape, w3.shape) == ((C * d, 16, 1, 1), (C * d, d, 3, 3), (16, C * d, 1, 1))
    x = Tensor(np.random.default_rng(0).standard_normal((2, 16, 5, 6)))
    norm = np.sqrt(1 + 1e-5)                                                  # a fresh batch norm in use divides by it
    total = x
    for path in range(C):
        own = slice(path * d, (path + 1) * d)
        y = relu(conv2d(x, Tensor(w1[own])) / norm)
        y = relu(conv2d(y, Tensor(w2[own]), padding=1) / norm)
        total = total + conv2d(y, Tensor(w3[:, own])) / norm
    assert np.allclose(block(x).numpy(), relu(total).numpy(), rtol=1e-10)


def test_options():
    net = resnext.resnext50_32x4d(num_classes=7, in_channels=2, width=1 / 64)
    assert net(Tensor(np.zeros((2, 2, 64, 64), np.float32))).shape == (2, 7)
    assert net["layer1"][0].conv2.weight.shape == (32, 1, 3, 3)  # a group has one channel at least


@pytest.mark.parametrize(("arguments", "options", "sentence"), [
    ((8, 64, 30), {}, r"^depth \(=30\) must be 9n \+ 2, with n blocks in each of the 3 stages: use 29 or 38$"),
    ((8, 64), {"width": -1}, r"^width \(=-1\) must be above 0"),
    ((0, 64), {}, r"must be at least 1"),
])  # fmt: skip
def test_bad_options(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        resnext.resnext_cifar(*arguments, **options)


def test_gradients_on_imagenet(rng):
    seed(0)
    check_gradients(resnext.resnext50_32x4d(num_classes=5, width=1 / 16), (3, 3, 64, 64), rng)


def test_gradients_on_cifar(rng):
    seed(0)
    check_gradients(resnext.resnext29_8x64d(num_classes=5, width=1 / 64), (3, 3, 16, 16), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "width"), [
    ("resnext50_32x4d", (3, 64, 64), 1 / 8), ("resnext101_64x4d", (3, 64, 64), 1 / 16),
    ("resnext29_8x64d", (3, 16, 16), 1 / 16), ("resnext29_16x64d", (3, 16, 16), 1 / 16),
])  # fmt: skip
def test_learns_one_batch_by_heart(name, shape, width, rng):
    seed(0)
    check_learning(getattr(resnext, name)(num_classes=8, width=width), shape, rng)
