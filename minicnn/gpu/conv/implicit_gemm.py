"""Convolution as a matrix product whose columns are never stored (kernels/conv_gemm.cuh, implicit_gemm.cu).

im2col writes KH·KW/S² times the images to memory and reads them back. Here each block of threads reads the pixels that
it multiplies directly from the image, tile by tile. A table, computed once per geometry, lists the pixel that each tap
reads; with another table the same kernel computes dx. dw is a sum over all windows of the batch: different blocks sum
parts of it, and the parts are added in a fixed order, so that every run computes the same bits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np

TILES = {
    np.dtype("float32"): {(128, 128): "FmaTile<float,128,128,8,8,8>", (64, 128): "FmaTile<float,64,128,8,4,8>",
                          (64, 64): "FmaTile<float,64,64,16,4,4>"},
    np.dtype("float64"): {(64, 64): "FmaTile<double,64,64,8,4,4>"},
}  # fmt: skip
"""{dtype: {(rows, columns) of the result that a block computes: the tile's name in kernels/}}"""
FILE = "implicit_gemm.cu"


def supports(gpu, g, dtype):
    """Every convolution whose taps are less than 32,768 pixels from the window's corner: the table's 16 bits."""
    return g.G < 1 << 16 and all(a.extent + max(a.before, a.size) < 1 << 15 for a in (g.vertical, g.horizontal))


def conv2d(gpu, x, w, b, g, relu=False):
    return gathered(gpu, x, w, b, g, FILE, TILES[x.dtype], relu)


def conv2d_dx(gpu, dy, w, g):
    return gathered_dx(gpu, dy, w, g, FILE, TILES[dy.dtype])


def conv2d_dw(gpu, dy, x, g):
    return gathered_dw(gpu, dy, x, g, FILE, TILES[x.dtype])


# ------------------------------------------------------------------------------ the same for any kernel file and tiles


def gathered(gpu, x, w, b, g, file, tiles, relu):
    """y: source x, all taps of the filters; relu: max(y, 0)."""
    xp = gpu.xp
    y = xp.empty((g.N, g.O, g.OH, g.OW), x.dtype)
    bias = None if b is None else xp.ascontiguousarray(b)
    w = filters(w, g).transpose(0, 2, 3, 4, 1)                                # (G, C/G, KH, KW, O/G)
    gather(gpu, file, tiles, xp.ascontiguousarray(x), xp.ascontiguousarray(w), bias, y, y_table(gpu, g), g.G,
           pixels=(g.OH, g.OW), step=(g.vertical.stride, g.horizontal.stride), relu=relu)  # fmt: skip
    return y


def gathered_dx(gpu, dy, w, g, file, tiles):
    """dx: source dy; one launch for each phase of the stride (geometry.Axis.phases), with the taps that read it."""
    xp = gpu.xp
    dx, dy = xp.empty((g.N, g.C, g.H, g.W), dy.dtype), xp.ascontiguousarray(dy)
    w = filters(w, g).transpose(0, 3, 4, 1, 2)                                # (G, KH, KW, O/G, C/G)
    for first, pixels, p, q, table in dx_phases(gpu, g):
        gather(gpu, file, tiles, dy, xp.ascontiguousarray(w[:, p, q]), None, dx, table, g.G,
               pixels=pixels, start=first, every=(g.vertical.stride, g.horizontal.stride))  # fmt: skip
    return dx


def gather(gpu, file, tiles, source, w, bias, result, table, G, pixels, step=(1, 1), start=(0, 0), every=(1, 1),
           relu=False):
    """Launch conv_gather for `pixels` (rows, columns) of the result's maps: start, start + every, …

    source (N,C,H,W)   w (G,K,…,M), one filter per column   result (N,G·M,OH,OW)   step: of the windows in the source
    """
    (N, channels, H, W), (OH, OW), (PH, PW) = source.shape, result.shape[2:], pixels
    K, M, C = len(table), result.shape[1] // G, channels // G
    if N * PH * PW == 0 or M == 0:
        return
    rows, columns = tile = choose_tile(gpu, tiles, M, N * PH * PW, G)
    gpu.kernel(file, "conv_gather", result.dtype, tiles[tile])(
        (-(-N * PH * PW // columns), -(-M // rows), G), (256,),
        x=source, w=w, table=table, bias=bias, y=result, K=K, M=M, pixels=N * PH * PW, PH=PH, PW=PW,
        SV=step[0], SH=step[1], H=H, W=W, x_image=channels * H * W, x_group=C * H * W,
        y_image=G * M * OH * OW, y_group=M * OH * OW, y_plane=OH * OW,
        y_start=start[0] * OW + start[1], y_row=every[0] * OW, y_column=every[1], relu=relu,
    )  # fmt: skip


def gathered_dw(gpu, dy, x, g, file, tiles):
    """dw: the sum over all windows in parts, one for each block along z; then the sum of the parts."""
    xp = gpu.xp
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    shape = (g.O, g.C // g.G, g.KH, g.KW)
    M, K, windows = g.O // g.G, g.C // g.G * g.KH * g.KW, g.N * g.OH * g.OW
    if windows == 0 or M * K == 0:
        return xp.zeros(shape, x.dtype)
    rows, columns = tile = choose_tile(gpu, tiles, M, K, g.G, splittable=True)
    grid = (-(-K // columns), -(-M // rows))
    count = min(-(-2 * gpu.multiprocessors // (math.prod(grid) * g.G)), -(-windows // 256), 65535 // g.G)
    each = -(-windows // count)
    each += -each % 16                                                        # whole steps of every tile
    count = -(-windows // each)
    parts = xp.empty((count, *shape), x.dtype)
    gpu.kernel(file, "conv_dw", x.dtype, tiles[tile])(
        (*grid, g.G * count), (256,),
        dy=dy, x=x, table=y_table(gpu, g), parts=parts, K=K, M=M, windows=windows, each=each, G=g.G, OH=g.OH, OW=g.OW,
        SV=g.vertical.stride, SH=g.horizontal.stride, H=g.H, W=g.W, x_image=g.C * g.H * g.W,
        x_group=g.C // g.G * g.H * g.W, dy_image=g.O * g.OH * g.OW, dy_group=M * g.OH * g.OW,
    )  # fmt: skip
    return sum_of_parts(gpu, parts)


def sum_of_parts(gpu, parts):
    """Σ over the first axis, in order."""
    if len(parts) == 1:
        return parts[0]
    total = gpu.xp.empty(parts.shape[1:], parts.dtype)
    gpu.kernel("implicit_gemm.cu", "sum_parts", parts.dtype).over(total.size, parts, total, len(parts), total.size)
    return total


def choose_tile(gpu, tiles, M, N, G, splittable=False):
    """(rows, columns) of the tile for a result of M × N in G groups. splittable: different blocks may sum parts of it.

    The largest tile that is at least half full, if it gives every multiprocessor two blocks or the sum is splittable.
    """
    for rows, columns in tiles:
        blocks = -(-M // rows) * -(-N // columns) * G
        if rows < 2 * M and columns < 2 * N and (splittable or blocks >= 2 * gpu.multiprocessors):
            return rows, columns
    return min(tiles)


# --------------------------------------------------------------------------------------------------- tables of the taps


def y_table(gpu, g):
    """The table of taps for y and dw: tap (p, q) of channel c."""
    def taps(g):
        c, p, q = np.indices((g.C // g.G, g.KH, g.KW)).reshape(3, -1)
        row = p * g.vertical.dilation - g.vertical.before
        column = q * g.horizontal.dilation - g.horizontal.before
        return _table(gpu, (c * g.H + row) * g.W + column, row, column)

    return _remembered(gpu, "taps of y", g, taps)


def dx_phases(gpu, g):
    """The phases of dx: [(first pixel, pixels, rows of taps, columns of taps, the table of these taps)]"""
    def phases(g):
        found = []
        for phase in product(g.vertical.phases(), g.horizontal.phases()):
            i, j, o = np.indices((*(len(taps) for _, _, taps in phase), g.O // g.G)).reshape(3, -1)
            row, column = ((first + axis.before - np.array(taps, int)[k] * axis.dilation) // axis.stride    # exactly
                           for axis, (first, _, taps), k in zip((g.vertical, g.horizontal), phase, (i, j)))  # fmt: skip
            first, pixels, taps = zip(*phase)                                 # (down, across) each
            table = _table(gpu, (o * g.OH + row) * g.OW + column, row, column)
            found.append((first, pixels, *(slice(t.start, t.stop, t.step) for t in taps), table))
        return found

    return _remembered(gpu, "phases of dx", g, phases)


def _remembered(gpu, what, g, make):
    """make(g), computed once for all numbers of images."""
    if (what, g) not in gpu.cache:
        one = replace(g, N=1)
        if (what, one) not in gpu.cache:
            gpu.cache[what, one] = make(one)
        gpu.cache[what, g] = gpu.cache[what, one]
    return gpu.cache[what, g]


def _table(gpu, offset, row, column):
    """A table on the device, K × (offset, row and column in 16 bits each)."""
    both = np.stack([row, column], 1).astype(np.int16).view(np.int32)         # (K, 1)
    return gpu.xp.asarray(np.concatenate([offset[:, None].astype(np.int32), both], 1))


def filters(w, g):
    """w (O,C/G,KH,KW) → (G, O/G, C/G, KH, KW)"""
    return w.reshape(g.G, g.O // g.G, g.C // g.G, g.KH, g.KW)
