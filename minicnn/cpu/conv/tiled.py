"""The textbook's product, tile by tile: for every convolution there is.

im2col makes the columns of the whole batch, which then lie in main memory. Here a thread makes those of a few rows of
the output, about as many as its cache holds, multiplies, and makes the next ones in the same place. Pixels lie channels
last, so a row of a window is one run of KW·C values:

    y (P, O)  =  cols (P, KH·KW·C) · w (KH·KW·C, O) + b         P = output pixels of a tile

and with G groups each has its product on its own C/G channels and O/G filters.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu import strips
from minicnn.cpu.conv.filters import taps_first, taps_last, transposed
from minicnn.cpu.conv.geometry import backward
from minicnn.cpu.layout import images, pixels, region
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split

TILE = 4 << 20
"""Bytes of columns that a thread makes at a time. Less would fit its cache better, but then the threads meet too often
at Python's lock: 1 MB made the gradients of LeNet-5's layers a third slower."""


def able(g, dtype):
    """Every convolution."""
    return True


def conv2d(x, w, b, g):
    """y = cols · w + b"""
    x, taps = pixels(x), taps_first(w)                                        # (N,H,W,C), (KH,KW,C/G,O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    by_group = [(taps[..., o].reshape(-1, g.O // g.G), c, o) for c, o in groups(g)]

    def work(tile):
        here = inside(y, tile).reshape(-1, g.O)                               # (P, O)
        for matrix, c, o in by_group:
            strips.multiply(columns(x, tile, c, g), matrix, here[:, o])       # (P, KH·KW·C/G) @ (KH·KW·C/G, O/G)
        if b is not None:
            strips.add_row(here, b)

    parallel_for(work, tiles(g, x.itemsize), work_of(g))
    return images(y)


def conv2d_dx(dy, w, g):
    """At stride 1 the convolution of dy with the filters turned by 180°, else dx = col2im(dy · wᵀ)."""
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, back = backward(dy, g)
        return conv2d(dy, transposed(w, g.G), None, back)
    return scattered(dy, w, g)


def conv2d_dw(dy, x, g):
    """dw = Σ colsᵀ · dy; each thread sums over its own images, and the sums are added in their order."""
    x, dy = pixels(x), pixels(dy)
    K = g.KH * g.KW * (g.C // g.G)
    todo = tiles(g, x.itemsize)
    parts = shares(len(todo))
    sums = np.zeros((max(1, len(parts)), K, g.O), x.dtype)

    def work(part):
        total = sums[part]
        for tile in todo[slice(*parts[part])]:
            here = inside(dy, tile).reshape(-1, g.O)                          # (P, O)
            for c, o in groups(g):
                cols = columns(x, tile, c, g)                                 # (P, KH·KW·C/G)
                product = scratch("product", (K, g.O // g.G), x.dtype)
                total[:, o] += np.matmul(cols.T, here[:, o], out=product)

    parallel_for(work, range(len(parts)), work_of(g))
    for other in sums[1:]:
        sums[0] += other
    return taps_last(sums[0].reshape(g.KH, g.KW, g.C // g.G, g.O))


def work_of(g):
    """Values to copy and to compute, a product of 32 terms counted as one value."""
    pixels, terms = g.N * g.OH * g.OW, g.KH * g.KW * g.C
    return pixels * (terms + g.O + terms * g.O // g.G // 32)


def groups(g):
    """(input channels, filters) of each group, as slices."""
    C, O = g.C // g.G, g.O // g.G
    return [(slice(i * C, (i + 1) * C), slice(i * O, (i + 1) * O)) for i in range(g.G)]


def tiles(g, itemsize):
    """The output cut into (images, rows), each a range: some rows of one image, or some whole images."""
    row = g.OW * g.KH * g.KW * (g.C // g.G) * itemsize
    rows = max(1, TILE // row)
    if rows < g.OH:
        return [((n, n + 1), r) for n in range(g.N) for r in split(g.OH, -(-g.OH // rows))]
    whole = max(1, min(rows // g.OH, -(-g.N // num_threads())))
    return [(n, (0, g.OH)) for n in split(g.N, -(-g.N // whole))]


def inside(y, tile):
    """The part of y (N,OH,OW,O) that a tile is: a view."""
    n, rows = tile
    return y[slice(*n), slice(*rows)]


def columns(x, tile, channels, g):
    """The windows of a tile, each a row: (P, KH·KW·C)"""
    n, (first, stop) = tile
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = region(x[..., channels], n, first * v.stride - v.before, rows, -h.before, width, "image")
    windows = over_windows(image, g, stop - first)
    cols = scratch("columns", windows.shape, x.dtype)
    cols[...] = windows                                                       # (n, rows, OW, KH, KW, C)
    return cols.reshape(-1, g.KH * g.KW * image.shape[3])


def over_windows(image, g, rows):
    """image (n,h,w,C) → (n, rows, OW, KH, KW, C): every window's pixels. A view, in which windows overlap."""
    v, h = g.vertical, g.horizontal
    s = image.strides
    shape = (len(image), rows, g.OW, g.KH, g.KW, image.shape[3])
    steps = (s[0], v.stride * s[1], h.stride * s[2], v.dilation * s[1], h.dilation * s[2], s[3])
    return as_strided(image, shape, steps)


def scattered(dy, w, g):
    """dx = col2im(dy · wᵀ): each window's share is added to the pixels that it was made of."""
    dy = pixels(dy)
    v, h = g.vertical, g.horizontal
    taps = taps_first(w)                                                      # (KH, KW, C/G, O)
    dx = np.empty((g.N, g.H, g.W, g.C), dy.dtype)
    by_group = [(np.ascontiguousarray(taps[..., o].reshape(-1, g.O // g.G).T), c, o) for c, o in groups(g)]
    apart = -(-h.extent // h.stride)                               # windows so far apart across do not overlap

    def work(tile):
        n, (top, bottom) = tile                                               # images, rows of dx
        # the outputs whose windows reach these rows
        first = max(0, -(-(top + v.before - v.extent + 1) // v.stride))
        stop = min(g.OH, (bottom - 1 + v.before) // v.stride + 1)
        for matrix, c, o in by_group:
            C = c.stop - c.start
            if stop <= first:
                dx[slice(*n), top:bottom, :, c] = 0
                continue
            height = (stop - first - 1) * v.stride + v.extent
            width = max((g.OW - 1) * h.stride + h.extent, h.before + g.W, apart * h.stride + h.extent)
            sums = scratch("image", (n[1] - n[0], height, width, C), dy.dtype)
            sums[...] = 0
            maps = np.ascontiguousarray(dy[slice(*n), first:stop, :, o])      # (n, rows, OW, O/G)
            cols = scratch("columns", (maps[..., 0].size, len(matrix.T)), dy.dtype)
            strips.multiply(maps.reshape(len(cols), -1), matrix, cols)
            cols = cols.reshape(*maps.shape[:3], g.KH, g.KW, C)
            windows = over_windows(sums, g, stop - first)
            for p in range(g.KH):
                for j in range(min(apart, g.OW)):
                    windows[:, :, j::apart, p] += cols[:, :, j::apart, p]
            # row `top` of dx is row top + before − first·stride of the sums
            offset = top + v.before - first * v.stride
            part = dx[slice(*n), top:bottom, :, c]
            lo, hi = max(0, -offset), min(bottom - top, height - offset)
            part[:, :lo] = part[:, hi:] = 0
            part[:, lo:hi] = sums[:, offset + lo : offset + hi, h.before : h.before + g.W]

    row = g.KH * g.KW * (g.C // g.G) * g.OW * dy.itemsize
    rows = max(v.extent, TILE // row * v.stride)                              # rows of dx at a time
    whole = max(1, min(rows // g.H, -(-g.N // num_threads())))                # or so many whole images
    parallel_for(work, [(n, r) for n in split(g.N, -(-g.N // whole)) for r in split(g.H, max(1, g.H // rows))],
                 work_of(g))  # fmt: skip
    return images(dx)
