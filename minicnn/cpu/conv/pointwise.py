"""1×1 filters: a product of matrices as it stands, no columns to make.

    y (M, O)  =  x (M, C) · w (C, O) + b         M = all the pixels of the batch

With a stride the pixels in between are left out first.
"""

import numpy as np

from minicnn.cpu import strips
from minicnn.cpu.conv.filters import taps_first
from minicnn.cpu.conv.tiled import work_of
from minicnn.cpu.layout import images, pixels
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split

UNIT = 1 << 20
"""Values of the result made at a time. BLAS brings the filters into its own order for each part anew: parts that fit a
thread's cache, 1 << 17, made 1024 → 256 filters at 14² 15 % slower, though the bias is then added in the cache."""


def able(g, dtype):
    """One tap, one group, no padding."""
    pads = [p for a in (g.vertical, g.horizontal) for p in (a.before, a.after)]
    return g.KH == g.KW == g.G == 1 and not any(pads)


def conv2d(x, w, b, g):
    """y = x · w + b"""
    x = picked(x, g)                                                          # (M, C)
    # for few pixels BLAS may read the filters sideways: laying them out anew would take longer than the product
    w = w.reshape(g.O, g.C).T if len(x) < g.O else taps_first(w).reshape(g.C, g.O)            # (C, O)
    y = np.empty((len(x), g.O), x.dtype)

    def work(rows):
        here = y[slice(*rows)]
        strips.multiply(x[slice(*rows)], w, here)
        if b is not None:
            strips.add_row(here, b)

    parallel_for(work, units(len(x), g.O), work_of(g))
    return images(y.reshape(g.N, g.OH, g.OW, g.O))


def conv2d_dx(dy, w, g):
    """dx = dy · wᵀ, at the pixels that were read"""
    dy = pixels(dy).reshape(-1, g.O)                                          # (M, O)
    w = np.ascontiguousarray(w.reshape(g.O, g.C))
    dx = np.empty((len(dy), g.C), dy.dtype)

    def work(rows):
        strips.multiply(dy[slice(*rows)], w, dx[slice(*rows)])

    parallel_for(work, units(len(dy), g.C), work_of(g))
    dx = images(dx.reshape(g.N, g.OH, g.OW, g.C))
    if dx.shape[2:] == (g.H, g.W):
        return dx
    spread = images(np.zeros((g.N, g.H, g.W, g.C), dy.dtype))
    spread[:, :, :: g.vertical.stride, :: g.horizontal.stride] = dx
    return spread


def conv2d_dw(dy, x, g):
    """dw = dyᵀ · x; each thread sums over its own pixels, and the sums are added in their order."""
    x, dy = picked(x, g), pixels(dy).reshape(-1, g.O)                         # (M, C), (M, O)
    parts = shares(len(x))
    sums = np.zeros((max(1, len(parts)), g.O, g.C), x.dtype)

    def work(part):
        start, stop = parts[part]
        for first, last in units(stop - start, max(g.C, g.O)):
            rows = slice(start + first, start + last)
            sums[part] += np.matmul(dy[rows].T, x[rows], out=scratch("product", (g.O, g.C), x.dtype))

    parallel_for(work, range(len(parts)), work_of(g))
    for other in sums[1:]:
        sums[0] += other
    return sums[0].reshape(g.O, g.C, 1, 1)


def units(rows, columns):
    """The rows in ranges of about UNIT values, 128 at least; not fewer ranges than threads where there is enough."""
    return split(rows, min(-(-rows // 128), max(num_threads(), -(-rows * columns // UNIT))))


def picked(x, g):
    """The pixels that the filters read: (M, C)"""
    return pixels(x[:, :, :: g.vertical.stride, :: g.horizontal.stride]).reshape(-1, g.C)
