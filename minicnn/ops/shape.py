"""Ops that move values about without computing. (reshape, transpose and x[index] stand in minicnn/tensor.py.)"""

import math

from minicnn import devices
from minicnn.contract import positive
from minicnn.tensor import op, whole_axes


@op
def flatten(x, *, start_axis=1):
    """y = x with all axes from `start_axis` on made one: (N,C,H,W) → (N, C·H·W).   dx = dy in x's shape"""
    (start,) = whole_axes("flatten", x, start_axis)
    return x.reshape(*x.shape[:start], math.prod(x.shape[start:])), lambda dy: dy.reshape(x.shape)


@op
def concat(*xs, axis=1):
    """y = the xs, one behind the other along `axis`; their other extents must agree.   dx: each its own piece of dy"""
    xp = devices.of(xs[0]).xp
    (axis,) = whole_axes("concat", xs[0], axis)
    rest = [(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs]
    if any(r != rest[0] for r in rest):
        raise ValueError(f"concat: shapes {[x.shape for x in xs]} must be the same but for axis {axis}")
    ends = [0]
    for x in xs:
        ends.append(ends[-1] + x.shape[axis])
    whole = (slice(None),) * axis

    def piece(start, end):
        return lambda dy: dy[(*whole, slice(start, end))]

    return xp.concatenate(xs, axis), tuple(map(piece, ends, ends[1:]))


@op
def pad2d(x, *, padding, value=0.0):
    """y = x (…,H,W) with `value` around it.   dx = dy without it

    padding: one integer, or (left, right, top, bottom), PyTorch's order.
    """
    given = padding if isinstance(padding, (tuple, list)) else (padding,) * 4
    if len(given) != 4:
        raise ValueError(f"pad2d: padding must be one integer or (left, right, top, bottom), not {padding!r}")
    left, right, top, bottom = (positive("padding", p, least=0) for p in given)
    if x.ndim < 2:
        raise ValueError(f"pad2d: x must have at least 2 axes (…, H, W), not shape {x.shape}")
    H, W = x.shape[-2:]
    inside = (..., slice(top, top + H), slice(left, left + W))
    y = devices.of(x).xp.full((*x.shape[:-2], top + H + bottom, left + W + right), value, x.dtype)
    y[inside] = x
    return y, lambda dy: dy[inside]
