"""1×1 filters: one matrix product; no columns are copied.

    y (M, O)  =  x (M, C) · w (C, O) + b         M = all the pixels of the batch

With a stride, the pixels that the filters read are selected first.
"""

import numpy as np

from minicnn.cpu.conv.tiled import values_computed
from minicnn.cpu.gemm import matmul
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.cpu.threads import parts, scratch, sum_of_parts


def supports(g, dtype):
    """One tap, one group, no padding."""
    pads = [p for a in (g.vertical, g.horizontal) for p in (a.before, a.after)]
    return g.KH == g.KW == g.G == 1 and not any(pads)


def conv2d(x, w, b, g):
    """y = x · w + b"""
    y = matmul(_pixels_read(x, g), w.reshape(g.O, g.C).T, b)                  # (M, C) @ (C, O)
    return as_nchw(y.reshape(g.N, g.OH, g.OW, g.O))


def conv2d_dx(dy, w, g):
    """dx = dy · wᵀ, at the pixels that were read"""
    dx_read = matmul(to_nhwc(dy).reshape(-1, g.O), np.ascontiguousarray(w.reshape(g.O, g.C)))   # (M, O) @ (O, C)
    dx_read = as_nchw(dx_read.reshape(g.N, g.OH, g.OW, g.C))
    if dx_read.shape[2:] == (g.H, g.W):
        return dx_read
    dx = as_nchw(np.zeros((g.N, g.H, g.W, g.C), dy.dtype))
    dx[:, :, :: g.vertical.stride, :: g.horizontal.stride] = dx_read
    return dx


def conv2d_dw(dy, x, g):
    """dw = dyᵀ · x"""
    x, dy = _pixels_read(x, g), to_nhwc(dy).reshape(-1, g.O)                  # (M, C), (M, O)

    def add(chunk, total):
        rows = slice(*chunk)
        total += np.matmul(dy[rows].T, x[rows], out=scratch("product", (g.O, g.C), x.dtype))

    return sum_of_parts(parts(len(x)), add, (g.O, g.C), x.dtype, values_computed(g)).reshape(g.O, g.C, 1, 1)


def _pixels_read(x, g):
    """The pixels that the filters read: (M, C)"""
    return to_nhwc(x[:, :, :: g.vertical.stride, :: g.horizontal.stride]).reshape(-1, g.C)
