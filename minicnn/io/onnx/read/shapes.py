"""Readers of operators that move values, and of reductions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Builder, Value
from minicnn.io.onnx.read.folded import index_of
from minicnn.io.onnx.read.node import Node
from minicnn.names import short


def shape(g: Builder, node: Node, x: Value) -> Value:
    """Shape: known while loading."""
    return g.constant(np.array(x.shape[slice(node.integer("start", 0), node.attributes.get("end"))], np.int64))


def size(g: Builder, node: Node, x: Value) -> Value:
    """Size: known while loading."""
    return g.constant(np.array(x.size, np.int64))


def reshape(g: Builder, node: Node, x: Value, wanted: Value | None = None) -> Value:
    """Reshape. In a file for a fixed number of images, that number as the first size means the images of the batch."""
    sizes = node.ints("shape") if wanted is None and "shape" in node.attributes else g.ints(wanted, "shape")
    if not node.integer("allowzero", 0):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(sizes)):
            raise ValueError(f"the shape {short(sizes)} copies a size that {list(x.shape)[:8]} does not have")
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if (x.array is None and sizes and sizes[0] == g.file_batch != g.N and x.shape[:1] == (g.N,)):
        sizes = [g.N, *sizes[1:]]
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        if not known or x.size % known:
            raise ValueError(f"shape {list(x.shape)[:8]} does not fill {short(sizes)}")
        sizes = [x.size // known if n == -1 else n for n in sizes]
    return _reshaped(g, x, sizes)


def _reshaped(g: Builder, x: Value, sizes: Any) -> Value:
    if tuple(sizes) == x.shape:
        return x
    if x.array is None and len(sizes) == 2 and x.ndim > 2 and sizes[0] == x.shape[0]:
        return g.call("flatten", x)
    return g.call("reshape", x, shape=tuple(sizes))


def flatten(g: Builder, node: Node, x: Value) -> Value:
    """Flatten to two axes."""
    axis = node.integer("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"the axis {axis} does not fit {x.ndim} axes")
    axis = axis if axis >= 0 else axis + x.ndim
    return _reshaped(g, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def transpose(g: Builder, node: Node, x: Value) -> Value:
    """Transpose."""
    order = node.ints("perm", range(x.ndim)[::-1])
    return g.call("transpose", x, axes=tuple(order))


def _axes(g: Builder, node: Node, given: Value | None, ndim: int, since: int = 13) -> list[int] | None:
    """The axes, counted from the front: an attribute before opset `since`, an input after; None where there are none"""
    if given is not None:
        found = g.ints(given, "axes")
    elif "axes" in node.attributes:
        found = node.ints("axes")
    else:
        return None
    return [g.axis(a, ndim) for a in found]


def squeeze(g: Builder, node: Node, x: Value, axes: Value | None = None) -> Value:
    """Squeeze."""
    found = _axes(g, node, axes, x.ndim)
    return g.call("squeeze", x, axis=tuple(i for i, n in enumerate(x.shape) if n == 1) if found is None
                  else tuple(found))  # fmt: skip


def unsqueeze(g: Builder, node: Node, x: Value, axes: Value | None = None) -> Value:
    """Unsqueeze: axes of length 1."""
    given = node.ints("axes") if axes is None else g.ints(axes, "axes")
    ndim = x.ndim + len(given)
    places = {g.axis(a, ndim) for a in given}
    if len(places) < len(given) or ndim > 8:
        raise ValueError(f"the axes {short(given)} can't be inserted into shape {list(x.shape)[:8]}")
    rest = iter(x.shape)
    return g.call("reshape", x, shape=tuple(1 if i in places else next(rest) for i in range(ndim)))


def concat(g: Builder, node: Node, *xs: Value) -> Value:
    """Concat."""
    if len(xs) == 1:
        return xs[0]
    return g.call("concat", *xs, axis=g.axis(node.integer("axis"), xs[0].ndim))


def split(g: Builder, node: Node, x: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    """Split: one slice for each output."""
    axis, count = g.axis(node.integer("axis", 0), x.ndim), len(node.outputs)
    n = x.shape[axis]
    if sizes is not None:
        parts = g.ints(sizes, "split")
    elif "split" in node.attributes:
        parts = node.ints("split")
    else:
        each = -(-n // node.integer("num_outputs", count))
        parts = [min(each, n - i * each) for i in range(count)]
    if sum(parts) != n or len(parts) != count or min(parts, default=0) < 0:
        raise ValueError(f"the parts {short(parts)} are not {count} parts of {n}")
    ends = np.cumsum([0, *parts]).tolist()
    return tuple(_cut(g, x, {axis: slice(a, b)}) for a, b in itertools.pairwise(ends))


def slice_(g: Builder, node: Node, x: Value, *inputs: Value | None) -> Value:
    """Slice: attributes before opset 10, inputs after."""
    if node.opset < 10:
        starts, ends = node.ints("starts"), node.ints("ends")
        axes, steps = node.ints("axes", range(len(starts))), [1] * len(starts)
    else:
        first, last, where, by = (*inputs, None, None, None, None)[:4]
        starts, ends = g.ints(first, "starts"), g.ints(last, "ends")
        axes = list(range(len(starts))) if where is None else g.ints(where, "axes")
        steps = [1] * len(starts) if by is None else g.ints(by, "steps")
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ValueError("starts, ends, axes and steps must be of one length, and no step 0")
    return _cut(g, x, {g.axis(a, x.ndim): slice(*v) for a, *v in zip(axes, starts, ends, steps)})


def _cut(g: Builder, x: Value, cuts: dict[int, slice]) -> Value:
    """x[…], with slices as short as they can be written."""
    index = []
    for axis, n in enumerate(x.shape):
        start, stop, step = cuts.get(axis, slice(None)).indices(n)
        if step == 1 and start == 0 and stop >= n:
            index.append(slice(None))
        else:
            index.append(slice(start, None if stop < 0 else stop, step if step != 1 else None))
    while index and index[-1] == slice(None):
        index.pop()
    return g.call("getitem", x, index=tuple(index)) if index else x


def gather(g: Builder, node: Node, x: Value, places: Value) -> Value:
    """Gather rows of one axis, by constant places."""
    axis, where = g.axis(node.integer("axis", 0), x.ndim), g.array(places, "the places (indices)")
    if where.dtype.kind not in "iu":
        raise ValueError("the places (indices) must be integers")
    if where.size and not -x.shape[axis] <= where.min() <= where.max() < x.shape[axis]:
        raise ValueError(f"the places run from {where.min()} to {where.max()}, on an axis of {x.shape[axis]}")
    whole = (slice(None),) * axis
    if where.ndim == 0:
        return g.call("getitem", x, index=(*whole, int(where)))
    if x.ndim == 1 and (order := _permuted(where, x.size)) is not None:
        apart = g.call("reshape", x, shape=tuple(where.shape[a] for a in order))
        back = tuple(order.index(a) for a in range(where.ndim))
        return apart if back == tuple(range(where.ndim)) else g.call("transpose", apart, axes=back)
    rows = g.call("getitem", x, index=(*whole, where.reshape(-1).astype(np.int64)))
    return _reshaped(g, rows, (*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]))


def gather_nd(g: Builder, node: Node, x: Value, places: Value) -> Value:
    """GatherND by constant places: the last axis of `places` holds the indices of each."""
    if node.integer("batch_dims", 0):
        raise ValueError("batch_dims is read as 0 only")
    return g.call("getitem", x, index=index_of(g.array(places, "the places (indices)"), x.shape))


def _permuted(places: np.ndarray, size: int) -> list[int] | None:
    """The axes of `places` from the slowest to the fastest, if they are all places of a permuted array in memory.

    So PyTorch writes a change of strides, which is a reshape and a transpose for any number of images.
    """
    if places.size != size or not size:
        return None
    steps = {a: int(places.swapaxes(0, a)[1].flat[0]) for a, n in enumerate(places.shape) if n > 1}
    slowest = iter(sorted(steps, key=lambda a: -steps[a]))
    order = [next(slowest) if a in steps else a for a in range(places.ndim)]
    found = np.arange(size).reshape([places.shape[a] for a in order]).transpose(np.argsort(order))
    return order if np.array_equal(found, places) else None


def expand(g: Builder, node: Node, x: Value, wanted: Value) -> Value:
    """Expand to a shape; both broadcast."""
    sizes = np.broadcast_shapes(x.shape, tuple(g.ints(wanted, "shape")))
    return x if sizes == x.shape else g.call("broadcast_to", x, shape=sizes)


def tile(g: Builder, node: Node, x: Value, repeats: Value) -> Value:
    """Tile: the array several times along each axis."""
    times = g.ints(repeats, "repeats", x.ndim)
    if min(times, default=1) < 1:
        raise ValueError(f"repeats (={short(times)}) must be at least 1")
    one = tuple(v for n in x.shape for v in (1, n))
    all_ = tuple(v for n, r in zip(x.shape, times) for v in (r, n))
    if x.ndim > 4:
        raise ValueError("Tile is read for at most 4 axes")
    y = g.call("broadcast_to", g.call("reshape", x, shape=one), shape=all_)
    return g.call("reshape", y, shape=tuple(n * r for n, r in zip(x.shape, times)))


def pad(g: Builder, node: Node, x: Value, pads: Value | None = None, value: Value | None = None,
        axes: Value | None = None) -> Value:  # fmt: skip
    """Pad; a negative width cuts."""
    mode = node.one_of("mode", "constant", ("constant", "edge", "reflect"))
    widths = node.ints("pads", node.attributes.get("paddings")) if node.opset < 11 else g.ints(pads, "pads")
    fill = node.number("value", 0.0) if node.opset < 11 else 0.0 if value is None else g.number(value, "constant_value")
    which = list(range(x.ndim)) if axes is None else [g.axis(a, x.ndim) for a in g.ints(axes, "axes")]
    if len(widths) != 2 * len(which):
        raise ValueError(f"pads (={short(widths)}) must have {2 * len(which)} entries")
    ends = dict(zip(which, zip(widths, widths[len(which):])))
    cuts = {a: slice(max(0, -before), x.shape[a] - max(0, -after)) for a, (before, after) in ends.items()
            if min(before, after) < 0}  # fmt: skip
    x = _cut(g, x, cuts) if cuts else x
    left = {a: (max(0, before), max(0, after)) for a, (before, after) in ends.items() if max(before, after) > 0}
    settings: dict[str, Any] = {"mode": mode} if mode != "constant" else {"value": fill} if fill else {}
    if x.ndim > 1 and left and min(left) >= x.ndim - 2:
        around = tuple(left.get(a, (0, 0)) for a in (x.ndim - 2, x.ndim - 1))
        return g.call("pad", x, padding=around, **settings)
    for axis, width in left.items():                       # another axis: it becomes the last one meanwhile
        order = (*(a for a in range(x.ndim) if a != axis), axis)
        y = g.call("transpose", x, axes=order) if x.ndim > 1 else g.call("reshape", x, shape=(1, *x.shape))
        y = g.call("pad", y, padding=((0, 0), width), **settings)
        x = (g.call("transpose", y, axes=tuple(order.index(a) for a in range(x.ndim))) if x.ndim > 1
             else g.call("reshape", y, shape=y.shape[1:]))
    return x


def depth_to_space(g: Builder, node: Node, x: Value) -> Value:
    """DepthToSpace, in either order of the channels."""
    N, C, H, W = _image(node, x)
    b, mode = node.integer("blocksize"), node.one_of("mode", "DCR", ("DCR", "CRD"))
    if b < 1 or C % (b * b):
        raise ValueError(f"{C} channels do not make blocks of {b}×{b}")
    if mode == "DCR":
        y = g.call("transpose", g.call("reshape", x, shape=(N, b, b, C // b**2, H, W)), axes=(0, 3, 4, 1, 5, 2))
    else:
        y = g.call("transpose", g.call("reshape", x, shape=(N, C // b**2, b, b, H, W)), axes=(0, 1, 4, 2, 5, 3))
    return g.call("reshape", y, shape=(N, C // b**2, H * b, W * b))


def space_to_depth(g: Builder, node: Node, x: Value) -> Value:
    """SpaceToDepth."""
    N, C, H, W = _image(node, x)
    b = node.integer("blocksize")
    if b < 1 or H % b or W % b:
        raise ValueError(f"an image of {H}×{W} is not made of blocks of {b}×{b}")
    order = {"DCR": (0, 3, 5, 1, 2, 4), "CRD": (0, 1, 3, 5, 2, 4)}[node.one_of("mode", "DCR", ("DCR", "CRD"))]
    y = g.call("transpose", g.call("reshape", x, shape=(N, C, H // b, b, W // b, b)), axes=order)
    return g.call("reshape", y, shape=(N, C * b**2, H // b, W // b))


def _image(node: Node, x: Value) -> tuple[int, ...]:
    if x.ndim != 4:
        raise ValueError(f"{node.op} is read for images (N, C, H, W), not for shape {list(x.shape)[:8]}")
    return x.shape


# ---------------------------------------------------------------------------------------------------------- reductions


def _reduced(g: Builder, node: Node, x: Value, axes: Value | None) -> dict[str, Any] | None:
    """The settings axis and keepdims; None where nothing is reduced."""
    found = _axes(g, node, axes, x.ndim)
    if not found:
        if node.integer("noop_with_empty_axes", 0):
            return None
        found = list(range(x.ndim))
    over = tuple(sorted(set(found)))
    whole = {"keepdims": True} if node.integer("keepdims", 1) else {}
    return {"axis": over[0] if len(over) == 1 else over, **whole}


def reduce(op: str, g: Builder, node: Node, x: Value, axes: Value | None = None) -> Value:
    """ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceLogSumExp."""
    how = _reduced(g, node, x, axes)
    if how is None:
        return x
    if x.ndim == 4 and how == {"axis": (2, 3)} and op in ("mean", "max"):   # a layer, which summaries show
        return g.call("global_avg_pool2d" if op == "mean" else "global_max_pool2d", x)
    return g.call(op, x, **how)


def reduce_of(before: str, after: str, g: Builder, node: Node, x: Value, axes: Value | None = None) -> Value:
    """ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum: a sum of |x|, x² or x, and its root or logarithm."""
    how = _reduced(g, node, x, axes)
    y = {"abs": lambda: g.call("abs", x), "square": lambda: g.call("multiply", x, x), "": lambda: x}[before]()
    y = y if how is None else g.call("sum", y, **how)
    return g.call(after, y) if after else y
