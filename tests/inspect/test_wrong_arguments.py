"""Wrong arguments of the feature visualisations: one sentence each."""

import numpy as np
import pytest

from minicnn import models, nn, seed
from minicnn.inspect import accuracy_chart, plots, units
from minicnn.inspect.deconvnet import deconvnet
from minicnn.inspect.grad_cam import grad_cam
from minicnn.inspect.occlusion import occlusion
from minicnn.inspect.saliency import saliency, smooth_grad

X = np.zeros((1, 1, 28, 28), np.float32)


@pytest.fixture(scope="module")
def net():
    seed(0)
    return models.build("lenet5")


@pytest.mark.parametrize("method", [
    lambda net, k: saliency(net, X, k), lambda net, k: smooth_grad(net, X, k),
    lambda net, k: grad_cam(net, X, k, net["features"][0]), lambda net, k: occlusion(net, X, k, 14, 14),
])  # fmt: skip
def test_a_class_that_the_net_does_not_have(net, method):
    for k in (10, 99, -1):
        with pytest.raises(ValueError, match=rf"^class \(={k}\) must be from 0 to 9$"):
            method(net, k)
    with pytest.raises(TypeError, match=r"^class must be an integer, not 1.5$"):
        method(net, 1.5)


def test_a_unit_that_the_layer_does_not_have(net):
    layer = net["features"][0]                                                # 6 maps of 24 × 24
    with pytest.raises(ValueError, match=r"^unit \(0, 28, 0\): each number \(=28\) must be from 0 to 27$"):
        deconvnet(net, X, layer, (0, 28, 0))
    with pytest.raises(ValueError, match=r"must have one number for each axis of an output of \(6, 28, 28\)"):
        deconvnet(net, X, layer, (0, 1))


@pytest.mark.parametrize(("options", "error", "sentence"), [
    ({"size": 29}, ValueError, r"occlusion: size \(=29\) must be from 1 to 28"),
    ({"size": 3.5}, TypeError, "occlusion: size must be an integer, not 3.5"),
    ({"stride": 0}, ValueError, r"occlusion: stride \(=0\) must be at least 1"),
    ({"batch": 0}, ValueError, r"occlusion: batch \(=0\) must be at least 1"),
    ({"x": X[0]}, ValueError, r"occlusion: x must be one image \(1, C, H, W\), not \(1, 28, 28\)"),
])
def test_occlusion(net, options, error, sentence):
    with pytest.raises(error, match=sentence):
        occlusion(**{"model": net, "x": X, "k": 0, "size": 14, "stride": 14, **options})


def test_something_that_is_no_model():
    for call in (lambda: units.find_layer(3, "a"), lambda: saliency(3, X, 1)):
        with pytest.raises(TypeError, match="model must be a Module, not 3"):
            call()


def test_every_layer_has_its_mode_again(net):
    """Also where the modes differ: fine-tuning keeps some layers in eval mode."""
    mixed = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    mixed.train()
    mixed[1].eval()
    x = np.zeros((1, 1, 3, 3), np.float32)
    saliency(mixed, x, 1)
    occlusion(mixed, x, 1, 1, 1)
    assert [layer.training for layer in (mixed[0], mixed[1], mixed[3])] == [True, False, True]


def test_plots_that_can_not_be_drawn(tmp_path):
    filters = np.zeros((4, 1, 3, 3))
    with pytest.raises(ValueError, match=r"x.abc must end in one of \..*\.png"):
        plots.filters(filters, tmp_path / "x.abc", "filters")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        plots.filters(filters, tmp_path / "nowhere" / "x.png", "filters")
    with pytest.raises(ValueError, match=r"filters must be \(O, C, KH, KW\), not \(2, 2\)"):
        plots.filters(np.zeros((2, 2)), tmp_path / "x.png", "filters")
    with pytest.raises(ValueError, match=r"an image must be \(1, H, W\) or \(3, H, W\), not \(4, 4\)"):
        plots.heatmap(np.zeros((4, 4)), np.zeros((4, 4)), tmp_path / "x.png", "a", "b")
    with pytest.raises(ValueError, match="there are no feature maps to draw"):
        plots.feature_maps(np.zeros((1, 4, 4)), {}, tmp_path / "x.png", "maps")
    with pytest.raises(ValueError, match="there are no nets to draw"):
        accuracy_chart.draw([], [], [], [], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
