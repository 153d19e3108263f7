"""Handlers of pooling ops, and of resizing.

Runtimes disagree about ceil_mode but not about padding. The size of the image is known, so the pixels by which
ceil_mode lets the last windows extend past the edge are written as padding. Where the operator of this opset lacks the
window (AveragePool and LpPool know no dilation, and runtimes no padding as large as the kernel), its sum is written as
a depthwise Conv of ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.geometry import Axis, Pool2dGeometry, Window2d, pair
from minicnn.io.onnx.graph import Graph, Value
from minicnn.ops.adaptive_pool import bounds
from minicnn.ops.resize import COORDINATES, ROUNDING, taps


def pads(g: Window2d) -> list[int]:
    """ONNX's [top, left, bottom, right]: the op's padding, and what ceil_mode needs at the end."""
    v, h = g.vertical, g.horizontal
    return [v.before, h.before, v.padded - v.size - v.before, h.padded - h.size - h.before]


def _pool(graph: Graph, operator: str, x: Value, g: Pool2dGeometry, **attributes: Any) -> Value:
    v, h = g.vertical, g.horizontal
    return graph.add(operator, x, shape=(g.N, g.C, g.OH, g.OW), kernel_shape=[g.KH, g.KW], strides=[v.stride, h.stride],
                     **{"pads": pads(g), **attributes})  # fmt: skip


def max_pool2d(graph: Graph, x: Value, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
               ceil_mode: bool) -> Value:  # fmt: skip
    """MaxPool, where padding counts as −∞ too."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(graph, x, g)


def _max_pool(graph: Graph, x: Value, g: Pool2dGeometry) -> Value:
    v, h = g.vertical, g.horizontal
    dilations = [v.dilation, h.dilation]
    top, left, bottom, right = pads(g)
    if max(top, bottom) < g.KH and max(left, right) < g.KW:
        return _pool(graph, "MaxPool", x, g, dilations=dilations)
    padded = graph.add("Pad", x, graph.ints(0, 0, top, left, 0, 0, bottom, right),
                       graph.constant(-np.inf, np.float32), shape=(g.N, g.C, v.padded, h.padded))  # fmt: skip
    return _pool(graph, "MaxPool", padded, g, dilations=dilations, pads=[0, 0, 0, 0])


def avg_pool2d(graph: Graph, x: Value, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
               count_include_pad: bool) -> Value:  # fmt: skip
    """AveragePool, corrected where windows extend past the padding."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _avg_pool(graph, x, g, count_include_pad)


def _avg_pool(graph: Graph, x: Value, g: Pool2dGeometry, count_include_pad: bool = False) -> Value:
    """Where windows extend past the padding, the sum is divided by the counts of the definition, not by KH·KW."""
    counts = np.outer(g.vertical.counts(count_include_pad), g.horizontal.counts(count_include_pad))   # (OH, OW)
    if not _has_operator(g):
        return graph.add("Mul", _sums(graph, x, g), graph.constant((1 / counts)[None, None], np.float32))
    if not any(_extends(axis) for axis in (g.vertical, g.horizontal)):
        return _pool(graph, "AveragePool", x, g, count_include_pad=int(count_include_pad))
    mean = _pool(graph, "AveragePool", x, g, count_include_pad=1)
    return graph.add("Mul", mean, graph.constant((g.KH * g.KW / counts)[None, None], np.float32))


def _extends(axis: Axis) -> bool:
    return axis.padded > axis.size + axis.before + axis.after


def _has_operator(g: Pool2dGeometry) -> bool:
    """Whether AveragePool and LpPool know the windows."""
    top, left, bottom, right = pads(g)
    return g.vertical.dilation == g.horizontal.dilation == 1 and max(top, bottom) < g.KH and max(left, right) < g.KW


def _sums(graph: Graph, x: Value, g: Pool2dGeometry) -> Value:
    """The sum of each window."""
    v, h = g.vertical, g.horizontal
    ones = graph.constant(np.ones((g.C, 1, g.KH, g.KW), np.float32))
    return graph.add("Conv", x, ones, shape=(g.N, g.C, g.OH, g.OW), kernel_shape=[g.KH, g.KW], pads=pads(g),
                     strides=[v.stride, h.stride], dilations=[v.dilation, h.dilation], group=g.C)  # fmt: skip


def lp_pool2d(graph: Graph, x: Value, *, norm_type: float, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
              ceil_mode: bool) -> Value:  # fmt: skip
    """LpPool, whose p is an integer; for other p, and other windows, (Σ |x|^p)^(1/p)."""
    g, p = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode), float(norm_type)
    if p.is_integer() and _has_operator(g):
        return _pool(graph, "LpPool", x, g, p=int(p))
    powers = graph.add("Pow", graph.add("Abs", x), graph.constant(p, np.float32))
    return graph.add("Pow", _sums(graph, powers, g), graph.constant(1 / p, np.float32))


def trainable_avg_pool2d(graph: Graph, x: Value, a: Value, b: Value, *, kernel_size: Any, stride: Any) -> Value:
    """AveragePool · (KH·KW) · a + b."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride)
    total = graph.add("Mul", _avg_pool(graph, x, g), graph.constant(g.KH * g.KW, np.float32))
    each = [graph.add("Reshape", v, graph.ints(1, -1, 1, 1), shape=(1, g.C, 1, 1)) if v.array is None
            else graph.constant(v.array.reshape(1, g.C, 1, 1)) for v in (a, b)]  # fmt: skip
    return graph.add("Add", graph.add("Mul", total, each[0]), each[1])


# ---------------------------------------------------------------------------------------------- to a given output size


def adaptive_avg_pool2d(graph: Graph, x: Value, *, output_size: Any) -> Value:
    """Global pooling, ordinary windows, or, for windows of different sizes, a matrix product from each side."""
    (OH, OW), (H, W) = pair("output_size", output_size), x.shape[2:]
    if OH == OW == 1:
        return graph.add("GlobalAveragePool", x, shape=(*x.shape[:2], 1, 1))
    if H % OH == W % OW == 0:
        return _avg_pool(graph, x, Pool2dGeometry.of(x.shape, (H // OH, W // OW)))
    rows, columns = (np.array([[(i <= p < e) / (e - i) for p in range(n)] for i, e in bounds(n, out)], np.float32)
                     for n, out in ((H, OH), (W, OW)))                        # (OH, H), (OW, W)
    down = graph.add("MatMul", graph.constant(rows), x, shape=(*x.shape[:2], OH, W))
    return graph.add("MatMul", down, graph.constant(columns.T.copy()), shape=(*x.shape[:2], OH, OW))


def adaptive_max_pool2d(graph: Graph, x: Value, *, output_size: Any) -> Value:
    """Global pooling, ordinary windows, or, for windows of different sizes, maxima over rows, then over columns."""
    (OH, OW), (H, W) = pair("output_size", output_size), x.shape[2:]
    if OH == OW == 1:
        return graph.add("GlobalMaxPool", x, shape=(*x.shape[:2], 1, 1))
    if H % OH == W % OW == 0:
        return _max_pool(graph, x, Pool2dGeometry.of(x.shape, (H // OH, W // OW)))
    return _window_maxima(graph, _window_maxima(graph, x, 2, OH), 3, OW)


def resize(graph: Graph, x: Value, *, size: Any, scale: Any, mode: str, coordinates: str, rounding: str) -> Value:
    """Resize; or a matrix product from each side, where runtimes might read other pixels.

    Opset 17 lacks "half_pixel_symmetric". And runtimes compute coordinates in float32: one that lies halfway between
    two pixels may be rounded to the other one.
    """
    read = taps(x.shape, size, scale, mode, coordinates, rounding)
    outs = [len(axis) for axis in read]
    scales = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    if scale is None:
        scales = [out / n for out, n in zip(outs, x.shape[2:])]
    shape = (*x.shape[:2], *outs)
    if coordinates != "half_pixel_symmetric" and all(
            _same_in_float32(n, out, s, mode, coordinates, rounding, scale is None)
            for n, out, s in zip(x.shape[2:], outs, scales)):  # fmt: skip
        how = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        if scale is not None:
            return graph.add("Resize", x, None, graph.constant([1, 1, *scales], np.float32), shape=shape, **how)
        lead = graph.add("Shape", x, start=0, end=2, shape=(2,))
        sizes = graph.add("Concat", lead, graph.ints(*outs), axis=0, shape=(4,))
        return graph.add("Resize", x, None, None, sizes, shape=shape, **how)
    left, right = (np.array([[dict(pixels).get(p, 0) for p in range(n)] for pixels in axis], np.float32)
                   for n, axis in zip(x.shape[2:], read))                     # (OH, H), (OW, W)
    down = graph.add("MatMul", graph.constant(left), x, shape=(*shape[:3], x.shape[3]))
    return graph.add("MatMul", down, graph.constant(right.T.copy()), shape=shape)


def _same_in_float32(n: int, out: int, s: float, mode: str, coordinates: str, rounding: str, sized: bool) -> bool:
    """Whether the size of an axis, and the pixels that "nearest" reads, are the same if computed in float32."""
    place, nearest, single = COORDINATES[coordinates], ROUNDING[rounding], np.float32(s)
    return (sized or math.floor(single * np.float32(n)) == out) and (mode == "linear" or all(
        nearest(float(place(np.float32(i), n, out, single))) == nearest(place(i, n, out, s)) for i in range(out)))


def _window_maxima(graph: Graph, x: Value, axis: int, out: int) -> Value:
    """The maximum of each of `out` windows along one axis."""
    def extent(n: int) -> tuple[int, ...]:
        return (*x.shape[:axis], n, *x.shape[axis + 1 :])

    parts = []
    for start, end in bounds(x.shape[axis], out):
        window = graph.add("Slice", x, *map(graph.ints, (start, end, axis)), shape=extent(end - start))
        parts.append(graph.add("ReduceMax", window, axes=[axis], keepdims=1, shape=extent(1)))
    return graph.add("Concat", *parts, axis=axis, shape=extent(out))


def global_pool2d(operator: str, graph: Graph, x: Value) -> Value:
    """ReduceMean or ReduceMax over the pixels: GlobalAveragePool would keep axes of length 1."""
    return graph.add(operator, x, axes=[2, 3], keepdims=0, shape=x.shape[:2])
