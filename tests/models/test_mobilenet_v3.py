"""MobileNetV3 against the paper's tables and torchvision's numbers and names."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, no_grad, seed
from minicnn.gradient_check import check_directions
from minicnn.models.mobilenet_v3 import (
    InvertedResidual,
    SqueezeExcitation,
    mobilenet_v3_large,
    mobilenet_v3_small,
)
from minicnn.nn import BatchNorm2d, init
from tests.models.learning import losses_by_heart, without_dropout

BOTH = pytest.mark.parametrize("build", [mobilenet_v3_large, mobilenet_v3_small])


@pytest.mark.parametrize(("build", "parameters", "macs"), [
    (mobilenet_v3_large, 5_483_032, 216_589_760),
    (mobilenet_v3_small, 2_542_856, 56_510_400),
])  # fmt: skip
@init.shapes_only()
def test_counts(build, parameters, macs):
    summary = inspect.summary(build(), (3, 224, 224))
    assert (summary.totals["parameters"], summary.totals["macs"]) == (parameters, macs)
    assert summary.layers[-1].output == (1000,)


# The columns "out", "input size" and SE, typed once more from tables 1 and 2: maps and size behind each block.
LARGE = ([(16, 112), (24, 56), (24, 56), (40, 28), (40, 28), (40, 28), (80, 14), (80, 14), (80, 14), (80, 14),
          (112, 14), (112, 14), (160, 7), (160, 7), (160, 7)], [4, 5, 6, 11, 12, 13, 14, 15], 960, 1280)
SMALL = ([(16, 56), (24, 28), (24, 28), (40, 14), (40, 14), (40, 14), (48, 14), (48, 14), (96, 7), (96, 7), (96, 7)],
         [1, 4, 5, 6, 7, 8, 9, 10, 11], 576, 1024)


@pytest.mark.parametrize(("build", "table"), [(mobilenet_v3_large, LARGE), (mobilenet_v3_small, SMALL)])
def test_tables(build, table):
    sizes, squeezed, last, hidden = table
    net, outputs = build(), {}
    for row in inspect.summary(net, (3, 224, 224)).layers:
        if row.name.startswith("features."):
            outputs[int(row.name.split(".")[1])] = row.output                 # the block's last layer stays
    expected = [(16, 112), *sizes, (last, 7)]
    assert [outputs[i] for i in range(len(expected))] == [(c, s, s) for c, s in expected]
    names = [name for name, m in net.named_modules() if isinstance(m, SqueezeExcitation)]
    assert [int(name.split(".")[1]) for name in names] == squeezed
    assert net.classifier[0].weight.shape == (hidden, last)
    assert net.classifier[3].weight.shape == (1000, hidden)


@BOTH
def test_norms_are_the_authors(build):
    norms = [m for _, m in build(width=0.25).named_modules() if isinstance(m, BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}


def test_h_swish_in_the_deep_half():
    def kinds(net):
        found = {i: {type(m).__name__ for _, m in block.named_modules()} & {"ReLU", "Hardswish"}
                 for i, block in enumerate(net.features) if isinstance(block, InvertedResidual)}
        return [i for i, names in found.items() if "Hardswish" in names]

    assert kinds(mobilenet_v3_large(width=0.1)) == list(range(7, 16))
    assert kinds(mobilenet_v3_small(width=0.1)) == list(range(4, 12))


def test_names_are_torchvisions():
    state = mobilenet_v3_large().state_dict()
    shapes = {
        "features.0.0.weight": (16, 3, 3, 3), "features.0.1.running_mean": (16,),
        "features.1.block.0.0.weight": (16, 1, 3, 3), "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.1.block.1.1.weight": (16,),
        "features.2.block.0.0.weight": (64, 16, 1, 1), "features.2.block.2.0.weight": (24, 64, 1, 1),
        "features.4.block.1.0.weight": (72, 1, 5, 5), "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.4.block.2.fc1.bias": (24,), "features.4.block.2.fc2.weight": (72, 24, 1, 1),
        "features.4.block.3.0.weight": (40, 72, 1, 1), "features.4.block.3.1.bias": (40,),
        "features.15.block.2.fc1.weight": (240, 960, 1, 1), "features.16.0.weight": (960, 160, 1, 1),
        "features.16.1.running_var": (960,), "classifier.0.weight": (1280, 960), "classifier.3.weight": (1000, 1280),
        "classifier.3.bias": (1000,),
    }  # fmt: skip
    assert {name: state[name].shape for name in shapes} == shapes
    small = mobilenet_v3_small().state_dict()
    shapes = {
        "features.1.block.1.fc1.weight": (8, 16, 1, 1), "features.1.block.1.fc2.bias": (16,),
        "features.1.block.2.0.weight": (16, 16, 1, 1), "features.11.block.2.fc1.weight": (144, 576, 1, 1),
        "features.12.0.weight": (576, 96, 1, 1), "classifier.0.weight": (1024, 576),
    }  # fmt: skip
    assert {name: small[name].shape for name in shapes} == shapes


def test_squeeze_and_excitation_weighs_whole_maps(rng):
    se = SqueezeExcitation(16).astype("float64")
    se.fc1.bias.data += rng.standard_normal(8)
    se.fc2.bias.data += rng.standard_normal(16)
    x = rng.standard_normal((2, 16, 3, 5))
    mean = x.mean((2, 3))                                                     # (2, 16)
    inside = np.maximum(mean @ se.fc1.weight.numpy()[:, :, 0, 0].T + se.fc1.bias.numpy(), 0)       # (2, 8)
    weight = np.clip(inside @ se.fc2.weight.numpy()[:, :, 0, 0].T + se.fc2.bias.numpy() + 3, 0, 6) / 6   # (2, 16)
    with no_grad():
        np.testing.assert_allclose(se(Tensor(x)).numpy(), x * weight[:, :, None, None], atol=1e-12)


@BOTH
def test_options(build):
    net = build(num_classes=7, in_channels=1, width=0.1).eval()
    assert net(Tensor(np.zeros((2, 1, 33, 31), np.float32))).shape == (2, 7)


@BOTH
@pytest.mark.parametrize(("options", "sentence"), [
    ({"width": 0}, r"width \(=0\) must be above 0"),
    ({"width": float("inf")}, r"width \(=inf\) must be above 0"),
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
])  # fmt: skip
def test_bad_options(build, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(**options)


@BOTH
def test_gradients(build, rng):
    seed(2)
    net = without_dropout(build(num_classes=5, width=0.1)).astype("float64")
    x = Tensor(rng.standard_normal((4, 3, 64, 64)), requires_grad=True)
    leaves = {"x": x, **dict(net.named_parameters())}
    report = check_directions(lambda: net(x), leaves, directions=3, step=1e-6, tolerance=1e-5)  # small: fewer kinks
    assert (report.coordinates, report.kinks) == (3, [])


@pytest.mark.slow
@BOTH
def test_learns_one_batch_by_heart(build, rng):
    seed(3)
    net = without_dropout(build(num_classes=8, width=0.35))
    x = Tensor(rng.standard_normal((8, 3, 64, 64)).astype(np.float32))
    assert losses_by_heart(net, x, lr=0.005)[-1] < 0.05
