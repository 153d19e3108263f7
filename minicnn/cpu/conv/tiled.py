"""The product of im2col, tile by tile: supports every convolution.

im2col writes the columns of the whole batch to main memory. Here a thread writes the columns of a few output rows, as
many as fit in its cache, multiplies them, and reuses the memory for the next rows. Pixels are stored channels last, so
a row of a window is one contiguous run of KW·C values:

    y (P, O)  =  cols (P, KH·KW·C) · w (KH·KW·C, O) + b         P = output pixels of a tile

With G groups, each group has its own product on its own C/G channels and O/G filters.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.dx import dx_by
from minicnn.cpu.conv.filters import taps_first, taps_last
from minicnn.cpu.gemm import blocked_matmul
from minicnn.cpu.layout import as_nchw, padded_region, to_nhwc
from minicnn.cpu.threads import PARTS, parallel_for, scratch, split, sum_of_parts

TILE_COLUMN_BYTES = 4 << 20
"""Bytes of a tile's columns. Fewer would fit a core's own cache better, but then the threads wait for Python's lock too
often: 1 MB made the gradients of LeNet-5's layers a third slower."""


def supports(g, dtype):
    """Every convolution."""
    return True


def conv2d(x, w, b, g):
    """y = cols · w + b"""
    x, taps = to_nhwc(x), taps_first(w)                                       # (N,H,W,C), (KH,KW,C/G,O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    by_group = [(taps[..., o].reshape(-1, g.O // g.G), c, o) for c, o in groups(g)]

    def work(tile):
        out = tile_of(y, tile).reshape(-1, g.O)                               # (P, O)
        for matrix, c, o in by_group:
            blocked_matmul(columns(x, tile, c, g), matrix, out[:, o])         # (P, KH·KW·C/G) @ (KH·KW·C/G, O/G)
        if b is not None:
            out += b

    parallel_for(work, output_tiles(g, column_bytes(g, x.itemsize), TILE_COLUMN_BYTES), values_computed(g))
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    """Convolutions of dy with the filters turned by 180°."""
    return dx_by(conv2d, dy, w, g)


def conv2d_dw(dy, x, g):
    """dw = Σ colsᵀ · dy over all tiles"""
    x, dy = to_nhwc(x), to_nhwc(dy)
    K = g.KH * g.KW * (g.C // g.G)

    def add(tile, total):
        dy_tile = tile_of(dy, tile).reshape(-1, g.O)                          # (P, O)
        for c, o in groups(g):
            cols = columns(x, tile, c, g)                                     # (P, KH·KW·C/G)
            product = scratch("product", (K, g.O // g.G), x.dtype)
            total[:, o] += np.matmul(cols.T, dy_tile[:, o], out=product)

    tiles = output_tiles(g, column_bytes(g, x.itemsize), TILE_COLUMN_BYTES)
    dw = sum_of_parts(tiles, add, (K, g.O), x.dtype, values_computed(g))
    return taps_last(dw.reshape(g.KH, g.KW, g.C // g.G, g.O))


def values_computed(g):
    """The approximate number of values that a convolution copies and computes; 32 multiply-adds count as one value."""
    pixels, terms = g.N * g.OH * g.OW, g.KH * g.KW * g.C
    return pixels * (terms + g.O + terms * g.O // g.G // 32)


def groups(g):
    """(input channels, filters) of each group, as slices."""
    C, O = g.C // g.G, g.O // g.G
    return [(slice(i * C, (i + 1) * C), slice(i * O, (i + 1) * O)) for i in range(g.G)]


def column_bytes(g, itemsize):
    """Bytes of an output pixel's column."""
    return g.KH * g.KW * (g.C // g.G) * itemsize


def output_tiles(g, pixel_bytes, tile_bytes):
    """The output in tiles (images, rows) of about `tile_bytes`, two ranges: some rows of one image, or whole images."""
    rows = max(1, tile_bytes // (g.OW * pixel_bytes))
    if rows < g.OH:
        return [((n, n + 1), r) for n in range(g.N) for r in split(g.OH, -(-g.OH // rows))]
    images = max(1, min(rows // g.OH, -(-g.N // PARTS)))
    return [(n, (0, g.OH)) for n in split(g.N, -(-g.N // images))]


def tile_of(y, tile):
    """The part of y (N,OH,OW,O) that is a tile: a view."""
    images, rows = tile
    return y[slice(*images), slice(*rows)]


def columns(x, tile, channels, g):
    """The windows of a tile, one window per row: (P, KH·KW·C)"""
    view = windows(x[..., channels], tile, g)
    cols = scratch("columns", view.shape, x.dtype)
    cols[...] = view                                                          # (n, rows, OW, KH, KW, C)
    return cols.reshape(-1, g.KH * g.KW * view.shape[5])


def windows(x, tile, g):
    """The pixels of every window of a tile: (n, rows, OW, KH, KW, C), a view in which windows overlap."""
    images, (first, stop) = tile
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = padded_region(x, images, first * v.stride - v.before, rows, -h.before, width)
    s = image.strides
    shape = (len(image), stop - first, g.OW, g.KH, g.KW, image.shape[3])
    steps = (s[0], v.stride * s[1], h.stride * s[2], v.dilation * s[1], h.dilation * s[2], s[3])
    return as_strided(image, shape, steps)
