"""Ops that select and rearrange values without arithmetic. Padding is in pad.py."""

import math
from collections.abc import Sequence

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import positive
from minicnn.ops.axes import normalise_axes, normalise_axis, unbroadcast
from minicnn.tensor import Axes, Tensor, op


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
def broadcast_to(x: Array, *, shape: int | Sequence[int]):
    """y = x, repeated along new axes in front and along axes of size 1.   dx = dy, summed over the repeats"""
    extents = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    extents = tuple(positive("broadcast_to: shape", n, least=0) for n in extents)
    if len(extents) < x.ndim or any(n not in (1, e) for n, e in zip(x.shape[::-1], extents[::-1])):
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {extents}: counted from the last, each "
                         "axis of x must have the same size, or size 1")
    return devices.of(x).xp.broadcast_to(x, extents), lambda dy: unbroadcast(dy, x)


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


# ------------------------------------------------------------------------------------- blocks of pixels as channels


def pixel_shuffle(x: Tensor | Array, *, upscale_factor: int) -> Tensor:
    """y[n,c,r·i+p,r·j+q] = x[n, c·r² + p·r + q, i, j]: channels become r × r blocks of pixels.   Shi et al. 2016, eq. 4

    x (N,C·r²,H,W)   →   y (N,C,r·H,r·W)
    """
    r, (N, C, H, W) = positive("upscale_factor", upscale_factor), _images("pixel_shuffle", x)
    if C % (r * r):
        raise ValueError(f"pixel_shuffle: x has {C} channels, which must be divisible by upscale_factor² (={r * r})")
    blocks = reshape(x, shape=(N, C // r**2, r, r, H, W))
    return reshape(transpose(blocks, axes=(0, 1, 4, 2, 5, 3)), shape=(N, C // r**2, H * r, W * r))


def pixel_unshuffle(x: Tensor | Array, *, downscale_factor: int) -> Tensor:
    """y[n, c·r² + p·r + q, i, j] = x[n,c,r·i+p,r·j+q]: r × r blocks of pixels become channels.

    x (N,C,r·H,r·W)   →   y (N,C·r²,H,W)
    """
    r, (N, C, H, W) = positive("downscale_factor", downscale_factor), _images("pixel_unshuffle", x)
    if H % r or W % r:
        raise ValueError(f"pixel_unshuffle: the sides of {H}×{W} images must be divisible by downscale_factor (={r})")
    blocks = reshape(x, shape=(N, C, H // r, r, W // r, r))
    return reshape(transpose(blocks, axes=(0, 1, 3, 5, 2, 4)), shape=(N, C * r**2, H // r, W // r))


def _images(name, x):
    shape = getattr(x, "shape", ())
    if len(shape) != 4:
        raise ValueError(f"{name}: x must have 4 axes (N, C, H, W), not {len(shape)} (shape {shape})")
    return shape
