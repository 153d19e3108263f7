"""One filter a channel: no sum over channels, so there is no product of matrices to make of it.

    y[.., o]  =  Σ_{p,q} w[p,q,o] · x shifted by (p, q), channel ⌊o/m⌋ + b[o]         m = O / C filters a channel

Pixels lie channels last, so a whole row of the image, W·C values, is multiplied and added in one run; the filters are
repeated W times for it. KH·KW multiply-adds a value, by einsum, which keeps sums and factors in cache.
"""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu import strips
from minicnn.cpu.conv.filters import transposed
from minicnn.cpu.conv.geometry import backward, phases
from minicnn.cpu.conv.tiled import inside
from minicnn.cpu.layout import images, pixels, region, whole
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split

UNIT = 1 << 21
"""Bytes of the output that a thread makes at a time."""
SHORT = 3000
"""Values in a row up to which einsum does better with one tap at a time."""


def able(g, dtype):
    """As many groups as channels."""
    return g.G == g.C > 1


def conv2d(x, w, b, g):
    """y = Σ w · x shifted, a row at a time"""
    x = pixels(x)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    taps = along_rows(w, g)                                                   # (KH, KW, OW·O)

    def work(unit):
        here = inside(y, unit)                                                # (n, rows, OW, O)
        np.einsum("pqnir,pqr->nir", shifted(x, unit, g), taps, out=here.reshape(*here.shape[:2], -1))
        if b is not None:
            strips.add_row(here.reshape(-1, g.O), b)

    parallel_for(work, units(g, x.itemsize), y.size * g.KH * g.KW)
    return images(y)


def conv2d_dx(dy, w, g):
    """The same with the filters turned, once for each phase of the stride; several filters a channel one by one."""
    if g.O > g.C:
        m = g.O // g.C
        single = replace(g, O=g.C)
        return sum(conv2d_dx(dy[:, k::m], np.ascontiguousarray(w[k::m]), single) for k in range(m))
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, back = backward(dy, g)
        return conv2d(dy, transposed(w, g.G), None, back)
    dy = pixels(dy)
    dx = np.zeros((g.N, g.H, g.W, g.C), dy.dtype)
    for phase in phases(g):
        part = conv2d(images(dy[:, *phase.dy]), transposed(w[:, :, *phase.taps], g.G), None,
                      replace(g, vertical=phase.vertical, horizontal=phase.horizontal))  # fmt: skip
        spread(pixels(part), dx[:, *phase.pixels])
    return images(dx)


def spread(part, dx):
    """Every S-th pixel (N,H/S,W/S,C) into its place."""
    part, dx = whole(part), whole(dx)

    def work(share):
        dx[slice(*share)] = part[slice(*share)]

    parallel_for(work, shares(len(dx)), part.nbytes)


def conv2d_dw(dy, x, g):
    """dw = Σ dy · x shifted; each thread sums over its own rows, and the sums are added in their order."""
    x, dy = pixels(x), pixels(dy)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    todo = units(g, x.itemsize)
    parts = shares(len(todo))
    sums = np.zeros((max(1, len(parts)), g.KH, g.KW, g.OW * g.O), x.dtype)

    def work(part):
        for unit in todo[slice(*parts[part])]:
            here = inside(dy, unit)                                           # (n, rows, OW, O)
            add_products(shifted(x, unit, g), here.reshape(*here.shape[:2], -1), sums[part])

    parallel_for(work, range(len(parts)), dy.size * g.KH * g.KW)
    taps = sums.sum(0).reshape(g.KH, g.KW, -1, g.O).sum(2)                    # (KH, KW, O)
    return np.ascontiguousarray(taps.transpose(2, 0, 1)).reshape(g.O, 1, g.KH, g.KW)


def add_products(windows, dy, sums):
    """sums (KH, KW, r) += Σ_{n,i} windows (KH, KW, n, i, r) · dy (n, i, r)"""
    if dy.shape[-1] >= SHORT:
        sums += np.einsum("pqnir,nir->pqr", windows, dy)
        return
    for p, q in np.ndindex(*sums.shape[:2]):                       # einsum is half as fast on all taps of short rows
        sums[p, q] += np.einsum("nir,nir->r", windows[p, q], dy)


def along_rows(w, g):
    """w (O,1,KH,KW) → (KH, KW, OW·O): every tap's filters once for each pixel of a row."""
    return np.tile(w.reshape(g.O, g.KH, g.KW).transpose(1, 2, 0), g.OW)


def units(g, itemsize):
    """The output cut into (images, rows): some rows of one image, or some whole images."""
    size = UNIT if g.horizontal.stride == 1 else UNIT // 8         # then the windows are copied
    parts = -(-g.N * g.OH * g.OW * g.O * itemsize // (size * num_threads())) * num_threads()
    if parts <= g.N:
        return [(n, (0, g.OH)) for n in split(g.N, parts)]
    return [((n, n + 1), rows) for n in range(g.N) for rows in split(g.OH, -(-parts // g.N))]


def shifted(x, unit, g):
    """The pixels that each tap reads, row after row: (KH, KW, n, rows, OW·C). With steps a copy, else a view."""
    n, (first, stop) = unit
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = region(x, n, first * v.stride - v.before, rows, -h.before, width, "image")
    C, (whole, row, *_), pixel = image.shape[3], image.strides, image.shape[3] * image.itemsize
    shape = (g.KH, g.KW, len(image), stop - first, g.OW, C)
    steps = (v.dilation * row, h.dilation * pixel, whole, v.stride * row)
    if h.stride == 1:
        return as_strided(image, (*shape[:4], g.OW * C), (*steps, image.itemsize))
    windows = scratch("windows", shape, x.dtype)
    windows[...] = as_strided(image, shape, (*steps, h.stride * pixel, image.itemsize))
    return windows.reshape(*shape[:4], -1)
