"""Few pixels: a batch of one, or the last layers of a net. The filters are read once, in memory order.

im2col with one row for each window, whose taps have the same order as in a filter:

    y (P, O)  =  cols (P, C·KH·KW) · wᵀ + b         P = N·OH·OW, no more than there are filters

Copying pixels into that order, tap by tap, is slow, but there are few pixels. The other algorithms first copy the
filters into another order, which would take longer than the product here. Threads split the filters, not the pixels, so
that each thread reads only its own part of w.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.tiled import values_computed
from minicnn.cpu.layout import as_nchw, padded_region, to_nhwc
from minicnn.cpu.threads import num_threads, parallel_for, scratch, split


def supports(g, dtype):
    """One group."""
    return g.G == 1


def conv2d(x, w, b, g):
    """y = cols · wᵀ + b, a chunk of the filters for each thread"""
    cols, filters = columns(x, g), w.reshape(g.O, -1)                         # (P, C·KH·KW), (O, C·KH·KW)
    y = np.empty((len(cols), g.O), x.dtype)

    def work(chunk):
        o = slice(*chunk)
        np.matmul(cols, filters[o].T, out=y[:, o])
        if b is not None:
            y[:, o] += b[o]

    parallel_for(work, split(g.O, num_threads()), values_computed(g))
    return as_nchw(y.reshape(g.N, g.OH, g.OW, g.O))


def conv2d_dx(dy, w, g):
    """dx = col2im(dy · w), a chunk of the input channels for each thread"""
    maps, filters = to_nhwc(dy).reshape(-1, g.O), w.reshape(g.O, -1)          # (P, O), (O, C·KH·KW)
    v, h, taps = g.vertical, g.horizontal, g.KH * g.KW
    dx = np.empty((g.N, g.H, g.W, g.C), dy.dtype)

    def work(chunk):
        first, stop = chunk
        cols = scratch("columns", (len(maps), (stop - first) * taps), dy.dtype)
        np.matmul(maps, filters[:, first * taps : stop * taps], out=cols)
        cols = cols.reshape(g.N, g.OH, g.OW, stop - first, g.KH, g.KW)
        padded = scratch("padded", (g.N, v.padded, h.padded, stop - first), dy.dtype)
        padded[...] = 0
        for p, q, (_, down, across) in g.taps():
            padded[:, down, across] += cols[..., p, q]
        dx[..., first:stop] = padded[:, v.before : v.before + g.H, h.before : h.before + g.W]

    parallel_for(work, split(g.C, num_threads()), values_computed(g))
    return as_nchw(dx)


def conv2d_dw(dy, x, g):
    """dw = dyᵀ · cols, a chunk of the filters for each thread: the sum over the pixels is one product"""
    cols, maps = columns(x, g), to_nhwc(dy).reshape(-1, g.O)                  # (P, C·KH·KW), (P, O)
    dw = np.empty((g.O, cols.shape[1]), x.dtype)

    def work(chunk):
        o = slice(*chunk)
        np.matmul(maps[:, o].T, cols, out=dw[o])

    parallel_for(work, split(g.O, num_threads()), values_computed(g))
    return dw.reshape(g.O, g.C, g.KH, g.KW)


def columns(x, g):
    """The pixels of every window, one window per row: (P, C·KH·KW)"""
    v, h = g.vertical, g.horizontal
    if g.KH == g.KW == 1 and not any((v.before, v.after, h.before, h.after)):
        return to_nhwc(x[:, :, :: v.stride, :: h.stride]).reshape(-1, g.C)
    rows, width = (g.OH - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = padded_region(to_nhwc(x), (0, g.N), -v.before, rows, -h.before, width)
    s = image.strides
    cols = scratch("columns", (g.N, g.OH, g.OW, g.C, g.KH, g.KW), x.dtype)
    cols[...] = as_strided(image, cols.shape, (s[0], v.stride * s[1], h.stride * s[2], s[3],
                                               v.dilation * s[1], h.dilation * s[2]))  # fmt: skip
    return cols.reshape(-1, g.C * g.KH * g.KW)
