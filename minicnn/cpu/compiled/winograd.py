"""Winograd's convolution F(4×4, 3×3): 36 products where the definition has 144 (Lavin & Gray 2016, §4.3).

    y  = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A                   x a tile of 6×6 pixels, w 3×3, y 4×4 outputs
    dw = Gᵀ [ Σ_tiles (Bᵀ x B) ⊙ (A dy Aᵀ) ] G

⊙ runs over channels and filters too: it is 36 products of matrices, tiles × channels by channels × filters, which
microkernel.py computes. cpu/conv/winograd.py explains the algorithm. A block of tiles, so few that it stays in the
cache, goes through all three steps. The transforms work on 8 channels in a register.
"""

import functools

import numpy as np

from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import usable
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.layout import pad
from minicnn.cpu.compiled.microkernel import windows_times_filters, windows_times_gradients
from minicnn.cpu.compiled.winograd_transforms import (
    GAP,
    compute_outputs,
    gradient_row,
    pixel_row,
    transform_filters,
    transform_pixels,
    transform_sums,
)
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.conv.dx import dx_as_conv2d, transposed
from minicnn.cpu.layout import as_nchw, to_nhwc

BLOCK_VALUES = 90_000
"""Values of the transformed tiles of a block, 36 (C + O) a tile: 360 kB."""
MIN_BLOCK_TILES = 24
"""A smaller block would read all filters again for too few tiles."""
PARTS = 4
"""Partial sums of dw: a number that does not depend on the threads, so that the result does not either."""

ITEM_FILTERS = 2048
"""Filters C·O whose 36 sums of dw, 300 kB, stay in a core's cache. For more an item computes some of the six rows."""


@inlined
def _tiles(block, images, tile_rows, N, OH, OW, n, i, j):
    """Set the image, the first row and the first column of each tile of a block. → (tiles, image, row, images, rows)"""
    TH, TW = (OH + 3) // 4, (OW + 3) // 4
    bands = (TH + tile_rows - 1) // tile_rows
    n0, r0 = block // bands * images, block % bands * tile_rows
    n1, r1 = min(n0 + images, N), min(r0 + tile_rows, TH)
    count = 0
    for image in range(n0, n1):
        for r in range(r0, r1):
            for q in range(TW):
                n[count], i[count], j[count] = image, 4 * r, 4 * q
                count += 1
    return count, n0, 4 * r0, n1 - n0, 4 * (r1 - r0)


@kernel("void(f4[:,:,:,::1], f4[:,:,:,:,::1], f4[::1], f4[:,:,:,::1], i8, i8, i8, i8, i8, b1, i8[::1])")
def forward(x, U, b, y, top, left, images, tile_rows, parts, relu, work):
    """y = conv(x, w) + b. U (36, blocks of filters, C, 16) the transformed filters, as many as b (O,).

    An item is a block of tiles and one of the `parts` of the filters. y may have more than O channels: the others stay.
    """
    (N, _, _, C), (_, OH, OW, _), O = x.shape, y.shape, b.size
    columns = (OW + 3) // 4 * 4 + 2
    most, blocks = images * tile_rows * ((OW + 3) // 4), (O + 15) // 16
    widest = min(O, (blocks + parts - 1) // parts * 16)
    region = np.empty(images * (4 * tile_rows + 2) * columns * C, np.float32)
    V, M = np.empty(36 * (most * C + GAP), np.float32), np.empty(36 * (most * widest + GAP), np.float32)
    n, i, j, at = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    at_v, at_m, none = np.empty(most + 7, np.int64), np.empty(most + 7, np.int64), np.zeros(widest + 16, np.float32)
    item, before = first(work), -1
    while item >= 0:
        part, block = item % parts, item // parts
        f0, f1 = blocks * part // parts * 16, min(blocks * (part + 1) // parts * 16, O)
        count, n0, i0, here, rows = _tiles(block, images, tile_rows, N, OH, OW, n, i, j)
        if block != before:                                        # else V is still this block's
            pad(x, n0, here, i0 - top, rows + 2, -left, columns, region)
            for t in range(count):
                at[t] = (((n[t] - n0) * (rows + 2) + i[t] - i0) * columns + j[t]) * C
            transform_pixels(region, at, count, columns * C, C, V)
            before = block
        for t in range(count):
            at_v[t], at_m[t] = t * C, t * (f1 - f0)
        for k in range(36):
            windows_times_filters(V[k * (count * C + GAP) :], 0, at_v, count, 1, 0, 1, 0, C, U[k], f0 // 16, none, 0,
                                  f1 - f0, M[k * (count * (f1 - f0) + GAP) :], at_m, 0, False)
        compute_outputs(M, count, n, i, j, b, f0, f1 - f0, y, relu)
        item = following(work)


@kernel("void(f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,::1], i8, i8, i8, i8, i8, i8[::1])")
def backward_w(dy, x, sums, top, left, images, tile_rows, splits, work):
    """sums[part] (36, blocks·C·16) = Σ (Bᵀ x B) ⊙ (A dy Aᵀ) over the part's blocks of tiles.

    An item is a part, or some of its six rows, so that the item's sums stay in the cache.
    """
    (N, _, _, C), (_, OH, OW, O) = x.shape, dy.shape
    columns = (OW + 3) // 4 * 4
    most = images * tile_rows * ((OW + 3) // 4)
    region = np.empty(images * (4 * tile_rows + 2) * (columns + 2) * C, np.float32)
    maps = np.empty(images * 4 * tile_rows * columns * O, np.float32)
    V = np.empty(6 * (most * C + GAP), np.float32)
    D = np.empty(6 * (most * ((O + 15) // 16) * 16 + GAP), np.float32)
    n, i, j = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    at, source, vectors = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    panel, places = np.empty(6 * most + 8, np.float32), 6 * np.arange(most)
    TH = (OH + 3) // 4
    blocks, parts = (TH + tile_rows - 1) // tile_rows * ((N + images - 1) // images), len(sums)
    item = first(work)
    while item >= 0:
        part, r0, r1 = item // splits, item % splits * 6 // splits, (item % splits + 1) * 6 // splits
        total = sums[part]
        total[6 * r0 : 6 * r1] = 0
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            count, n0, i0, here, rows = _tiles(block, images, tile_rows, N, OH, OW, n, i, j)
            pad(x, n0, here, i0 - top, rows + 2, -left, columns + 2, region)
            pad(dy, n0, here, i0, rows, 0, columns, maps)
            for t in range(count):
                at[t] = (((n[t] - n0) * (rows + 2) + i[t] - i0) * (columns + 2) + j[t]) * C
                source[t] = (((n[t] - n0) * rows + i[t] - i0) * columns + j[t]) * O
                vectors[t] = t * C
            for r in range(r0, r1):
                pixel_row(r, region, at, count, (columns + 2) * C, C, V)
                gradient_row(r, maps, source, count, columns * O, O, D)
                for q in range(6):
                    windows_times_gradients(V[q * (count * C + GAP) :], 0, vectors, count, 1, 0, 1, 0, C,
                                            D[q * (count * ((O + 15) // 16) * 16 + GAP) :], (O + 15) // 16,
                                            total[6 * r + q], 0, panel, places)
        item = following(work)


# ------------------------------------------------------------------------------------------- the primitives' functions


def supports(g, dtype):
    """3×3 at stride 1, one group, whole registers of channels and filters."""
    return (dtype == np.float32 and g.G == 1 and g.KH == g.KW == 3 and g.C % 8 == 0 and g.O % 8 == 0
            and all(a.stride == a.dilation == 1 for a in (g.vertical, g.horizontal)) and g.N > 0)


def conv2d(x, w, b, g, relu=False):
    blocks = -(-g.O // 16)
    U, y = np.empty((36, blocks, 1, g.C, 16), np.float32), np.empty((g.N, g.OH, g.OW, g.O), np.float32)
    team.run(transform_filters, blocks, U.size, w if w.flags.writeable else w.copy(), U)
    images, tile_rows, items = _blocks(g, 36)
    b = np.zeros(g.O, np.float32) if b is None else usable(b)
    team.run(forward, items, y.size * g.C / 4, usable(to_nhwc(x)), U, b, y, g.vertical.before, g.horizontal.before,
             images, tile_rows, 1, relu)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    dy, back = dx_as_conv2d(dy, g)
    return conv2d(dy, transposed(w, 1), None, back)


def conv2d_dw(dy, x, g):
    images, tile_rows, items = _blocks(g, 6)
    blocks = -(-g.O // 16)
    splits = next((s for s in (1, 2, 3) if s * ITEM_FILTERS >= g.C * g.O), 6)
    sums = np.empty((min(-(-2 * PARTS // splits), items), 36, blocks * g.C * 16), np.float32)
    dw = np.empty((g.O, g.C, 3, 3), np.float32)
    team.run(backward_w, splits * len(sums), dy.size * g.C / 4, usable(to_nhwc(dy)), usable(to_nhwc(x)), sums,
             g.vertical.before, g.horizontal.before, images, tile_rows, splits)
    team.run(transform_sums, blocks, sums.size, sums, dw)
    return dw


@functools.lru_cache(1024)
def _blocks(g, positions):
    """(images, rows of tiles) of a block that has this many positions of a tile at a time, and the number of blocks."""
    TH, TW = -(-g.OH // 4), -(-g.OW // 4)
    tiles = max(MIN_BLOCK_TILES, BLOCK_VALUES // (positions * (g.C + g.O)))
    tile_rows = min(TH, max(1, tiles // TW))
    images = max(1, min(g.N, tiles // (TH * TW))) if tile_rows == TH else 1
    return images, tile_rows, -(-TH // tile_rows) * -(-g.N // images)
