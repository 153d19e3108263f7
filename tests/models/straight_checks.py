"""What the tests of the straight nets share: counts without drawing weights, a whole net's gradients, learning."""

import contextlib

import numpy as np
import pytest

from minicnn import Tensor, inspect
from minicnn.gradient_check import check_directions
from minicnn.nn import init
from tests.models.learning import losses_by_heart


@contextlib.contextmanager
def undrawn():
    """Within it weights are zeros: counts and shapes do not depend on them, and drawing VGG's takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("he_normal", "normal"):
            patch.setattr(init, name, lambda shape, *_, **__: np.zeros(shape, np.float32))
        yield


def counted(builder, shape, **options):
    """The summary of `builder(**options)` for one image of that shape."""
    with undrawn():
        return inspect.summary(builder(**options), shape)


def shapes(builder, **options):
    """{name: shape} of the state of `builder(**options)`."""
    with undrawn():
        return {name: array.shape for name, array in builder(**options).state_dict().items()}


def outputs(summary, *kinds):
    """The output shapes of the layers of those kinds, in order."""
    return [row.output for row in summary.layers if row.kind in kinds]


def check_gradients(net, shape, rng):
    """All parameters together against finite differences, in training, along three random directions.

    Biases are drawn: with biases of 0, what sees nothing but zeros stands exactly on ReLU's corner.
    """
    net.astype("float64").train()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    x = Tensor(rng.standard_normal(shape))
    report = check_directions(lambda: net(x), net.named_parameters(), directions=3, step=1e-6, tolerance=1e-5)
    assert report.coordinates > 0, report.kinks


def check_every_parameter_learns(net, shape, rng):
    """No parameter is cut off from the output."""
    net.train()
    x = Tensor(rng.standard_normal(shape).astype(np.float32))
    y = net(x)
    y.backward(rng.standard_normal(y.shape).astype(np.float32))
    dead = [name for name, p in net.named_parameters() if p.grad is None or not np.any(p.grad)]
    assert dead == []


def check_learning(net, shape, rng, lr=1e-3, scale=1.0, steps=60):
    """The net memorises eight random images; otherwise a gradient or the initial weights are wrong."""
    images = scale * (rng.standard_normal((8, shape[0], 1, 1)) + rng.standard_normal((8, *shape)))
    losses = losses_by_heart(net, Tensor(images.astype(np.float32)), lr, steps)
    assert losses[0] > 1.0
    assert losses[-1] < 0.05, losses[::10]
