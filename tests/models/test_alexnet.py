"""AlexNet and ZFNet against their papers' arithmetic and torchvision's counts."""

import numpy as np
import pytest

from minicnn import Tensor, nn, seed
from minicnn.models.alexnet import alexnet
from minicnn.models.zfnet import zfnet
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

# builder, options, image, parameters, multiply-adds
COUNTS = [
    (alexnet, {}, 224, 61_100_840, 714_188_480),
    (alexnet, {"variant": "paper"}, 227, 60_965_224, 724_406_816),
    (alexnet, {"variant": "paper", "groups": 1}, 227, 62_378_344, 1_135_256_096),
    (zfnet, {}, 224, 62_357_608, 1_168_032_896),
    (zfnet, {"variant": "wide"}, 224, 107_627_624, 2_476_704_896),
]


@pytest.mark.parametrize(("builder", "options", "size", "parameters", "macs"), COUNTS)
@init.shapes_only()
def test_counts(builder, options, size, parameters, macs):
    totals = counted(builder, (3, size, size), **options).totals
    assert (totals["parameters"], totals["buffers"], totals["macs"]) == (parameters, 0, macs)
    assert f"{parameters:,}" in builder.__doc__
    assert f"{macs:,}" in builder.__doc__


def test_the_papers_convolutions():
    summary = counted(alexnet, (3, 227, 227), variant="paper")
    convolutions = [row for row in summary.layers if row.kind == "Conv2d"]
    assert [row.parameters for row in convolutions] == [34_944, 307_456, 885_120, 663_936, 442_624]
    assert [row.macs for row in convolutions] == [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192]
    assert outputs(summary, "Conv2d", "MaxPool2d") == [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13),
        (256, 6, 6)]  # fmt: skip
    neurons = sum(int(np.prod(shape)) for shape in outputs(summary, "Conv2d", "Linear"))
    assert neurons == 659_272                                                      # the paper: 650,000


def test_the_papers_order():
    kinds = [row.kind for row in counted(alexnet, (3, 227, 227), variant="paper", width=1 / 16).layers]
    block = ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]                   # norm before pooling
    assert kinds == [*block, *block, *["Conv2d", "ReLU"] * 3, "MaxPool2d", "Flatten",
                     *["Linear", "ReLU", "Dropout"] * 2, "Linear"]  # fmt: skip


def test_the_papers_constants():
    with undrawn():
        net = alexnet(variant="paper", width=1 / 16)
    norms = [layer for layer in net["features"] if isinstance(layer, nn.LocalResponseNorm)]
    assert [(n.size, n.alpha, n.beta, n.k, n.variant) for n in norms] == [(5, 1e-4, 0.75, 2, "paper")] * 2
    pools = [layer for layer in net["features"] if isinstance(layer, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(3, 2)] * 3              # they overlap
    assert [layer.groups for layer in net["features"] if isinstance(layer, nn.Conv2d)] == [1, 2, 1, 2, 2]


def test_the_papers_first_weights():
    seed(0)
    net = alexnet(variant="paper", width=1 / 4)
    layers = [layer for part in ("features", "classifier") for layer in net[part] if hasattr(layer, "weight")]
    assert [set(layer.bias.data) for layer in layers] == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]
    for layer in layers:
        assert abs(layer.weight.data.std() / 0.01 - 1) < 0.05


def test_two_towers_meet_in_conv3_only(rng):
    conv2, conv3 = (alexnet(variant="paper", width=1 / 8)["features"][i] for i in (4, 8))
    x = rng.standard_normal((1, 12, 5, 5)).astype(np.float32)
    other = x.copy()
    other[:, 6:] += 1                                                              # the second tower's maps
    change = abs(conv2(Tensor(x)).numpy() - conv2(Tensor(other)).numpy()).max((0, 2, 3))
    assert (change[:16] == 0).all()
    assert (change[16:] > 0).all()
    x = rng.standard_normal((1, 32, 5, 5)).astype(np.float32)
    other = x.copy()
    other[:, 16:] += 1
    assert (abs(conv3(Tensor(x)).numpy() - conv3(Tensor(other)).numpy()).max((0, 2, 3)) > 0).all()


def test_names_of_the_state():
    found = shapes(alexnet)
    assert list(found) == [f"{layer}.{name}" for layer in (
        "features.0", "features.3", "features.6", "features.8", "features.10",
        "classifier.1", "classifier.4", "classifier.6") for name in ("weight", "bias")]  # fmt: skip
    assert found["features.0.weight"] == (64, 3, 11, 11)
    assert found["classifier.1.weight"] == (4096, 9216)
    found = shapes(alexnet, variant="paper")
    assert found["features.4.weight"] == (256, 48, 5, 5)
    assert found["classifier.6.bias"] == (1000,)
    assert found.keys() == {f"{layer}.{name}" for layer in (
        "features.0", "features.4", "features.8", "features.10", "features.12",
        "classifier.0", "classifier.3", "classifier.6") for name in ("weight", "bias")}  # fmt: skip
    assert shapes(zfnet)["features.4.weight"] == (256, 96, 5, 5)


def test_sizes_of_zfnets_figure_3():
    assert outputs(counted(zfnet, (3, 224, 224)), "Conv2d", "MaxPool2d") == [
        (96, 110, 110), (96, 55, 55), (256, 26, 26), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13),
        (256, 6, 6)]  # fmt: skip


@pytest.mark.parametrize(("builder", "option", "sentence"), [
    (alexnet, {"variant": "papers"}, r"^unknown variant of alexnet 'papers': did you mean 'paper'\?"),
    (alexnet, {"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    (alexnet, {"groups": 0}, r"groups \(=0\) must be at least 1"),
    (alexnet, {"width": 0}, r"width \(=0\) must be above 0"),
    (zfnet, {"width": -1.0}, r"width \(=-1.0\) must be above 0"),
    (zfnet, {"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
])  # fmt: skip
def test_bad_options(builder, option, sentence):
    with pytest.raises(ValueError, match=sentence):
        builder(**option)


# For pixels of 0 to 255 less their mean: on smaller numbers weights of N(0, 0.01²) are slow to wake up. So the scale.
SMALL = [(alexnet, {}, 95, 1.0), (alexnet, {"variant": "paper"}, 227, 60.0),
         (alexnet, {"variant": "paper", "groups": 1}, 227, 60.0), (zfnet, {}, 224, 60.0)]  # fmt: skip


@pytest.mark.parametrize(("builder", "options", "size", "scale"), SMALL)
def test_gradients(builder, options, size, scale, rng):
    seed(0)
    net = builder(num_classes=7, in_channels=2, dropout=0, width=1 / 16, **options)
    assert net(Tensor(np.zeros((1, 2, size, size), np.float32))).shape == (1, 7)
    check_gradients(net, (2, 2, size, size), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("builder", "options", "size", "scale"), SMALL)
def test_learns_one_batch_by_heart(builder, options, size, scale, rng):
    seed(0)
    net = builder(num_classes=8, dropout=0, width=1 / 8, **options)
    check_every_parameter_learns(net, (2, 3, size, size), rng)
    check_learning(net, (3, size, size), rng, lr=1e-3 if scale == 1 else 2e-4, scale=scale, steps=150)
