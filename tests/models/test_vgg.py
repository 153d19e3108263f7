"""VGG against the paper's tables 1 and 2 and torchvision's counts."""

import numpy as np
import pytest

from minicnn import Tensor, seed
from minicnn.models import vgg
from minicnn.nn import init
from tests.models.straight_checks import (
    check_every_parameter_learns,
    check_gradients,
    check_learning,
    counted,
    outputs,
    shapes,
)

IMAGE = (3, 224, 224)

# parameters, running statistics, multiply-adds, layers with weights, millions of parameters in table 2
COUNTS = {
    "vgg11": (132_863_336, 0, 7_609_090_048, 11, 133), "vgg11_lrn": (132_863_336, 0, 7_609_090_048, 11, 133),
    "vgg13": (133_047_848, 0, 11_308_466_176, 13, 133), "vgg16_c": (133_638_952, 0, 11_770_888_192, 16, 134),
    "vgg16": (138_357_544, 0, 15_470_264_320, 16, 138), "vgg19": (143_667_240, 0, 19_632_062_464, 19, 144),
    "vgg11_bn": (132_868_840, 5_504, 7_609_090_048, 11, None),
    "vgg13_bn": (133_053_736, 5_888, 11_308_466_176, 13, None),
    "vgg16_bn": (138_365_992, 8_448, 15_470_264_320, 16, None),
    "vgg19_bn": (143_678_248, 11_008, 19_632_062_464, 19, None),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
@init.shapes_only()
def test_counts(name):
    builder = getattr(vgg, name)
    parameters, buffers, macs, layers, millions = COUNTS[name]
    summary = counted(builder, IMAGE)
    totals = summary.totals
    assert (totals["parameters"], totals["buffers"], totals["macs"]) == (parameters, buffers, macs)
    assert len(outputs(summary, "Conv2d", "Linear")) == layers
    assert outputs(summary, "MaxPool2d") == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
    assert millions in (None, round(parameters / 1e6))
    assert f"{parameters:,}" in builder.__doc__
    assert f"{macs:,}" in builder.__doc__


def test_vgg16_layer_by_layer():
    summary = counted(vgg.vgg16, IMAGE)
    assert [row.parameters for row in summary.layers if row.parameters] == [
        1_792, 36_928, 73_856, 147_584, 295_168, 590_080, 590_080, 1_180_160, *[2_359_808] * 5,
        102_764_544, 16_781_312, 4_097_000]  # fmt: skip
    values = [IMAGE, *outputs(summary, "Conv2d", "MaxPool2d", "Linear")]
    assert sum(int(np.prod(shape)) for shape in values) == 15_237_608


def test_net_c_has_1x1_filters():
    assert [shape for name, shape in shapes(vgg.vgg16_c, width=1 / 64).items()
            if len(shape) == 4 and shape[2:] == (1, 1)] == [(4, 4, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1)]  # fmt: skip


def test_net_a_lrn_normalises_once():
    kinds = [row.kind for row in counted(vgg.vgg11_lrn, (3, 32, 32), width=1 / 64).layers]
    assert kinds[:4] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert kinds.count("LocalResponseNorm") == 1


def test_three_3x3_filters_are_cheaper_than_one_7x7():
    C = 64
    stack = 3 * shapes(vgg.vgg16)["features.2.weight"][0] * C * 9
    assert (stack, C * C * 49) == (27 * C**2, 49 * C**2) == (110_592, 200_704)


def test_names_of_the_state():
    found = shapes(vgg.vgg11)
    assert list(found) == [f"{layer}.{name}" for layer in (
        "features.0", "features.3", "features.6", "features.8", "features.11", "features.13", "features.16",
        "features.18", "classifier.0", "classifier.3", "classifier.6") for name in ("weight", "bias")]  # fmt: skip
    assert found["classifier.0.weight"] == (4096, 25088)
    found = shapes(vgg.vgg16_bn)
    assert list(found)[:7] == ["features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias",
                               "features.1.running_mean", "features.1.running_var", "features.3.weight"]  # fmt: skip
    assert found["features.40.weight"] == (512, 512, 3, 3)
    assert found["features.41.running_var"] == (512,)
    assert shapes(vgg.vgg19)["features.34.weight"] == (512, 512, 3, 3)


def test_bad_options():
    with pytest.raises(ValueError, match=r"num_classes \(=0\) must be at least 1"):
        vgg.vgg11(num_classes=0)
    with pytest.raises(ValueError, match=r"width \(=0\) must be above 0"):
        vgg.vgg11(width=0)


@pytest.mark.parametrize("name", COUNTS)
def test_gradients(name, rng):
    seed(0)
    net = getattr(vgg, name)(num_classes=7, in_channels=2, dropout=0, width=1 / 16)
    assert net(Tensor(np.zeros((2, 2, 35, 32), np.float32))).shape == (2, 7)
    check_gradients(net, (3, 2, 32, 32), rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_learns_one_batch_by_heart(name, rng):
    seed(0)
    net = getattr(vgg, name)(num_classes=8, dropout=0, width=1 / 8)
    check_learning(net, (3, 32, 32), rng, steps=80)
    check_every_parameter_learns(net.eval(), (2, 3, 32, 32), rng)
