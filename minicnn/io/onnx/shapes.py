"""Handlers of ops that move values. Axis 0 is the batch, whose size must not be written into any node."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.io.onnx.graph import Graph, Value
from minicnn.ops.pad import MODES, border

END = np.iinfo(np.int64).max


def flatten(graph: Graph, x: Value, *, start_axis: int) -> Value:
    """Flatten always gives two axes; to keep more, Reshape copies their lengths (0)."""
    start = start_axis % x.ndim
    shape = (*x.shape[:start], math.prod(x.shape[start:]))
    if start == 1:
        return graph.add("Flatten", x, axis=1, shape=shape)
    return graph.add("Reshape", x, graph.ints(*[0] * start, -1), shape=shape)


def reshape(graph: Graph, x: Value, *, shape: Any) -> Value:
    """Reshape; the batch axis is written 0, which copies its length."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    known = math.prod(n for n in shape if n != -1)
    whole = tuple(math.prod(x.shape) // known if n == -1 else n for n in shape)
    keeps_batch = x.shape[:1] == whole[:1] and bool(whole)
    return graph.add("Reshape", x, graph.ints(*(0 if i == 0 and keeps_batch else n for i, n in enumerate(shape))),
                     shape=whole)  # fmt: skip


def broadcast_to(graph: Graph, x: Value, *, shape: Any) -> Value:
    """Expand, where a length of 1 in its shape keeps that of x: so the batch may have any length."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    given = (*[None] * (len(shape) - x.ndim), *x.shape)
    return graph.add("Expand", x, graph.ints(*(1 if n == e else e for n, e in zip(given, shape))), shape=shape)


def transpose(graph: Graph, x: Value, *, axes: Any) -> Value:
    """Transpose."""
    order = [a % x.ndim for a in axes] if axes is not None else list(reversed(range(x.ndim)))
    return graph.add("Transpose", x, perm=order, shape=[x.shape[a] for a in order])


def squeeze(graph: Graph, x: Value, *, axis: Any) -> Value:
    """Squeeze, whose axes are an input since opset 13."""
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else sorted(a % x.ndim for a in given)
    return graph.add("Squeeze", x, graph.ints(*axes), shape=[n for i, n in enumerate(x.shape) if i not in axes])


def concat(graph: Graph, *xs: Value, axis: int) -> Value:
    """Concat."""
    axis %= xs[0].ndim
    shape = (*xs[0].shape[:axis], *[sum(x.shape[axis] for x in xs)], *xs[0].shape[axis + 1 :])
    like = next(x for x in xs if x.array is None)
    return graph.add("Concat", *(_repeat_for_batch(graph, x, like) if axis else x for x in xs), axis=axis, shape=shape)


def _repeat_for_batch(graph: Graph, x: Value, like: Value) -> Value:
    """A constant with equal rows for all images (a ResNet's zero channels), expanded to a batch of any size."""
    if x.array is None or (x.array != x.array[:1]).any():
        return x
    batch = graph.add("Shape", like, start=0, end=1, shape=(1,))
    shape = graph.add("Concat", batch, graph.ints(*x.shape[1:]), axis=0, shape=(x.ndim,))
    return graph.add("Expand", Value("", (1, *x.shape[1:]), x.array[:1]), shape, shape=x.shape)


def pad(graph: Graph, x: Value, *, padding: Any, mode: str, value: float) -> Value:
    """Pad, whose widths are an input: before each axis, then after each."""
    (top, bottom), (left, right) = border("pad", padding)
    rest, (H, W) = [0] * (x.ndim - 2), x.shape[-2:]
    fill = [graph.constant(value, np.float32)] if MODES[mode] == "constant" else []
    return graph.add("Pad", x, graph.ints(*rest, top, left, *rest, bottom, right), *fill, mode=MODES[mode],
                     shape=(*x.shape[:-2], top + H + bottom, left + W + right))  # fmt: skip


def getitem(graph: Graph, x: Value, *, index: Any) -> Value:
    """Slices, integers, and one array of integers beside slices."""
    given = index if isinstance(index, tuple) else (index,)
    rest = x.ndim - sum(i is not Ellipsis for i in given)
    at = next((n for n, i in enumerate(given) if i is Ellipsis), len(given))
    whole = [*given[:at], *[slice(None)] * rest, *given[at + 1 :]]
    chosen = {axis: np.asarray(i) for axis, i in enumerate(whole) if not isinstance(i, slice)}
    arrays = [i for i in chosen.values() if i.ndim]
    if len(arrays) > 1 or (arrays and len(chosen) > 1) or any(i.dtype.kind not in "iu" for i in chosen.values()):
        raise ValueError(f"the op 'getitem' with the index {index!r} can't be exported to ONNX: "
                         "use slices, integers, or a single array of integers beside slices")
    cuts = {axis: i for axis, i in enumerate(whole) if isinstance(i, slice) and i != slice(None)}
    if cuts:
        steps = [1 if i.step is None else i.step for i in cuts.values()]
        starts = [(0 if s > 0 else END) if i.start is None else i.start for i, s in zip(cuts.values(), steps)]
        ends = [(END if s > 0 else -END) if i.stop is None else i.stop for i, s in zip(cuts.values(), steps)]
        shape = [len(range(n)[cuts.get(axis, slice(None))]) for axis, n in enumerate(x.shape)]
        x = graph.add("Slice", x, *(graph.ints(*v) for v in (starts, ends, cuts, steps)), shape=shape)
    for axis in reversed(chosen):
        places = chosen[axis].astype(np.int64)
        x = graph.add("Gather", x, graph.constant(places), axis=axis,
                      shape=(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))  # fmt: skip
    return x
