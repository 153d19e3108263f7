"""Whether weights expect numbers of the size of 1 or Caffe's: nets that were trained with a known normalisation."""

import numpy as np
import pytest

from minicnn import Tensor, data, models, nn, no_grad, optim, seed
from minicnn.data import NORMALISATIONS
from minicnn.io import normalisation
from minicnn.ops import cross_entropy
from tests.thinned import thinned


def trained(name, how, side, steps=150, **options):
    """A net that was trained on coloured digits, normalised in that way; it has learned them."""
    seed(3)
    rng, digits = np.random.default_rng(3), data.load("digits")
    tint, edge = rng.uniform(0.3, 1, (2000, 3, 1, 1)), (side - 28) // 2
    images = np.zeros((2000, 3, side, side), np.uint8)
    images[:, :, edge : edge + 28, edge : edge + 28] = (digits.train.images[:2000] * tint).astype(np.uint8)
    labels, net = digits.train.labels[:2000], models.build(name, num_classes=10, in_channels=3, **options)
    x = data.normalise(images, *NORMALISATIONS[how])
    if how == "caffe":                                     # whose nets began with N(0, 0.01²), for inputs of this size
        first = next(module for _, module in net.named_modules() if isinstance(module, nn.Conv2d)).weight
        first.data = first.data / 58
    rule = optim.Adam(net.parameters(), lr=2e-3 if how != "caffe" else 5e-4)
    for _ in range(steps):
        chosen = rng.choice(2000, 32, replace=False)
        loss = cross_entropy(net(Tensor(x[chosen])), labels[chosen])
        rule.zero_grad()
        loss.backward()
        rule.step()
    with no_grad():
        right = (net.eval()(Tensor(x[:300])).numpy().argmax(1) == labels[:300]).mean()
    assert right > 0.6, right
    return net


@pytest.mark.parametrize(("name", "how", "side", "options"), thinned([
    ("lenet5", "imagenet", 28, {}), ("lenet5", "caffe", 28, {}), ("lenet5", "inception", 28, {}),
    ("resnet20", "imagenet", 32, {"width": 0.25}), ("resnet20", "caffe", 32, {"width": 0.25}),
], keep=lambda name, *_: name == "lenet5"))  # fmt: skip
def test_the_normalisation_of_the_training_is_found(name, how, side, options):
    """With batch norm and without."""
    found, spread = normalisation.detect(trained(name, how, side, **options), (3, side, side))
    assert found == ("caffe" if how == "caffe" else "imagenet"), spread


@pytest.mark.parametrize(("spread", "found"), [(2.0, "caffe"), (0.5, "caffe"), (0.1, "imagenet"), (0.0, "imagenet")])
def test_a_spread_within_a_factor_of_ten_of_the_usual_one_tells(spread, found):
    """The usual one is 2. A linear net's scores grow with its input, and Caffe's numbers are 60 times as large."""
    seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    net[1].weight.data = net[1].weight.data * (spread / normalisation.detect(net, (3, 8, 8))[1]["caffe"])
    best, measured = normalisation.detect(net, (3, 8, 8))
    assert measured["caffe"] == pytest.approx(spread, rel=1e-4)
    assert measured["imagenet"] <= spread / 20
    assert best == found


def test_the_pictures_have_the_statistics_of_photographs():
    """Power 1/f² at frequency f, Field 1987; mean, deviation and correlation of the channels as documented."""
    x = normalisation.photographs(40, (64, 64)).astype(float) / 255
    mean, std = NORMALISATIONS["imagenet"]
    np.testing.assert_allclose(x.mean((0, 2, 3)), mean, atol=0.03)
    np.testing.assert_allclose(x.std((0, 2, 3)), std, atol=0.04)
    centred = x - x.mean((0, 2, 3), keepdims=True)
    correlation = np.corrcoef(centred.transpose(1, 0, 2, 3).reshape(3, -1))
    np.testing.assert_allclose(correlation[np.triu_indices(3, 1)], 0.9, atol=0.05)
    power = (np.abs(np.fft.fft2(centred[:, 0])) ** 2).mean(0)
    slope = np.polyfit(np.log([4, 16]), np.log([power[0, 4] + power[4, 0], power[0, 16] + power[16, 0]]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.35)
    assert normalisation.photographs(2, (5, 9)).shape == (2, 3, 5, 9)
