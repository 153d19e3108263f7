"""Network in Network against the counts of its authors' Caffe model zoo."""

import numpy as np
import pytest

from minicnn import Tensor, nn, seed
from minicnn.models.nin import MLPConv, nin_cifar, nin_imagenet
from minicnn.nn import init
from tests.models.straight_checks import (
    check_every_parameter_learns,
    check_gradients,
    check_learning,
    counted,
    outputs,
    shapes,
    undrawn,
)


@pytest.mark.parametrize(("builder", "size", "parameters", "macs"), [
    (nin_cifar, 32, 966_986, 222_486_528),
    (nin_imagenet, 224, 7_595_176, 1_100_188_800),
    (nin_imagenet, 227, 7_595_176, 1_105_996_320),
])  # fmt: skip
@init.shapes_only()
def test_counts(builder, size, parameters, macs):
    totals = counted(builder, (3, size, size)).totals
    assert (totals["parameters"], totals["buffers"], totals["macs"]) == (parameters, 0, macs)
    assert f"{parameters:,}" in builder.__doc__
    assert f"{macs:,}" in builder.__doc__


def test_sizes():
    summary = counted(nin_cifar, (3, 32, 32))
    assert outputs(summary, "MaxPool2d", "AvgPool2d", "GlobalAvgPool2d") == [(96, 16, 16), (192, 8, 8), (10,)]
    assert outputs(summary, "Conv2d")[:3] == [(192, 32, 32), (160, 32, 32), (96, 32, 32)]
    summary = counted(nin_imagenet, (3, 224, 224))
    assert outputs(summary, "MaxPool2d", "GlobalAvgPool2d") == [(96, 27, 27), (256, 13, 13), (384, 6, 6), (1000,)]
    assert outputs(summary, "Conv2d")[0] == (96, 54, 54)
    assert outputs(summary, "Linear") == []                                        # nothing is fully connected


def test_names_of_the_state():
    found = shapes(nin_cifar)
    assert list(found) == [f"mlpconv{i}.{layer}.{name}" for i in (1, 2, 3) for layer in ("conv", "mlp1", "mlp2")
                           for name in ("weight", "bias")]  # fmt: skip
    assert found["mlpconv1.conv.weight"] == (192, 3, 5, 5)
    assert found["mlpconv1.mlp2.weight"] == (96, 160, 1, 1)
    found = shapes(nin_imagenet)
    assert len(found) == 24
    assert found["mlpconv1.conv.weight"] == (96, 3, 11, 11)
    assert found["mlpconv4.mlp2.weight"] == (1000, 1024, 1, 1)


def test_an_mlpconv_is_a_dense_net_in_each_window(rng):
    block = MLPConv(3, 5, 4, 2, kernel_size=3, stride=2).astype("float64")
    x = rng.standard_normal((1, 3, 7, 9))
    y = block(Tensor(x)).numpy()
    assert y.shape == (1, 2, 3, 4)
    for i in range(3):
        for j in range(4):
            v = x[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].ravel()
            for layer in (block.conv, block.mlp1, block.mlp2):
                w, b = layer.weight.data, layer.bias.data
                v = np.maximum(w.reshape(len(w), -1) @ v + b, 0)
            np.testing.assert_allclose(y[0, :, i, j], v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("builder", [nin_cifar, nin_imagenet])
def test_no_class_starts_behind_a_closed_relu(builder):
    with undrawn():
        net = builder(num_classes=5, width=1 / 16)
    last = [layer for layer in net if isinstance(layer, MLPConv)][-1].mlp2
    assert (last.bias.data == 1).all()
    assert [layer.p for layer in net if isinstance(layer, nn.Dropout)] == [0.5] * (2 if builder is nin_cifar else 1)


@pytest.mark.parametrize("builder", [nin_cifar, nin_imagenet])
def test_bad_options(builder):
    with pytest.raises(ValueError, match=r"num_classes \(=0\) must be at least 1"):
        builder(num_classes=0)
    with pytest.raises(ValueError, match=r"width \(=0\) must be above 0"):
        builder(width=0)


SMALL = [(nin_cifar, 32), (nin_imagenet, 127)]


@pytest.mark.parametrize(("builder", "size"), SMALL)
def test_gradients(builder, size, rng):
    seed(0)
    net = builder(num_classes=7, in_channels=2, dropout=0, width=1 / 16)
    assert net(Tensor(np.zeros((1, 2, size, size), np.float32))).shape == (1, 7)
    check_gradients(net, (2, 2, size, size), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("builder", "size"), SMALL)
def test_learns_one_batch_by_heart(builder, size, rng):
    seed(0)
    net = builder(num_classes=8, dropout=0, width=1 / 4)
    check_every_parameter_learns(net, (2, 3, size, size), rng)
    check_learning(net, (3, size, size), rng)
