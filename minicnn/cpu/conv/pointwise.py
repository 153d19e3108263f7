"""1×1 filters: one matrix product; no columns are copied.

    y (M, O)  =  x (M, C) · w (C, O) + b         M = all the pixels of the batch

With a stride, the pixels that the filters read are selected first.
"""

import numpy as np

from minicnn.cpu.conv.filters import taps_first
from minicnn.cpu.conv.tiled import values_computed
from minicnn.cpu.gemm import add_bias, blocked_matmul
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split, sum_of_shares

CHUNK_RESULT_VALUES = 1 << 20
"""Values of the result in a chunk. BLAS packs the filters again for each chunk: chunks that fit a core's own cache,
1 << 17, made 1024 → 256 filters at 14² 15 % slower, though the bias is then added in the cache."""


def supports(g, dtype):
    """One tap, one group, no padding."""
    pads = [p for a in (g.vertical, g.horizontal) for p in (a.before, a.after)]
    return g.KH == g.KW == g.G == 1 and not any(pads)


def conv2d(x, w, b, g):
    """y = x · w + b"""
    x = pixels_read(x, g)                                                     # (M, C)
    # for few pixels BLAS reads the filters transposed: reordering them would take longer than the product
    w = w.reshape(g.O, g.C).T if len(x) < g.O else taps_first(w).reshape(g.C, g.O)            # (C, O)
    y = np.empty((len(x), g.O), x.dtype)

    def work(chunk):
        rows = slice(*chunk)
        blocked_matmul(x[rows], w, y[rows])
        if b is not None:
            add_bias(y[rows], b)

    parallel_for(work, chunks(len(x), g.O), values_computed(g))
    return as_nchw(y.reshape(g.N, g.OH, g.OW, g.O))


def conv2d_dx(dy, w, g):
    """dx = dy · wᵀ, at the pixels that were read"""
    dy = to_nhwc(dy).reshape(-1, g.O)                                         # (M, O)
    w = np.ascontiguousarray(w.reshape(g.O, g.C))
    dx = np.empty((len(dy), g.C), dy.dtype)

    def work(chunk):
        rows = slice(*chunk)
        blocked_matmul(dy[rows], w, dx[rows])

    parallel_for(work, chunks(len(dy), g.C), values_computed(g))
    dx = as_nchw(dx.reshape(g.N, g.OH, g.OW, g.C))
    if dx.shape[2:] == (g.H, g.W):
        return dx
    dx_read, dx = dx, as_nchw(np.zeros((g.N, g.H, g.W, g.C), dy.dtype))
    dx[:, :, :: g.vertical.stride, :: g.horizontal.stride] = dx_read
    return dx


def conv2d_dw(dy, x, g):
    """dw = dyᵀ · x; each thread sums over its share of the pixels, and the sums are added in their order."""
    x, dy = pixels_read(x, g), to_nhwc(dy).reshape(-1, g.O)                   # (M, C), (M, O)

    def add(share, total):
        first, stop = share
        for chunk in chunks(stop - first, max(g.C, g.O)):
            rows = slice(first + chunk[0], first + chunk[1])
            total += np.matmul(dy[rows].T, x[rows], out=scratch("product", (g.O, g.C), x.dtype))

    return sum_of_shares(shares(len(x)), add, (g.O, g.C), x.dtype, values_computed(g)).reshape(g.O, g.C, 1, 1)


def chunks(rows, columns):
    """Rows in chunks of about CHUNK_RESULT_VALUES values and at least 128 rows; for each thread one, if possible."""
    return split(rows, min(-(-rows // 128), max(num_threads(), -(-rows * columns // CHUNK_RESULT_VALUES))))


def pixels_read(x, g):
    """The pixels that the filters read: (M, C)"""
    return to_nhwc(x[:, :, :: g.vertical.stride, :: g.horizontal.stride]).reshape(-1, g.C)
