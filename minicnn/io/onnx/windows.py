"""Pooling as ONNX nodes.

The image's size is fixed, so the pixels that ceil_mode lets windows hang over the edge are written as padding: programs
disagree about ceil_mode, about padding they don't.
"""

from __future__ import annotations

import numpy as np

from minicnn.geometry import Axis, Pool2dGeometry, Window2d, pair
from minicnn.io.onnx.graph import Graph, Value, translation


def pads(g: Window2d) -> list[int]:
    """ONNX's [top, left, bottom, right]: what is asked, and what windows that hang over the edge need."""
    v, h = g.vertical, g.horizontal
    return [v.before, h.before, v.padded - v.size - v.before, h.padded - h.size - h.before]


def _pool(graph: Graph, op: str, x: Value, g: Pool2dGeometry, **attributes) -> Value:
    v, h = g.vertical, g.horizontal
    return graph.add(op, x, shape=(g.N, g.C, g.OH, g.OW), kernel_shape=[g.KH, g.KW], strides=[v.stride, h.stride],
                     **{"pads": pads(g), **attributes})  # fmt: skip


@translation
def max_pool2d(graph, x, *, kernel_size, stride, padding, dilation, ceil_mode):
    """MaxPool; padding counts as −∞ there too."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(graph, x, g)


def _max_pool(graph, x, g):
    v, h = g.vertical, g.horizontal
    dilations = [v.dilation, h.dilation]
    top, left, bottom, right = pads(g)
    if max(top, bottom) < g.KH and max(left, right) < g.KW:
        return _pool(graph, "MaxPool", x, g, dilations=dilations)
    padded = graph.add("Pad", x, graph.ints(0, 0, top, left, 0, 0, bottom, right),
                       graph.constant(-np.inf, np.float32), shape=(g.N, g.C, v.padded, h.padded))  # fmt: skip
    return _pool(graph, "MaxPool", padded, g, dilations=dilations, pads=[0, 0, 0, 0])


@translation
def avg_pool2d(graph, x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    """AveragePool, corrected where windows hang over the edge."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool(graph, x, g, count_include_pad)


def _avg_pool(graph, x, g, count_include_pad=False):
    """Where ceil_mode lets windows hang over, they count what the definition counts, and not KH·KW."""
    if not any(_hangs_over(axis) for axis in (g.vertical, g.horizontal)):
        return _pool(graph, "AveragePool", x, g, count_include_pad=int(count_include_pad))
    counts = np.outer(g.vertical.counts(count_include_pad), g.horizontal.counts(count_include_pad))   # (OH, OW)
    mean = _pool(graph, "AveragePool", x, g, count_include_pad=1)
    return graph.add("Mul", mean, graph.constant((g.KH * g.KW / counts)[None, None], np.float32))


def _hangs_over(axis: Axis) -> bool:
    return axis.padded > axis.size + axis.before + axis.after


@translation
def lp_pool2d(graph, x, *, norm_type, kernel_size, stride, ceil_mode):
    """ONNX's LpPool knows whole p alone; others are (KH·KW · mean |x|^p)^(1/p)."""
    g, p = Pool2dGeometry.of(x.shape, kernel_size, stride, 0, 1, ceil_mode), float(norm_type)
    if p.is_integer():
        return _pool(graph, "LpPool", x, g, p=int(p))
    powers = graph.add("Pow", graph.add("Abs", x), graph.constant(p, np.float32))
    mean = _pool(graph, "AveragePool", powers, g, count_include_pad=1)
    total = graph.add("Mul", mean, graph.constant(g.KH * g.KW, np.float32))
    return graph.add("Pow", total, graph.constant(1 / p, np.float32))


@translation
def trainable_avg_pool2d(graph, x, a, b, *, kernel_size, stride):
    """AveragePool · (KH·KW) · a + b."""
    g = Pool2dGeometry.of(x.shape, kernel_size, stride)
    total = graph.add("Mul", _avg_pool(graph, x, g), graph.constant(g.KH * g.KW, np.float32))
    each = [graph.add("Reshape", v, graph.ints(1, -1, 1, 1), shape=(1, g.C, 1, 1)) if v.array is None
            else graph.constant(v.array.reshape(1, g.C, 1, 1)) for v in (a, b)]  # fmt: skip
    return graph.add("Add", graph.add("Mul", total, each[0]), each[1])


# ---------------------------------------------------------------------------------------------- to a given output size


@translation
def adaptive_avg_pool2d(graph, x, *, output_size):
    """As the op does it: globally, by ordinary windows, or by a matrix from each side."""
    (OH, OW), (H, W) = pair("output_size", output_size), x.shape[2:]
    if OH == OW == 1:
        return graph.add("GlobalAveragePool", x, shape=(*x.shape[:2], 1, 1))
    if H % OH == W % OW == 0:
        return _avg_pool(graph, x, Pool2dGeometry.of(x.shape, (H // OH, W // OW)))
    rows, columns = (np.array([[(i <= p < e) / (e - i) for p in range(n)] for i, e in _boxes(n, out)], np.float32)
                     for n, out in ((H, OH), (W, OW)))                        # (OH, H), (OW, W)
    down = graph.add("MatMul", graph.constant(rows), x, shape=(*x.shape[:2], OH, W))
    return graph.add("MatMul", down, graph.constant(columns.T.copy()), shape=(*x.shape[:2], OH, OW))


@translation
def adaptive_max_pool2d(graph, x, *, output_size):
    """Where the boxes differ in size: the maximum of each box of rows, and of each box of columns of that."""
    (OH, OW), (H, W) = pair("output_size", output_size), x.shape[2:]
    if OH == OW == 1:
        return graph.add("GlobalMaxPool", x, shape=(*x.shape[:2], 1, 1))
    if H % OH == W % OW == 0:
        return _max_pool(graph, x, Pool2dGeometry.of(x.shape, (H // OH, W // OW)))
    return _box_maxima(graph, _box_maxima(graph, x, 2, OH), 3, OW)


def _box_maxima(graph, x, axis, out):
    """The maximum of each of `out` boxes along one axis."""
    def extent(n): return (*x.shape[:axis], n, *x.shape[axis + 1 :])
    parts = []
    for start, end in _boxes(x.shape[axis], out):
        box = graph.add("Slice", x, *map(graph.ints, (start, end, axis)), shape=extent(end - start))
        parts.append(graph.add("ReduceMax", box, axes=[axis], keepdims=1, shape=extent(1)))
    return graph.add("Concat", *parts, axis=axis, shape=extent(out))


@translation
def global_avg_pool2d(graph, x):
    """ReduceMean over the pixels; GlobalAveragePool would leave 1×1 of them."""
    return graph.add("ReduceMean", x, axes=[2, 3], keepdims=0, shape=x.shape[:2])


@translation
def global_max_pool2d(graph, x):
    """ReduceMax over the pixels."""
    return graph.add("ReduceMax", x, axes=[2, 3], keepdims=0, shape=x.shape[:2])


def _boxes(size: int, out: int) -> list[tuple[int, int]]:
    """First row and the one after the last, of each of the `out` boxes."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
