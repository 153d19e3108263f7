"""SqueezeNet against the paper's table 1, torchvision's counts, and its trained weights if the cache has them."""

import os
from pathlib import Path

import numpy as np
import pytest

from minicnn import Tensor, no_grad, seed
from minicnn.models.squeezenet import Fire, squeezenet1_0, squeezenet1_1
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

CACHE = Path(os.environ.get("MINICNN_HOME") or "~/.cache/minicnn").expanduser()
WEIGHTS = CACHE / "weights" / "squeezenet1_1-imagenet.npz"


@pytest.mark.parametrize(("builder", "parameters", "macs"), [
    (squeezenet1_0, 1_248_424, 818_924_576),
    (squeezenet1_1, 1_235_496, 349_151_936),
])  # fmt: skip
@init.shapes_only()
def test_counts(builder, parameters, macs):
    totals = counted(builder, (3, 224, 224)).totals
    assert (totals["parameters"], totals["buffers"], totals["macs"]) == (parameters, 0, macs)
    assert f"{parameters:,}" in builder.__doc__
    assert f"{macs:,}" in builder.__doc__


def test_table_1():
    summary = counted(squeezenet1_0, (3, 227, 227))
    parameters: dict[str, int] = {}
    for row in summary.layers:
        block = ".".join(row.name.split(".")[:2])
        parameters[block] = parameters.get(block, 0) + row.parameters
    assert [n for n in parameters.values() if n] == [
        14_208, 11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184, 513_000]  # fmt: skip
    convolutions = outputs(summary, "Conv2d")
    assert (convolutions[0], convolutions[-1]) == ((96, 111, 111), (1000, 13, 13))
    assert outputs(summary, "MaxPool2d", "GlobalAvgPool2d") == [(96, 55, 55), (256, 27, 27), (512, 13, 13), (1000,)]


def test_names_of_the_state():
    found = shapes(squeezenet1_0)
    assert list(found)[:8] == [
        "features.0.weight", "features.0.bias", "features.3.squeeze.weight", "features.3.squeeze.bias",
        "features.3.expand1x1.weight", "features.3.expand1x1.bias",
        "features.3.expand3x3.weight", "features.3.expand3x3.bias"]  # fmt: skip
    assert list(found)[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert found["features.12.expand3x3.weight"] == (256, 64, 3, 3)
    assert found["classifier.1.weight"] == (1000, 512, 1, 1)
    found = shapes(squeezenet1_1)
    assert {name.split(".")[1] for name in found if name.startswith("features")} == {
        "0", "3", "4", "6", "7", "9", "10", "11", "12"}  # fmt: skip
    assert found["features.0.weight"] == (64, 3, 3, 3)


def test_a_fire_squeezes_and_expands(rng):
    fire = Fire(5, squeeze=2, expand=3).astype("float64")
    assert sum(p.size for p in fire.parameters()) == 2 * (5 + 1) + 3 * (2 + 1) + 3 * (9 * 2 + 1)
    x = Tensor(rng.standard_normal((2, 5, 4, 6)))
    y = fire(x).numpy()
    assert y.shape == (2, 6, 4, 6)
    squeezed = np.maximum(np.einsum("oc,nchw->nohw", fire.squeeze.weight.data[:, :, 0, 0], x.numpy()), 0)
    one = np.maximum(np.einsum("oc,nchw->nohw", fire.expand1x1.weight.data[:, :, 0, 0], squeezed), 0)
    np.testing.assert_allclose(y[:, :3], one, rtol=1e-10, atol=1e-12)              # the 1×1 half comes first


def test_no_class_starts_behind_a_closed_relu():
    with undrawn():
        assert (squeezenet1_1(width=1 / 8)["classifier"][1].bias.data == 1).all()


@pytest.mark.parametrize("builder", [squeezenet1_0, squeezenet1_1])
def test_bad_options(builder):
    with pytest.raises(ValueError, match=r"num_classes \(=0\) must be at least 1"):
        builder(num_classes=0)
    with pytest.raises(ValueError, match=r"width \(=0\) must be above 0"):
        builder(width=0)


@pytest.mark.parametrize("builder", [squeezenet1_0, squeezenet1_1])
def test_gradients(builder, rng):
    seed(0)
    net = builder(num_classes=7, in_channels=2, dropout=0, width=1 / 8)
    assert net(Tensor(np.zeros((1, 2, 39, 45), np.float32))).shape == (1, 7)
    check_gradients(net, (2, 2, 39, 45), rng)


@pytest.mark.slow
@pytest.mark.parametrize("builder", [squeezenet1_0, squeezenet1_1])
def test_learns_one_batch_by_heart(builder, rng):
    seed(0)
    net = builder(num_classes=8, dropout=0, width=1 / 4)
    check_every_parameter_learns(net, (2, 3, 63, 63), rng)
    check_learning(net, (3, 63, 63), rng, steps=120)


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"needs the trained weights, {WEIGHTS}")
def test_trained_weights_fit_and_see():
    net = squeezenet1_1().eval()
    with np.load(WEIGHTS) as file:
        net.load_state_dict({name.replace("squeeze1x1", "squeeze"): file[name] for name in file})
    for photo, classes in (("chelsea.png", {281, 282, 285}), ("coffee.png", {967})):
        if not (CACHE / "photos" / photo).exists():
            pytest.skip(f"the weights fit; needs {photo} for the rest")
        with no_grad():
            scores = net(Tensor(_centre(CACHE / "photos" / photo))).numpy()[0]
        assert int(scores.argmax()) in classes


def _centre(path):
    """The middle 224×224 pixels, the short side being 256, less the mean colour.   (1, 3, 224, 224)"""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(n * scale) for n in image.size], Image.Resampling.BILINEAR)
    left, top = ((n - 224) // 2 for n in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) - [123.68, 116.779, 103.939]
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)
