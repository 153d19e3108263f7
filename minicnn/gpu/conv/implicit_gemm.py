"""Convolution as a matrix product whose columns are never stored (kernels/conv_gemm.cuh, implicit_gemm.cu).

im2col writes KH·KW/S² times the images to memory and reads them back. Here each block of threads picks the pixels that
it needs, tile by tile, on the way to its multiplications. Which pixel belongs to which tap is said by a table, made
once for a geometry; with another table the same kernel computes dx. dw sums over all windows of the batch, in parts
that different blocks compute, added in a fixed order: the same bits each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

TILES = {
    "float32": {(128, 128): "FmaTile<float,128,128,8,8,8>", (64, 128): "FmaTile<float,64,128,8,4,8>",
                (64, 64): "FmaTile<float,64,64,16,4,4>"},
    "float64": {(64, 64): "FmaTile<double,64,64,8,4,4>"},
}  # fmt: skip
"""{dtype: {(rows, columns) of the result that a block makes: the tile's name in kernels/}}"""
FILE = "implicit_gemm.cu"


def supports(gpu, g, dtype):
    """Every convolution whose taps lie less than 32,768 pixels from the window's corner: the table holds 16 bits."""
    return g.G < 1 << 16 and all(a.extent + max(a.before, a.size) < 1 << 15 for a in (g.vertical, g.horizontal))


def conv2d(gpu, x, w, b, g):
    return gathered(gpu, x, w, b, g, FILE, TILES[x.dtype.name])


def conv2d_dx(gpu, dy, w, g):
    return gathered_dx(gpu, dy, w, g, FILE, TILES[dy.dtype.name])


def conv2d_dw(gpu, dy, x, g):
    return gathered_dw(gpu, dy, x, g, FILE, TILES[x.dtype.name])


# ------------------------------------------------------------------------------ the same for any kernel file and tiles


def gathered(gpu, x, w, b, g, file, tiles):
    """y: source x, the taps of the filters as they stand."""
    xp = gpu.xp
    y = xp.empty((g.N, g.O, g.OH, g.OW), x.dtype)
    taps, bias = table(gpu, "y", g), None if b is None else xp.ascontiguousarray(b)
    w = filters(gpu, w, g).transpose(0, 2, 3, 4, 1)                           # (G, C/G, KH, KW, O/G)
    launch(gpu, file, tiles, xp.ascontiguousarray(x), xp.ascontiguousarray(w), bias, y, taps, g.G, g.O // g.G,
           (g.N, g.OH, g.OW), (g.vertical.stride, g.horizontal.stride))  # fmt: skip
    return y


def gathered_dx(gpu, dy, w, g, file, tiles):
    """dx: source dy; one launch for each phase of the stride, with the taps that meet it."""
    xp = gpu.xp
    dx, dy = xp.empty((g.N, g.C, g.H, g.W), dy.dtype), xp.ascontiguousarray(dy)
    w = filters(gpu, w, g).transpose(0, 3, 4, 1, 2)                           # (G, KH, KW, O/G, C/G)
    for phase in phases(g):
        here = xp.ascontiguousarray(w[:, evenly(phase.p), evenly(phase.q)])
        launch(gpu, file, tiles, dy, here, None, dx, table(gpu, "dx", g, phase), g.G, g.C // g.G,
               (g.N, phase.rows, phase.columns), (1, 1), (phase.h, phase.w),
               (g.vertical.stride, g.horizontal.stride))  # fmt: skip
    return dx


def launch(gpu, file, tiles, source, w, bias, result, taps, G, M, pixels, step, start=(0, 0), every=(1, 1)):
    """conv_gather: `result` at `pixels` (N, rows, columns), from `start` on and `every` so many.

    source (N,C,H,W)   w (G,K,…,M), a filter a column   result (N,O,H,W)
    """
    (N, PH, PW), K, (H, W), (OH, OW) = pixels, len(taps), source.shape[2:], result.shape[2:]
    if N * PH * PW == 0 or M == 0:
        return
    rows, columns = tile = choose_tile(gpu, tiles, M, N * PH * PW, G)
    channels = source.shape[1] // G
    gpu.kernel(file, "conv_gather", result.dtype, tiles[tile])(
        (-(-N * PH * PW // columns), -(-M // rows), G), (256,),
        source, w, taps, bias, result, K, M, N * PH * PW, PH, PW, *step, H, W, channels * G * H * W, channels * H * W,
        G * M * OH * OW, M * OH * OW, OH * OW, start[0] * OW + start[1], every[0] * OW, every[1],
    )  # fmt: skip


def gathered_dw(gpu, dy, x, g, file, tiles):
    """dw: the sum over all windows, in parts; then the parts."""
    xp = gpu.xp
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    shape = (g.O, g.C // g.G, g.KH, g.KW)
    M, K, windows = g.O // g.G, g.C // g.G * g.KH * g.KW, g.N * g.OH * g.OW
    if windows == 0 or M * K == 0:
        return xp.zeros(shape, x.dtype)
    rows, columns = tile = choose_tile(gpu, tiles, M, K, g.G, many=windows)
    grid = (-(-K // columns), -(-M // rows))
    count = min(-(-2 * gpu.multiprocessors // (math.prod(grid) * g.G)), -(-windows // 256), 65535 // g.G)
    each = -(-windows // count)
    each += -each % 16                                                        # whole steps of every tile
    count = -(-windows // each)
    parts = xp.empty((count, *shape), x.dtype)
    gpu.kernel(file, "conv_dw", x.dtype, tiles[tile])(
        (*grid, g.G * count), (256,), dy, x, table(gpu, "y", g), parts, K, M, windows, each, g.G, g.OH, g.OW,
        g.vertical.stride, g.horizontal.stride, g.H, g.W, g.C * g.H * g.W, g.C // g.G * g.H * g.W, g.O * g.OH * g.OW,
        M * g.OH * g.OW,
    )  # fmt: skip
    return sum_of_parts(gpu, parts)


def sum_of_parts(gpu, parts):
    """Σ over the first axis, in its order."""
    if len(parts) == 1:
        return parts[0]
    total = gpu.xp.empty(parts.shape[1:], parts.dtype)
    gpu.kernel("implicit_gemm.cu", "sum_parts", parts.dtype).over(total.size, parts, total, len(parts), total.size)
    return total


def choose_tile(gpu, tiles, M, N, G, many=0):
    """(rows, columns) of the tile for a result of M × N in G groups, summed over `many` products.

    The largest that is not mostly empty and leaves every multiprocessor two blocks, as a sum that can be split does.
    """
    for rows, columns in tiles:
        blocks = -(-M // rows) * -(-N // columns) * G
        if rows < 2 * M and columns < 2 * N and (many or blocks >= 2 * gpu.multiprocessors):
            return rows, columns
    return min(tiles)


# --------------------------------------------------------------------------------------------------- tables of the taps


@dataclass(frozen=True)
class Phase:
    """The pixels h, h + S, … and w, w + S, … of dx, `rows` × `columns` of them, and the taps p, q that meet them."""

    h: int
    w: int
    rows: int
    columns: int
    p: tuple[int, ...]
    q: tuple[int, ...]


def phases(g) -> list[Phase]:
    """All pixels of dx, by their phase; at stride 1 there is one."""

    def along(axis):
        return [(first, -(-(axis.size - first) // axis.stride),
                 tuple(p for p in range(axis.kernel) if (first + axis.before - p * axis.dilation) % axis.stride == 0))
                for first in range(min(axis.stride, axis.size))]  # fmt: skip

    return [Phase(h, w, rows, columns, p, q)
            for h, rows, p in along(g.vertical) for w, columns, q in along(g.horizontal)]  # fmt: skip


def evenly(taps) -> slice:
    """The slice of these taps, which lie evenly apart."""
    return slice(taps[0], taps[-1] + 1, taps[1] - taps[0] if len(taps) > 1 else 1) if taps else slice(0)


def table(gpu, what, g, phase=None):
    """The table of taps for y (and dw), or for a phase of dx, on the device: K × (offset, row and column)."""
    key = ("taps", what, replace(g, N=1), phase)                   # the same for any number of images
    if key not in gpu.cache:
        v, h = g.vertical, g.horizontal
        if what == "y":
            C, (H, W) = g.C // g.G, (g.H, g.W)
            c, p, q = np.indices((C, g.KH, g.KW)).reshape(3, -1)
            row, column = p * v.dilation - v.before, q * h.dilation - h.before
        else:
            C, (H, W) = g.O // g.G, (g.OH, g.OW)
            i, j, c = np.indices((len(phase.p), len(phase.q), C)).reshape(3, -1)
            p, q = np.array(phase.p, int)[i], np.array(phase.q, int)[j]
            row = (phase.h + v.before - p * v.dilation) // v.stride           # whole: that is what the phase is about
            column = (phase.w + h.before - q * h.dilation) // h.stride
        offset = (c * H + row) * W + column
        both = np.stack([row, column], 1).astype(np.int16).view(np.int32)     # (K, 1)
        gpu.cache[key] = gpu.xp.asarray(np.concatenate([offset[:, None].astype(np.int32), both], 1))
    return gpu.cache[key]


def filters(gpu, w, g):
    """w (O,C/G,KH,KW) → (G, O/G, C/G, KH, KW)"""
    return w.reshape(g.G, g.O // g.G, g.C // g.G, g.KH, g.KW)
