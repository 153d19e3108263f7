"""Handlers of ops with weights or statistics, and of local response normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.cpu.lrn import channel_band
from minicnn.geometry import Conv2dGeometry, pair
from minicnn.io.onnx.graph import Graph, Value
from minicnn.io.onnx.pooling import pads
from minicnn.io.onnx.shapes import END
from minicnn.ops.conv import transposed


def conv2d(graph: Graph, x: Value, w: Value, b: Value | None, *, stride: Any, padding: Any, dilation: Any,
           groups: int, flip: bool) -> Value:  # fmt: skip
    """Conv, which is a cross-correlation in ONNX too. The padding is written in pixels, not as auto_pad."""
    g = Conv2dGeometry.of(x.shape, w.shape, stride, padding, dilation, groups)
    v, h = g.vertical, g.horizontal
    return graph.add("Conv", x, _turned(graph, w) if flip else w, b, shape=(g.N, g.O, g.OH, g.OW),
                     kernel_shape=[g.KH, g.KW], pads=pads(g), strides=[v.stride, h.stride],
                     dilations=[v.dilation, h.dilation], group=g.G)  # fmt: skip


def conv1d(graph: Graph, x: Value, w: Value, b: Value | None, *, stride: int, padding: Any, dilation: int,
           groups: int, flip: bool) -> Value:  # fmt: skip
    """Conv with one axis."""
    (N, C, L), (O, Cg, K) = x.shape, w.shape
    g = Conv2dGeometry.of((N, C, 1, L), (O, Cg, 1, K), stride,
                          padding if isinstance(padding, str) else (0, padding), dilation, groups)
    return graph.add("Conv", x, _turned(graph, w) if flip else w, b, shape=(N, O, g.OW), kernel_shape=[K],
                     pads=pads(g)[1::2], strides=[g.horizontal.stride], dilations=[g.horizontal.dilation],
                     group=g.G)  # fmt: skip


def conv_transpose2d(graph: Graph, x: Value, w: Value, b: Value | None, *, stride: Any, padding: Any,
                     output_padding: Any, groups: int, dilation: Any) -> Value:  # fmt: skip
    """ConvTranspose, whose weights are laid out as here."""
    g = transposed(x.shape, w.shape, None, stride, padding, output_padding, groups, dilation)
    v, h = g.vertical, g.horizontal
    return graph.add("ConvTranspose", x, w, b, shape=(g.N, g.C, g.H, g.W), kernel_shape=[g.KH, g.KW],
                     pads=[v.before, h.before, v.after, h.after], strides=[v.stride, h.stride],
                     dilations=[v.dilation, h.dilation], output_padding=list(pair("output_padding", output_padding, 0)),
                     group=g.G)  # fmt: skip


def _turned(graph: Graph, w: Value) -> Value:
    """The filters with their taps in reverse order along each axis."""
    if w.array is not None:
        turned = w.array[(slice(None), slice(None), *[slice(None, None, -1)] * (w.ndim - 2))]
        return graph.constant(turned.copy(), name=w.name and f"{w.name}/turned")
    axes = range(2, w.ndim)
    return graph.add("Slice", w, *(graph.ints(*[n] * len(axes)) for n in (-1, -END)), graph.ints(*axes),
                     graph.ints(*[-1] * len(axes)), shape=w.shape)  # fmt: skip


def linear(graph: Graph, x: Value, w: Value, b: Value | None) -> Value:
    """Gemm with the weights transposed: a row of w for each output, as here."""
    return graph.add("Gemm", x, w, b, shape=(x.shape[0], w.shape[0]), transB=1)


def batch_norm_inference(graph: Graph, x: Value, gamma: Value | None, beta: Value | None, mean: Value, var: Value, *,
                         eps: float) -> Value:  # fmt: skip
    """BatchNormalization, which needs all four vectors."""
    gamma = gamma or graph.constant(np.ones(mean.shape, np.float32))
    beta = beta or graph.constant(np.zeros(mean.shape, np.float32))
    return graph.add("BatchNormalization", x, gamma, beta, mean, var, epsilon=float(eps))


def layer_norm(graph: Graph, x: Value, gamma: Value | None, beta: Value | None, *, normalized_shape: Any,
               eps: float) -> Value:  # fmt: skip
    """LayerNormalization, which needs a scale."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    gamma = gamma or graph.constant(np.ones(shape, np.float32))
    return graph.add("LayerNormalization", x, gamma, beta, axis=x.ndim - len(shape), epsilon=float(eps))


def instance_norm(graph: Graph, x: Value, gamma: Value | None, beta: Value | None, *, eps: float) -> Value:
    """InstanceNormalization, which needs both vectors."""
    C = x.shape[1]
    gamma = gamma or graph.constant(np.ones(C, np.float32))
    beta = beta or graph.constant(np.zeros(C, np.float32))
    return graph.add("InstanceNormalization", x, gamma, beta, epsilon=float(eps))


def group_norm(graph: Graph, x: Value, gamma: Value | None, beta: Value | None, *, num_groups: int,
               eps: float) -> Value:  # fmt: skip
    """InstanceNormalization of groups laid out as channels: the operator GroupNormalization came after opset 17."""
    (N, C, *pixels), rest = x.shape, [1] * (x.ndim - 2)
    groups = graph.add("Reshape", x, graph.ints(0, num_groups, -1),
                       shape=(N, num_groups, C // num_groups * math.prod(pixels)))
    y = graph.add("Reshape", instance_norm(graph, groups, None, None, eps=eps), graph.ints(0, C, *pixels),
                  shape=x.shape)  # fmt: skip
    for operator, v in (("Mul", gamma), ("Add", beta)):
        if v is not None:
            each = graph.constant(v.array.reshape(C, *rest), name=v.name) if v.array is not None else graph.add(
                "Reshape", v, graph.ints(C, *rest), shape=(C, *rest))
            y = graph.add(operator, y, each)
    return y


def local_response_norm(graph: Graph, x: Value, *, size: int, alpha: float, beta: float, k: float,
                        variant: str) -> Value:  # fmt: skip
    """LRN, which divides alpha by the size, as variant="torch" does.

    ONNX's window of an even size has its extra channel after the middle, ours before; and onnxruntime supports only
    images and odd sizes. The other cases are written as x · (k + α'·Σ x²)^−β, with a 1×1 convolution for the sums.
    """
    if size % 2 and x.ndim == 4:
        alpha = alpha * size if variant == "paper" else alpha
        return graph.add("LRN", x, size=size, alpha=float(alpha), beta=float(beta), bias=float(k))
    scale = alpha if variant == "paper" else alpha / size
    C = x.shape[1]
    band = channel_band(C, size).T.astype(np.float32) * np.float32(scale)     # (C, C): the window of c in row c
    maps = x if x.ndim > 2 else graph.add("Unsqueeze", x, graph.ints(2), shape=(*x.shape, 1))
    w = graph.constant(band.reshape(C, C, *[1] * (maps.ndim - 2)))
    b = graph.constant(np.full(C, k, np.float32))
    s = graph.add("Conv", graph.add("Mul", maps, maps), w, b)
    y = graph.add("Mul", maps, graph.add("Pow", s, graph.constant(-beta, np.float32)))
    return y if x.ndim > 2 else graph.add("Squeeze", y, graph.ints(2), shape=x.shape)
