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
from minicnn.cpu.compiled.direct import plain
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.layout import pad
from minicnn.cpu.compiled.microkernel import windows_times_filters, windows_times_gradients
from minicnn.cpu.compiled.registers import fma, load, maximum, spread, store
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.conv.filters import transposed
from minicnn.cpu.conv.geometry import dx_as_conv2d
from minicnn.cpu.layout import as_nchw, to_nhwc

BLOCK_VALUES = 90_000
"""Values of the transformed tiles of a block, 36 (C + O) a tile: 360 kB."""
MIN_BLOCK_TILES = 24
"""A smaller block would read all filters again for too few tiles."""
GAP = 16
"""Values between the 36 matrices of a block: a distance of a power of two would put all 36 into one set of the cache."""
PARTS = 4
"""Partial sums of dw: a number that does not depend on the threads, so that the result does not either."""

ITEM_FILTERS = 2048
"""Filters C·O whose 36 sums of dw, 300 kB, stay in a core's cache. For more an item computes some of the six rows."""

TAPS = np.array([[0, 2, 4, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 5, 5]])
BT = np.array([[4, -5, 1, 0], [-4, -4, 1, 1], [4, -4, -1, 1], [-2, -1, 2, 1], [2, -1, -2, 1], [4, -5, 1, 0]], np.float32)
"""Row r of Bᵀ d is Σ BT[r, k] · d[TAPS[r, k]]."""
A = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]], np.float32)


# ----------------------------------------------------------------------------------- the three transforms, along an axis


@inlined
def _pixels(d0, d1, d2, d3, d4, d5):
    """Bᵀ d"""
    two, minus_four, minus_five = spread(np.float32(2)), spread(np.float32(-4)), spread(np.float32(-5))
    even, odd = fma(minus_four, d2, d4), fma(minus_four, d1, d3)
    a, b = d4 - d2, d3 - d1
    return (fma(minus_five, d2, fma(spread(np.float32(4)), d0, d4)), even + odd, even - odd,
            fma(two, b, a), a - two * b, fma(minus_five, d3, fma(spread(np.float32(4)), d1, d5)))


@inlined
def _outputs(m0, m1, m2, m3, m4, m5):
    """Aᵀ m"""
    s, d, S, D = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (m0 + s + S, fma(spread(np.float32(2)), D, d), fma(spread(np.float32(4)), S, s),
            fma(spread(np.float32(8)), D, d) + m5)


@inlined
def _filter(w0, w1, w2):
    """G w"""
    sixth, twelfth = spread(np.float32(1 / 6)), spread(np.float32(1 / 12))
    near, far = (w0 + w2) * sixth, fma(w2, sixth, w0 * spread(np.float32(1 / 24)))
    near1, far1 = w1 * sixth, w1 * twelfth
    none = spread(np.float32(0))
    return w0 * spread(np.float32(1 / 4)), none - near - near1, near1 - near, far + far1, far - far1, w2


@inlined
def _filter_gradient(s0, s1, s2, s3, s4, s5):
    """Gᵀ s"""
    sixth, near, far = spread(np.float32(1 / 6)), s1 + s2, s3 + s4
    dw0 = fma(far, spread(np.float32(1 / 24)), s0 * spread(np.float32(1 / 4))) - near * sixth
    dw1 = fma(s3 - s4, spread(np.float32(1 / 12)), (s2 - s1) * sixth)
    return dw0, dw1, fma(far - near, sixth, s5)


# ------------------------------------------------------------------------------------------------- whole tiles and blocks


@inlined
def _transform_pixels(x, at, count, row, C, V):
    """V (36, count, C) = Bᵀ x B of the 6×6 tiles that begin at the places `at` of the flat x."""
    half, step = np.empty(36 * 8, np.float32), count * C + GAP
    for t in range(count):
        for c in range(0, C, 8):
            for j in range(6):
                k = at[t] + j * C + c
                a0, a1, a2, a3, a4, a5 = _pixels(load(x, k), load(x, k + row), load(x, k + 2 * row),
                                                 load(x, k + 3 * row), load(x, k + 4 * row), load(x, k + 5 * row))
                store(half, 8 * j, a0); store(half, 8 * j + 48, a1); store(half, 8 * j + 96, a2)
                store(half, 8 * j + 144, a3); store(half, 8 * j + 192, a4); store(half, 8 * j + 240, a5)
            for i in range(6):
                k, to = 48 * i, 6 * i * step + t * C + c
                a0, a1, a2, a3, a4, a5 = _pixels(load(half, k), load(half, k + 8), load(half, k + 16),
                                                 load(half, k + 24), load(half, k + 32), load(half, k + 40))
                store(V, to, a0); store(V, to + step, a1); store(V, to + 2 * step, a2)
                store(V, to + 3 * step, a3); store(V, to + 4 * step, a4); store(V, to + 5 * step, a5)


@inlined
def _combine(x, k, r, row, b0, b1, b2, b3):
    upper = fma(load(x, k + TAPS[r, 1] * row), b1, load(x, k + TAPS[r, 0] * row) * b0)
    return fma(load(x, k + TAPS[r, 3] * row), b3, fma(load(x, k + TAPS[r, 2] * row), b2, upper))


@inlined
def _pixel_row(r, x, at, count, row, C, V):
    """V (6, count, C) = row r of Bᵀ x B."""
    b0, b1, b2, b3 = spread(BT[r, 0]), spread(BT[r, 1]), spread(BT[r, 2]), spread(BT[r, 3])
    step = count * C + GAP
    for t in range(count):
        for c in range(0, C, 8):
            k, to = at[t] + c, t * C + c
            d0, d1 = _combine(x, k, r, row, b0, b1, b2, b3), _combine(x, k + C, r, row, b0, b1, b2, b3)
            d2, d3 = _combine(x, k + 2 * C, r, row, b0, b1, b2, b3), _combine(x, k + 3 * C, r, row, b0, b1, b2, b3)
            d4, d5 = _combine(x, k + 4 * C, r, row, b0, b1, b2, b3), _combine(x, k + 5 * C, r, row, b0, b1, b2, b3)
            a0, a1, a2, a3, a4, a5 = _pixels(d0, d1, d2, d3, d4, d5)
            store(V, to, a0); store(V, to + step, a1); store(V, to + 2 * step, a2)
            store(V, to + 3 * step, a3); store(V, to + 4 * step, a4); store(V, to + 5 * step, a5)


@inlined
def _mix(dy, k, row, a0, a1, a2, a3):
    upper = fma(load(dy, k + row), a1, load(dy, k) * a0)
    return fma(load(dy, k + 3 * row), a3, fma(load(dy, k + 2 * row), a2, upper))


@inlined
def _gradient_row(r, dy, at, count, row, O, out):
    """out (6, blocks of filters, count, 16) = row r of A dy Aᵀ; lanes behind the last filter are 0."""
    a0, a1, a2, a3 = spread(A[r, 0]), spread(A[r, 1]), spread(A[r, 2]), spread(A[r, 3])
    two, four, none = spread(np.float32(2)), spread(np.float32(4)), spread(np.float32(0))
    step = count * ((O + 15) // 16) * 16 + GAP
    for t in range(count):
        for o in range(0, (O + 15) // 16 * 16, 8):
            to = o // 16 * count * 16 + t * 16 + o % 16
            y0, y1, y2, y3 = none, none, none, none
            if o < O:
                k = at[t] + o
                y0 = _mix(dy, k, row, a0, a1, a2, a3)
                y1 = _mix(dy, k + O, row, a0, a1, a2, a3)
                y2 = _mix(dy, k + 2 * O, row, a0, a1, a2, a3)
                y3 = _mix(dy, k + 3 * O, row, a0, a1, a2, a3)
            even, odd, e, d = y0 + y2, y1 + y3, fma(four, y2, y0), fma(four, y3, y1)
            store(out, to, y0); store(out, to + step, even + odd); store(out, to + 2 * step, even - odd)
            store(out, to + 3 * step, fma(two, d, e)); store(out, to + 4 * step, e - two * d)
            store(out, to + 5 * step, y3)


@inlined
def _compute_outputs(M, count, n, i, j, b, O, y, offset, relu):
    """y[…, offset : offset + O] = Aᵀ M A + b for M (36, count, O); tile t is image n[t], output row i[t], column j[t]."""
    _, OH, OW, pitch = y.shape
    half, none, step = np.empty(24 * 8, np.float32), spread(np.float32(0)), count * O + GAP
    for t in range(count):
        rows, columns = min(4, OH - i[t]), min(4, OW - j[t])
        for o in range(0, O, 8):
            bias = load(b, offset + o)
            for q in range(6):
                k = q * step + t * O + o
                a0, a1, a2, a3 = _outputs(load(M, k), load(M, k + 6 * step), load(M, k + 12 * step),
                                          load(M, k + 18 * step), load(M, k + 24 * step), load(M, k + 30 * step))
                store(half, 8 * q, a0); store(half, 8 * q + 48, a1)
                store(half, 8 * q + 96, a2); store(half, 8 * q + 144, a3)
            for p in range(rows):
                k, to = 48 * p, ((n[t] * OH + i[t] + p) * OW + j[t]) * pitch + offset + o
                a0, a1, a2, a3 = _outputs(load(half, k), load(half, k + 8), load(half, k + 16), load(half, k + 24),
                                          load(half, k + 32), load(half, k + 40))
                a0, a1, a2, a3 = a0 + bias, a1 + bias, a2 + bias, a3 + bias
                if relu:
                    a0, a1, a2, a3 = maximum(a0, none), maximum(a1, none), maximum(a2, none), maximum(a3, none)
                store(y, to, a0)
                if columns > 1: store(y, to + pitch, a1)
                if columns > 2: store(y, to + 2 * pitch, a2)
                if columns > 3: store(y, to + 3 * pitch, a3)


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
    """y = conv(x, w) + b. U (36, blocks of filters, C, 16) the transformed filters, of which b has O.

    An item is a block of tiles and one of the `parts` of the filters. y may have more than O channels: the others stay.
    """
    (N, H, W, C), (_, OH, OW, _), O = x.shape, y.shape, b.size
    columns = (OW + 3) // 4 * 4 + 2
    most, blocks = images * tile_rows * ((OW + 3) // 4), (O + 15) // 16
    region = np.empty(images * (4 * tile_rows + 2) * columns * C, np.float32)
    widest = min(O, (blocks + parts - 1) // parts * 16)
    V, M = np.empty(36 * (most * C + GAP), np.float32), np.empty(36 * (most * widest + GAP), np.float32)
    n, i, j, at = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    at_v, at_m, none = np.empty(most + 7, np.int64), np.empty(most + 7, np.int64), np.zeros(widest + 16, np.float32)
    item, before = first(work), -1
    while item >= 0:
        part, block = item % parts, item // parts
        f0, f1 = blocks * part // parts * 16, min(blocks * (part + 1) // parts * 16, O)
        filters = f1 - f0
        count, n0, i0, here, rows = _tiles(block, images, tile_rows, N, OH, OW, n, i, j)
        if block != before:                                        # else V is still that of this block
            pad(x, n0, here, i0 - top, rows + 2, -left, columns, region)
            for t in range(count):
                at[t] = (((n[t] - n0) * (rows + 2) + i[t] - i0) * columns + j[t]) * C
            _transform_pixels(region, at, count, columns * C, C, V)
            before = block
        for t in range(count):
            at_v[t], at_m[t] = t * C, t * filters
        for k in range(36):
            windows_times_filters(V[k * (count * C + GAP) :], 0, at_v, count, 1, 0, 1, 0, C, U[k], f0 // 16, none, 0,
                                  filters, M[k * (count * filters + GAP) :], at_m, 0, False)
        _compute_outputs(M, count, n, i, j, b, filters, y, f0, relu)
        item = following(work)


@kernel("void(f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,::1], i8, i8, i8, i8, i8, i8[::1])")
def backward_w(dy, x, sums, top, left, images, tile_rows, splits, work):
    """sums[part] (36, blocks·C·16) = Σ (Bᵀ x B) ⊙ (A dy Aᵀ) over the part's blocks of tiles.

    An item is a part, or some of its six rows, so that the item's sums stay in the cache.
    """
    (N, H, W, C), (_, OH, OW, O) = x.shape, dy.shape
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
                _pixel_row(r, region, at, count, (columns + 2) * C, C, V)
                _gradient_row(r, maps, source, count, columns * O, O, D)
                for q in range(6):
                    windows_times_gradients(V[q * (count * C + GAP) :], 0, vectors, count, 1, 0, 1, 0, C,
                                            D[q * (count * ((O + 15) // 16) * 16 + GAP) :], (O + 15) // 16,
                                            total[6 * r + q], 0, panel, places)
        item = following(work)


@kernel("void(f4[:,:,:,:], f4[:,:,:,:,::1], i8[::1])")
def transform_filters(w, U, work):
    """U (36, blocks, 1, C, 16) = G w Gᵀ of w (O,C,3,3), of any layout. An item is a block of 16 filters."""
    O, C, _, _ = w.shape
    taps, half, blocks = np.zeros(9 * 8, np.float32), np.empty(18 * 8, np.float32), U.shape[1]
    item = first(work)
    while item >= 0:
        for c in range(C):
            for lanes in range(0, 16, 8):
                o = item * 16 + lanes
                for lane in range(8):
                    for k in range(9):
                        taps[k * 8 + lane] = w[o + lane, c, k // 3, k % 3] if o + lane < O else 0
                for q in range(3):
                    u0, u1, u2, u3, u4, u5 = _filter(load(taps, 8 * q), load(taps, 8 * q + 24), load(taps, 8 * q + 48))
                    store(half, 8 * q, u0); store(half, 8 * q + 24, u1); store(half, 8 * q + 48, u2)
                    store(half, 8 * q + 72, u3); store(half, 8 * q + 96, u4); store(half, 8 * q + 120, u5)
                step = blocks * C * 16
                for p in range(6):
                    k, to = 24 * p, 6 * p * step + (item * C + c) * 16 + lanes
                    u0, u1, u2, u3, u4, u5 = _filter(load(half, k), load(half, k + 8), load(half, k + 16))
                    store(U, to, u0); store(U, to + step, u1); store(U, to + 2 * step, u2)
                    store(U, to + 3 * step, u3); store(U, to + 4 * step, u4); store(U, to + 5 * step, u5)
        item = following(work)


@kernel("void(f4[:,:,::1], f4[:,:,:,::1], i8[::1])")
def transform_sums(sums, dw, work):
    """dw (O,C,3,3) = Gᵀ S G with S the sum of all parts, in their order. An item is a block of 16 filters."""
    O, C, _, _ = dw.shape
    parts, _, size = sums.shape
    s, half, taps = np.empty(36 * 8, np.float32), np.empty(18 * 8, np.float32), np.empty(9 * 8, np.float32)
    item = first(work)
    while item >= 0:
        for c in range(C):
            for lanes in range(0, min(16, O - item * 16), 8):
                for k in range(36):
                    at = k * size + (item * C + c) * 16 + lanes
                    value = load(sums, at)
                    for part in range(1, parts):
                        value = value + load(sums, part * 36 * size + at)
                    store(s, 8 * k, value)
                for q in range(6):
                    k = 8 * q
                    d0, d1, d2 = _filter_gradient(load(s, k), load(s, k + 48), load(s, k + 96), load(s, k + 144),
                                                  load(s, k + 192), load(s, k + 240))
                    store(half, k, d0); store(half, k + 48, d1); store(half, k + 96, d2)
                for p in range(3):
                    k = 48 * p
                    d0, d1, d2 = _filter_gradient(load(half, k), load(half, k + 8), load(half, k + 16),
                                                  load(half, k + 24), load(half, k + 32), load(half, k + 40))
                    store(taps, 24 * p, d0); store(taps, 24 * p + 8, d1); store(taps, 24 * p + 16, d2)
                for lane in range(8):
                    for k in range(9):
                        dw[item * 16 + lanes + lane, c, k // 3, k % 3] = taps[k * 8 + lane]
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
    b = np.zeros(g.O, np.float32) if b is None else plain(b)
    team.run(forward, items, y.size * g.C / 4, plain(to_nhwc(x)), U, b, y, g.vertical.before, g.horizontal.before,
             images, tile_rows, 1, relu)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    dy, back = dx_as_conv2d(dy, g)
    return conv2d(dy, transposed(w, 1), None, back)


def conv2d_dw(dy, x, g):
    images, tile_rows, items = _blocks(g, 6)
    blocks = -(-g.O // 16)
    splits = next((s for s in (1, 2, 3) if g.C * g.O <= s * ITEM_FILTERS), 6)
    sums = np.empty((min(-(-2 * PARTS // splits), items), 36, blocks * g.C * 16), np.float32)
    dw = np.empty((g.O, g.C, 3, 3), np.float32)
    team.run(backward_w, splits * len(sums), dy.size * g.C / 4, plain(to_nhwc(dy)), plain(to_nhwc(x)), sums,
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
