"""One filter for each channel: there is no sum over channels, so no matrix product.

    y[.., o]  =  Σ_{p,q} w[p,q,o] · x shifted by (p, q), channel ⌊o/m⌋ + b[o]         m = O / C filters per channel

Pixels are stored channels last, so a whole row of the image, W·C values, is multiplied and added as one contiguous run;
the filters are repeated W times. einsum computes KH·KW multiply-adds per value, with sums and factors in the cache.
"""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.filters import transposed
from minicnn.cpu.conv.geometry import dx_as_conv2d, phase_convs
from minicnn.cpu.conv.tiled import tile_of
from minicnn.cpu.elements import copy_chunks
from minicnn.cpu.gemm import add_bias
from minicnn.cpu.layout import as_nchw, padded_region, pixel_records, to_nhwc
from minicnn.cpu.threads import num_threads, parallel_for, scratch, shares, split, sum_of_shares

TILE_OUTPUT_BYTES = 1 << 21
"""Bytes of a tile of the output; an eighth of it with a horizontal stride, where windows are copied."""
SHORT_ROW_VALUES = 3000
"""Values in a row below which einsum is faster with one tap at a time."""


def supports(g, dtype):
    """As many groups as channels."""
    return g.G == g.C > 1


def conv2d(x, w, b, g):
    """y = Σ w · x shifted, row by row"""
    x = to_nhwc(x)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    taps = along_rows(w, g)                                                   # (KH, KW, OW·O)

    def work(tile):
        out = tile_of(y, tile)                                                # (n, rows, OW, O)
        np.einsum("pqnir,pqr->nir", shifted(x, tile, g), taps, out=out.reshape(*out.shape[:2], -1))
        if b is not None:
            add_bias(out.reshape(-1, g.O), b)

    parallel_for(work, tiles(g, x.itemsize), y.size * g.KH * g.KW)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    """The same with the filters turned by 180°, once per phase of the stride; filters of one channel one by one."""
    if g.O > g.C:
        m = g.O // g.C
        single = replace(g, O=g.C)
        return sum(conv2d_dx(dy[:, k::m], np.ascontiguousarray(w[k::m]), single) for k in range(m))
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, dx_geometry = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, g.G), None, dx_geometry)
    dy = to_nhwc(dy)
    dx = np.zeros((g.N, g.H, g.W, g.C), dy.dtype)
    for phase in phase_convs(g):
        part = conv2d(as_nchw(dy[:, *phase.dy]), transposed(w[:, :, *phase.taps], g.G), None,
                      replace(g, vertical=phase.vertical, horizontal=phase.horizontal))  # fmt: skip
        copy_chunks(pixel_records(to_nhwc(part)), pixel_records(dx[:, *phase.pixels]), num_threads(), part.nbytes)
    return as_nchw(dx)


def conv2d_dw(dy, x, g):
    """dw = Σ dy · x shifted; each thread sums over its share of the tiles, and the sums are added in their order."""
    x, dy = to_nhwc(x), to_nhwc(dy)
    if g.O > g.C:
        x = np.repeat(x, g.O // g.C, 3)                                       # (N, H, W, O)
    all_tiles = tiles(g, x.itemsize)

    def add(share, total):
        for tile in all_tiles[slice(*share)]:
            dy_tile = tile_of(dy, tile)                                       # (n, rows, OW, O)
            add_products(shifted(x, tile, g), dy_tile.reshape(*dy_tile.shape[:2], -1), total)

    dw = sum_of_shares(shares(len(all_tiles)), add, (g.KH, g.KW, g.OW * g.O), x.dtype, dy.size * g.KH * g.KW)
    taps = dw.reshape(g.KH, g.KW, -1, g.O).sum(2)                    # (KH, KW, O)
    return np.ascontiguousarray(taps.transpose(2, 0, 1)).reshape(g.O, 1, g.KH, g.KW)


def add_products(windows, dy, sums):
    """sums (KH, KW, r) += Σ_{n,i} windows (KH, KW, n, i, r) · dy (n, i, r)"""
    if dy.shape[-1] >= SHORT_ROW_VALUES:
        sums += np.einsum("pqnir,nir->pqr", windows, dy)
        return
    for p, q in np.ndindex(*sums.shape[:2]):                       # einsum is half as fast on all taps of short rows
        sums[p, q] += np.einsum("nir,nir->r", windows[p, q], dy)


def along_rows(w, g):
    """w (O,1,KH,KW) → (KH, KW, OW·O): every tap's filters once for each pixel of a row."""
    return np.tile(w.reshape(g.O, g.KH, g.KW).transpose(1, 2, 0), g.OW)


def tiles(g, itemsize):
    """The output in tiles (images, rows): some rows of one image, or some whole images; as many for each thread."""
    tile_bytes = TILE_OUTPUT_BYTES if g.horizontal.stride == 1 else TILE_OUTPUT_BYTES // 8
    count = -(-g.N * g.OH * g.OW * g.O * itemsize // (tile_bytes * num_threads())) * num_threads()
    if count <= g.N:
        return [(n, (0, g.OH)) for n in split(g.N, count)]
    return [((n, n + 1), rows) for n in range(g.N) for rows in split(g.OH, -(-count // g.N))]


def shifted(x, tile, g):
    """The pixels that each tap reads, row after row: (KH, KW, n, rows, OW·C).

    A copy if there is a horizontal stride, else a view.
    """
    images, (first, stop) = tile
    v, h = g.vertical, g.horizontal
    rows, width = (stop - first - 1) * v.stride + v.extent, (g.OW - 1) * h.stride + h.extent
    image = padded_region(x, images, first * v.stride - v.before, rows, -h.before, width)
    C, (image_step, row_step, *_), pixel_step = image.shape[3], image.strides, image.shape[3] * image.itemsize
    shape = (g.KH, g.KW, len(image), stop - first, g.OW, C)
    steps = (v.dilation * row_step, h.dilation * pixel_step, image_step, v.stride * row_step)
    if h.stride == 1:
        return as_strided(image, (*shape[:4], g.OW * C), (*steps, image.itemsize))
    windows = scratch("windows", shape, x.dtype)
    windows[...] = as_strided(image, shape, (*steps, h.stride * pixel_step, image.itemsize))
    return windows.reshape(*shape[:4], -1)
