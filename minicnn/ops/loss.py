"""Losses other than the classifier's cross entropy, which is in softmax.py."""

from minicnn import devices
from minicnn.device import Array
from minicnn.ops.memoise import memoise_by_dy
from minicnn.tensor import op


@op
def mse_loss(x: Array, target: Array):
    """The mean of (x − t)² over all elements.   dx = dy·2(x − t)/m, dt = −dx, m the number of elements"""
    _same_shape("mse_loss", x, target)
    difference = x - target
    dx = memoise_by_dy(lambda dy: dy * 2 / x.size * difference)
    def dt(dy): return -dx(dy)
    return (difference * difference).mean(), (dx, dt)


@op
def binary_cross_entropy_with_logits(x: Array, target: Array):
    """The mean of −t·log σ(x) − (1 − t)·log(1 − σ(x)) over all elements, 0 ≤ t ≤ 1; finite for every x.

    Computed as max(x, 0) − x·t + log(1 + e^−|x|).   dx = dy·(σ(x) − t)/m, dt = −dy·x/m, m the number of elements
    """
    _same_shape("binary_cross_entropy_with_logits", x, target)
    xp = devices.of(x).xp
    e = xp.exp(-xp.abs(x))
    def dx(dy): return dy / x.size * (xp.where(x >= 0, 1, e) / (1 + e) - target)
    def dt(dy): return dy / x.size * -x
    return (xp.maximum(x, 0) - x * target + xp.log1p(e)).mean(), (dx, dt)


def _same_shape(name, x, target):
    if target.shape != x.shape or x.size == 0:
        raise ValueError(f"{name}: x has shape {x.shape} and target {target.shape}: "
                         "they must be the same, and not empty")
