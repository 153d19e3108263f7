"""The product of im2col, tile by tile: supports every convolution.

im2col writes the columns of the whole batch to main memory. Here a thread writes the columns of a few output rows, as
many as fit in its cache, multiplies them, and reuses the memory for the next rows. Pixels are stored channels last, so
a row of a window is one contiguous run of KW·C values:

    y (P, O)  =  cols (P, KH·KW·C) · w (KH·KW·C, O) + b         P = output pixels of a tile

With G groups, each group has its own product on its own C/G channels and O/G filters.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.filters import taps_first, taps_last, transposed
from minicnn.cpu.conv.geometry import dx_as_conv2d
from minicnn.cpu.gemm import add_bias, blocked_matmul
from minicnn.cpu.layout import as_nchw, padded_region, to_nhwc
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split, sum_of_shares

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
            add_bias(out, b)

    parallel_for(work, output_tiles(g, x.itemsize), values_computed(g))
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    """At stride 1 the convolution of dy with the filters turned by 180°, else dx = col2im(dy · wᵀ)."""
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, dx_geometry = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, g.G), None, dx_geometry)
    return scattered_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    """dw = Σ colsᵀ · dy; each thread sums over its share of the tiles, and the sums are added in their order."""
    x, dy = to_nhwc(x), to_nhwc(dy)
    K = g.KH * g.KW * (g.C // g.G)
    tiles = output_tiles(g, x.itemsize)

    def add(share, total):
        for tile in tiles[slice(*share)]:
            dy_tile = tile_of(dy, tile).reshape(-1, g.O)                      # (P, O)
            for c, o in groups(g):
                cols = columns(x, tile, c, g)                                 # (P, KH·KW·C/G)
                product = scratch("product", (K, g.O // g.G), x.dtype)
                total[:, o] += np.matmul(cols.T, dy_tile[:, o], out=product)

    dw = sum_of_shares(shares(len(tiles)), add, (K, g.O), x.dtype, values_computed(g))
    return taps_last(dw.reshape(g.KH, g.KW, g.C // g.G, g.O))


def values_computed(g):
    """The approximate number of values that a convolution copies and computes; 32 multiply-adds count as one value."""
    pixels, terms = g.N * g.OH * g.OW, g.KH * g.KW * g.C
    return pixels * (terms + g.O + terms * g.O // g.G // 32)


def groups(g):
    """(input channels, filters) of each group, as slices."""
    C, O = g.C // g.G, g.O // g.G
    return [(slice(i * C, (i + 1) * C), slice(i * O, (i + 1) * O)) for i in range(g.G)]


def output_tiles(g, itemsize):
    """The output in tiles (images, rows), each a range: some rows of one image, or some whole images."""
    row = g.OW * g.KH * g.KW * (g.C // g.G) * itemsize
    rows = max(1, TILE_COLUMN_BYTES // row)
    if rows < g.OH:
        return [((n, n + 1), r) for n in range(g.N) for r in split(g.OH, -(-g.OH // rows))]
    images = max(1, min(rows // g.OH, -(-g.N // num_threads())))
    return [(n, (0, g.OH)) for n in split(g.N, -(-g.N // images))]


def tile_of(y, tile):
    """The part of y (N,OH,OW,O) that is a tile: a view."""
    images, rows = tile
    return y[slice(*images), slice(*rows)]


def columns(x, tile, channels, g):
    """The windows of a tile, one window per row: (P, KH·KW·C)"""
    images, (first, stop) = tile
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = padded_region(x[..., channels], images, first * v.stride - v.before, rows, -h.before, width)
    windows = windows_of(image, g, stop - first)
    cols = scratch("columns", windows.shape, x.dtype)
    cols[...] = windows                                                       # (n, rows, OW, KH, KW, C)
    return cols.reshape(-1, g.KH * g.KW * image.shape[3])


def windows_of(image, g, rows):
    """image (n,h,w,C) → (n, rows, OW, KH, KW, C): every window's pixels. A view, in which windows overlap."""
    v, h = g.vertical, g.horizontal
    s = image.strides
    shape = (len(image), rows, g.OW, g.KH, g.KW, image.shape[3])
    steps = (s[0], v.stride * s[1], h.stride * s[2], v.dilation * s[1], h.dilation * s[2], s[3])
    return as_strided(image, shape, steps)


def scattered_dx(dy, w, g):
    """dx = col2im(dy · wᵀ): the product's values are added to the pixels that they were computed from."""
    dy = to_nhwc(dy)
    v, h = g.vertical, g.horizontal
    taps = taps_first(w)                                                      # (KH, KW, C/G, O)
    dx = np.empty((g.N, g.H, g.W, g.C), dy.dtype)
    by_group = [(np.ascontiguousarray(taps[..., o].reshape(-1, g.O // g.G).T), c, o) for c, o in groups(g)]
    distance = -(-h.extent // h.stride)                            # windows at this horizontal distance do not overlap

    def work(tile):
        images, (top, bottom) = tile                                          # images, rows of dx
        # the outputs whose windows reach these rows
        first = max(0, -(-(top + v.before - v.extent + 1) // v.stride))
        stop = min(g.OH, (bottom - 1 + v.before) // v.stride + 1)
        for matrix, c, o in by_group:
            C = c.stop - c.start
            if stop <= first:
                dx[slice(*images), top:bottom, :, c] = 0
                continue
            height = (stop - first - 1) * v.stride + v.extent
            width = max((g.OW - 1) * h.stride + h.extent, h.before + g.W, distance * h.stride + h.extent)
            sums = scratch("sums", (images[1] - images[0], height, width, C), dy.dtype)
            sums[...] = 0
            dy_tile = np.ascontiguousarray(dy[slice(*images), first:stop, :, o])         # (n, rows, OW, O/G)
            cols = scratch("columns", (dy_tile[..., 0].size, len(matrix.T)), dy.dtype)
            blocked_matmul(dy_tile.reshape(len(cols), -1), matrix, cols)
            cols = cols.reshape(*dy_tile.shape[:3], g.KH, g.KW, C)
            windows = windows_of(sums, g, stop - first)
            for p in range(g.KH):
                for j in range(min(distance, g.OW)):
                    windows[:, :, j::distance, p] += cols[:, :, j::distance, p]
            # row `top` of dx is row top + before − first·stride of the sums
            offset = top + v.before - first * v.stride
            dx_tile = dx[slice(*images), top:bottom, :, c]
            low, high = max(0, -offset), min(bottom - top, height - offset)
            dx_tile[:, :low] = dx_tile[:, high:] = 0
            dx_tile[:, low:high] = sums[:, offset + low : offset + high, h.before : h.before + g.W]

    row = g.KH * g.KW * (g.C // g.G) * g.OW * dy.itemsize
    rows = max(v.extent, TILE_COLUMN_BYTES // row * v.stride)                 # of dx in a tile
    images = max(1, min(rows // g.H, -(-g.N // num_threads())))               # or this many whole images
    tiles = [(n, r) for n in split(g.N, -(-g.N // images)) for r in split(g.H, max(1, g.H // rows))]
    parallel_for(work, tiles, values_computed(g))
    return as_nchw(dx)
