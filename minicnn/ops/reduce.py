"""Sums, products, means and extremes over axes: `axis` is None for all, an integer, or several."""

import math

from minicnn import devices
from minicnn.device import Array
from minicnn.op_checks import flag
from minicnn.ops.axes import normalise_axes, restore_axes
from minicnn.tensor import Axes, op


@op
def sum(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = Σ x over `axis`.   dx = dy, broadcast to x's shape"""
    xp, axes, keepdims = devices.of(x).xp, normalise_axes("sum", x, axis), flag("sum", "keepdims", keepdims)
    return x.sum(axes, keepdims=keepdims), lambda dy: xp.broadcast_to(restore_axes(dy, x, axes), x.shape)


@op
def mean(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = Σ x / m over `axis`, m the number of values summed.   dx = dy / m, broadcast to x's shape"""
    xp, axes, keepdims = devices.of(x).xp, normalise_axes("mean", x, axis), flag("mean", "keepdims", keepdims)
    m = math.prod(x.shape[a] for a in axes)
    if m == 0:
        raise ValueError(f"mean: there are no values to average over axis {axis} of shape {x.shape}")
    return x.mean(axes, keepdims=keepdims), lambda dy: xp.broadcast_to(restore_axes(dy, x, axes) / m, x.shape)


@op
def prod(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = Π x over `axis`, 1 if there are no values.   dx = dy · the product of the others, also where an x is 0"""
    xp, axes, keepdims = devices.of(x).xp, normalise_axes("prod", x, axis), flag("prod", "keepdims", keepdims)
    zero = x == 0
    filled = xp.where(zero, 1, x)

    def dx(dy):
        product = filled.prod(axes, keepdims=True)                            # of those that are not 0
        zeros = zero.sum(axes, keepdims=True)
        others = xp.where(zeros == zero, product / filled, 0)                 # no 0 among them: it is x itself, or none
        return restore_axes(dy, x, axes) * others

    return x.prod(axes, keepdims=keepdims), dx


@op
def max(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = the largest x over `axis`.   dx: dy to the first maximum"""
    return _extreme("max", x, axis, keepdims)


@op
def min(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = the smallest x over `axis`.   dx: dy to the first minimum"""
    return _extreme("min", x, axis, keepdims)


def _extreme(name, x, axis, keepdims):
    """(y, dx) of the op `name`, "max" or "min"."""
    xp, axes, keepdims = devices.of(x).xp, normalise_axes(name, x, axis), flag(name, "keepdims", keepdims)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    m = math.prod(x.shape[i] for i in axes)
    if m == 0:
        raise ValueError(f"{name}: there are no values over axis {axis} of shape {x.shape}")
    rows = x.transpose(order).reshape(*[x.shape[i] for i in kept], m)         # (kept…, m)
    winner = getattr(rows, f"arg{name}")(-1)                                  # (kept…)
    y = getattr(rows, name)(-1)

    def dx(dy):
        wins = xp.arange(m) == winner[..., None]                              # (kept…, m)
        dx = (wins * dy.reshape(winner.shape)[..., None]).reshape([x.shape[i] for i in order])
        return dx.transpose([order.index(i) for i in range(x.ndim)])

    return restore_axes(y, x, axes) if keepdims else y, dx
