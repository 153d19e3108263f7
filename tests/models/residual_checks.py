"""What the tests of the residual nets share: counts, a whole net's gradients, and memorising a few images."""

import numpy as np

from minicnn import Tensor, inspect, nn
from minicnn.gradient_check import check_directions
from minicnn.tensor import no_grad
from tests.models.learning import losses_by_heart


def counts(model, shape):
    """(parameters, multiply-adds) for one image of that shape."""
    totals = inspect.summary(model, shape).totals
    return totals["parameters"], totals["macs"]


def rows(model, shape, kinds=("Conv2d", "Linear")):
    """{layer: (output, parameters, multiply-adds)} of the layers of those kinds."""
    layers = inspect.summary(model, shape).layers
    return {r.name: (r.output, r.parameters, r.macs) for r in layers if r.kind in kinds}


def outputs(model, shape, names):
    """The shapes that the parts of `model` called `names` give for one image."""
    wanted, found = {id(m): name for name, m in model.named_modules() if name in names}, {}

    def look(module, inputs, output):
        if id(module) in wanted:
            found[wanted[id(module)]] = output.shape[1:]

    with no_grad(), nn.watch(look):
        model.eval()(Tensor(np.zeros((1, *shape), np.float32)))
    return [found[name] for name in names]


def check_gradients(model, shape, rng, directions=3):
    """All parameters together against finite differences, in training, along random directions.

    The step is small: in a hundred layers with their thousands of ReLUs a larger one crosses some corner.
    """
    model.astype("float64").train()
    x = Tensor(rng.standard_normal(shape))
    report = check_directions(
        lambda: model(x), model.named_parameters(), directions=directions, step=1e-7, tolerance=1e-5)
    assert report.coordinates == directions, report.kinks
    assert report.worst <= 1e-5


def check_learning(model, shape, rng, lr=3e-3, steps=60):
    """Eight random images with eight labels: a net that can't learn them has a wrong gradient, or is cut somewhere."""
    losses = losses_by_heart(model, Tensor(rng.standard_normal((8, *shape)).astype(np.float32)), lr, steps)
    assert losses[0] > 1.0
    assert losses[-1] < 0.05, losses[::10]
