"""Ops with weights or statistics, and local response normalisation, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from minicnn.geometry import Conv2dGeometry, channel_band
from minicnn.io.onnx.graph import translation
from minicnn.io.onnx.windows import pads


@translation
def conv2d(graph, x, w, b, *, stride, padding, dilation, groups):
    """ONNX's Conv is a cross-correlation too."""
    g = Conv2dGeometry.of(x.shape, w.shape, stride, padding, dilation, groups)
    v, h = g.vertical, g.horizontal
    return graph.add("Conv", x, w, b, shape=(g.N, g.O, g.OH, g.OW), kernel_shape=[g.KH, g.KW], pads=pads(g),
                     strides=[v.stride, h.stride], dilations=[v.dilation, h.dilation], group=g.G)  # fmt: skip


@translation
def linear(graph, x, w, b):
    """Gemm, the matrix read by rows as ours."""
    return graph.add("Gemm", x, w, b, shape=(x.shape[0], w.shape[0]), transB=1)


@translation
def batch_norm_inference(graph, x, gamma, beta, mean, var, *, eps):
    """BatchNormalization, which needs all four vectors."""
    gamma = gamma or graph.constant(np.ones(mean.shape, np.float32))
    beta = beta or graph.constant(np.zeros(mean.shape, np.float32))
    return graph.add("BatchNormalization", x, gamma, beta, mean, var, epsilon=float(eps))


@translation
def local_response_norm(graph, x, *, size, alpha, beta, k, variant):
    """ONNX divides alpha by the size, as variant="torch" does.

    Its window of an even size leans to the channels after, ours to those before; and onnxruntime takes images and odd
    sizes alone. The others are written out: x · (k + α'·Σ x²)^−β, the sums by a 1×1 convolution with a band matrix.
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
