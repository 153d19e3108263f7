"""Ops that select and rearrange values without arithmetic. Padding is in pad.py."""

import math
from collections.abc import Sequence

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import positive
from minicnn.ops.axes import normalise_axes, normalise_axis
from minicnn.tensor import Axes, op


@op
def getitem(x, *, index):
    """y = x[index], with NumPy's slices, integers, integer or boolean arrays.   dx = 0, then dx[index] += dy"""
    device = devices.of(x)

    def dx(dy):
        dx = device.xp.zeros_like(x)
        device.add_at(dx, index, dy)
        return dx

    try:
        return x[index], dx
    except IndexError as problem:
        raise IndexError(f"getitem: index {index!r} does not fit shape {x.shape}: {problem}") from None


@op
def reshape(x: Array, *, shape: int | Sequence[int]):
    """y = the same values in another shape, in the same order; one size may be −1.   dx = dy in x's shape"""
    extents = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    extents = tuple(positive("reshape: shape", n, least=-1) for n in extents)
    known = math.prod(n for n in extents if n != -1)
    if extents.count(-1) > 1 or (x.size != known if -1 not in extents else known == 0 or x.size % known):
        raise ValueError(f"reshape: shape {x.shape} has {x.size} values, which do not fill {extents}"
                         f"{': at most one size may be -1' if extents.count(-1) > 1 else ''}")
    return x.reshape(extents), lambda dy: dy.reshape(x.shape)


@op
def transpose(x: Array, *, axes: Axes = None):
    """y = x with its axes in the order `axes`, by default reversed.   dx = dy with its axes in x's order"""
    given = range(x.ndim)[::-1] if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    order = tuple(normalise_axis("transpose", x, a) for a in given)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"transpose: axes {axes} must name each of the {x.ndim} axes of shape {x.shape} once")
    back = tuple(order.index(i) for i in range(x.ndim))
    return x.transpose(order), lambda dy: dy.transpose(back)


@op
def squeeze(x: Array, *, axis: Axes = None):
    """y = x without its axes of size 1: all of them, or those in `axis`.   dx = dy in x's shape"""
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else normalise_axes("squeeze", x, axis)
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} of shape {x.shape} must have size 1, not {x.shape[a]}")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in axes]), lambda dy: dy.reshape(x.shape)


@op
def flatten(x: Array, *, start_axis: int = 1):
    """y = x with all axes from `start_axis` on merged: (N,C,H,W) → (N, C·H·W).   dx = dy in x's shape"""
    start = normalise_axis("flatten", x, start_axis)
    return x.reshape(*x.shape[:start], math.prod(x.shape[start:])), lambda dy: dy.reshape(x.shape)


@op
def concat(*xs: Array, axis: int = 1):
    """y = the xs joined along `axis`; their other axes must have equal sizes.   dx of each: its part of dy"""
    xp = devices.of(xs[0]).xp
    axis = normalise_axis("concat", xs[0], axis)
    rest = [(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs]
    if any(r != rest[0] or x.ndim != xs[0].ndim for r, x in zip(rest, xs)):
        raise ValueError(f"concat: shapes {[x.shape for x in xs]} must be the same except along axis {axis}")
    ends = [0]
    for x in xs:
        ends.append(ends[-1] + x.shape[axis])
    whole = (slice(None),) * axis

    def piece(start, end):
        return lambda dy: dy[(*whole, slice(start, end))]

    return xp.concatenate(xs, axis), tuple(map(piece, ends, ends[1:]))
