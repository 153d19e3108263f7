"""One filter a channel: no sum over channels, so there is no product of matrices to make of it.

    y[.., o]  =  Σ_{p,q} w[p,q,o] · x shifted by (p, q), channel ⌊o/m⌋ + b[o]         m = O / C filters a channel

Pixels lie channels last, so a whole row of the image, W·C values, is multiplied and added in one run; the filters are
repeated W times for it. KH·KW multiply-adds a value, by einsum, which keeps sums and factors in cache.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.filters import transposed
from minicnn.cpu.conv.geometry import backward
from minicnn.cpu.layout import images, pixels, region
from minicnn.cpu.threads import parallel_for, shares, split

UNIT = 1 << 19
"""Bytes of the output that a thread makes at a time."""


def able(g, dtype):
    """As many groups as channels."""
    return g.G == g.C > 1


def conv2d(x, w, b, g):
    """y = Σ w · x shifted, a row at a time"""
    x = pixels(x)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    taps = along_rows(w, g)                                                   # (KH, KW, run)

    def work(unit):
        here = y[unit[0], slice(*unit[1])]                                    # (rows, OW, O)
        windows = shifted(x, unit, g)                                         # (KH, KW, rows, OW, run)
        np.einsum("pqijr,pqr->ijr", windows, taps, out=here.reshape(windows.shape[2:]))
        if b is not None:
            here += b

    parallel_for(work, units(g, x.itemsize), y.size)
    return images(y)


def conv2d_dx(dy, w, g):
    """At stride 1 and one filter a channel the same with the filters turned; else each window's share is added back."""
    if g.O == g.C and g.vertical.stride == g.horizontal.stride == 1:
        dy, back = backward(dy, g)
        return conv2d(dy, transposed(w, g.G), None, back)
    dy = pixels(dy)
    taps = w.reshape(g.O, g.KH, g.KW).transpose(1, 2, 0)                      # (KH, KW, O)
    v, h = g.vertical, g.horizontal
    dx = np.empty((g.N, g.H, g.W, g.C), dy.dtype)

    def work(n):
        padded = np.zeros((v.padded, h.padded, g.O), dy.dtype)
        for p, q, (_, rows, columns) in g.taps():
            padded[rows, columns] += dy[n] * taps[p, q]                       # (OH, OW, O)
        inner = padded[v.before : v.before + g.H, h.before : h.before + g.W]
        if g.O == g.C:
            dx[n] = inner
        else:
            np.sum(inner.reshape(g.H, g.W, g.C, -1), 3, out=dx[n])

    parallel_for(work, range(g.N), dx.size)
    return images(dx)


def conv2d_dw(dy, x, g):
    """dw = Σ dy · x shifted; each thread sums over its own rows, and the sums are added in their order."""
    x, dy = pixels(x), pixels(dy)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    todo = units(g, x.itemsize)
    parts = shares(len(todo))
    run = g.O * run_pixels(g)
    sums = np.zeros((max(1, len(parts)), g.KH, g.KW, run), x.dtype)

    def work(part):
        for unit in todo[slice(*parts[part])]:
            windows = shifted(x, unit, g)                                     # (KH, KW, rows, OW, run)
            here = dy[unit[0], slice(*unit[1])].reshape(windows.shape[2:])
            sums[part] += np.einsum("pqijr,ijr->pqr", windows, here)

    parallel_for(work, range(len(parts)), dy.size)
    taps = sums.sum(0).reshape(g.KH, g.KW, -1, g.O).sum(2)                    # (KH, KW, O)
    return np.ascontiguousarray(taps.transpose(2, 0, 1)).reshape(g.O, 1, g.KH, g.KW)


def run_pixels(g):
    """How many pixels are worked on in one run: a whole row where windows touch, else one."""
    return g.OW if g.horizontal.stride == 1 else 1


def along_rows(w, g):
    """w (O,1,KH,KW) → (KH, KW, run): every tap's filters once for each pixel of a run."""
    return np.tile(w.reshape(g.O, g.KH, g.KW).transpose(1, 2, 0), run_pixels(g))


def units(g, itemsize):
    """The output cut into (image, rows)."""
    parts = -(-g.OH * g.OW * g.O * itemsize // UNIT)
    return [(n, rows) for n in range(g.N) for rows in split(g.OH, parts)]


def shifted(x, unit, g):
    """The pixels that each tap reads, as views of one image: (KH, KW, rows, OW / pixels, pixels · C)"""
    n, (first, stop) = unit
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = region(x, (n, n + 1), first * v.stride - v.before, rows, -h.before, width, "image")[0]
    run = run_pixels(g)
    row, pixel = image.strides[0], image.shape[2] * image.itemsize
    shape = (g.KH, g.KW, stop - first, g.OW // run, run * image.shape[2])
    strides = (v.dilation * row, h.dilation * pixel, v.stride * row, h.stride * pixel, image.itemsize)
    return as_strided(image, shape, strides)
