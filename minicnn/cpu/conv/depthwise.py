"""One filter for each channel: there is no sum over channels, so no matrix product.

    y[.., o]  =  Σ_{p,q} w[p,q,o] · x shifted by (p, q), channel ⌊o/m⌋ + b[o]         m = O / C filters per channel

Pixels are stored channels last, so at stride 1 a whole row of the image, W·C values, is multiplied and added as one
contiguous run; the filters are repeated W times for that. einsum adds up the KH·KW products of a value in one pass.
"""

import functools
from dataclasses import replace

import numpy as np

from minicnn.cpu.conv.dx import dx_by
from minicnn.cpu.conv.tiled import output_tiles, tile_of, windows
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.cpu.threads import parallel_for, sum_of_parts

TILE_OUTPUT_BYTES = 1 << 20
"""Bytes of a tile of the output."""


def supports(g, dtype):
    """As many groups as channels."""
    return g.G == g.C > 1


def conv2d(x, w, b, g):
    """y = Σ w · x shifted, row by row"""
    x = _channel_of_each_filter(to_nhwc(x), g)                                # (N, H, W, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    taps = np.tile(w.reshape(g.O, g.KH, g.KW).transpose(1, 2, 0)[:, :, None], (g.OW, 1))      # (KH, KW, OW, O)

    def work(tile):
        out = tile_of(y, tile)                                                # (n, rows, OW, O)
        np.einsum("nijpqo,pqjo->nijo", windows(x, tile, g), taps, out=out)
        if b is not None:
            out += b

    parallel_for(work, _tiles(g, x.itemsize), y.size * g.KH * g.KW)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    """Convolutions of dy with the filters turned by 180°; the filters of one channel one by one."""
    m, single = g.O // g.C, replace(g, O=g.C)
    return functools.reduce(np.add, (dx_by(conv2d, dy[:, k::m], w[k::m], single) for k in range(m)))


def conv2d_dw(dy, x, g):
    """dw = Σ dy · x shifted"""
    x, dy = _channel_of_each_filter(to_nhwc(x), g), to_nhwc(dy)               # (N, H, W, O), (N, OH, OW, O)

    def add(tile, total):
        total += np.einsum("nijpqo,nijo->pqjo", windows(x, tile, g), tile_of(dy, tile))

    dw = sum_of_parts(_tiles(g, x.itemsize), add, (g.KH, g.KW, g.OW, g.O), x.dtype, dy.size * g.KH * g.KW)
    return np.ascontiguousarray(dw.sum(2).transpose(2, 0, 1)).reshape(g.O, 1, g.KH, g.KW)


def _channel_of_each_filter(x, g):
    """x (N,H,W,C) → (N,H,W,O): each channel as often as it has filters."""
    return x if g.O == g.C else np.repeat(x, g.O // g.C, 3)


def _tiles(g, itemsize):
    return output_tiles(g, g.O * itemsize, TILE_OUTPUT_BYTES)
