"""The transforms of Winograd's F(4×4, 3×3), eight channels in a register. winograd.py puts them together.

    Bᵀ x B of a tile of 6×6 pixels      Aᵀ M A, 4×4 outputs      A dy Aᵀ of 4×4 gradients      G w Gᵀ      Gᵀ S G
"""

import numpy as np

from minicnn.cpu.compiled.blocks import load_each, store_each
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import fma, load, maximum, spread, store
from minicnn.cpu.compiled.work import first, following

GAP = 16
"""Values between the 36 matrices of a block: a distance of a power of two would put all in one set of the cache."""
TAPS = np.array([[0, 2, 4, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 5, 5]])
BT = np.array([[4, -5, 1, 0], [-4, -4, 1, 1], [4, -4, -1, 1], [-2, -1, 2, 1], [2, -1, -2, 1], [4, -5, 1, 0]],
              np.float32)
"""Row r of Bᵀ d is Σ BT[r, k] · d[TAPS[r, k]]."""
A = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]], np.float32)


# ---------------------------------------------------------------------------------- the three transforms, along an axis


@inlined
def _pixels(d):
    """Bᵀ d"""
    d0, d1, d2, d3, d4, d5 = d
    two, minus_four, minus_five = spread(np.float32(2)), spread(np.float32(-4)), spread(np.float32(-5))
    even, odd = fma(minus_four, d2, d4), fma(minus_four, d1, d3)
    a, b = d4 - d2, d3 - d1
    return (fma(minus_five, d2, fma(spread(np.float32(4)), d0, d4)), even + odd, even - odd,
            fma(two, b, a), a - two * b, fma(minus_five, d3, fma(spread(np.float32(4)), d1, d5)))


@inlined
def _outputs(m):
    """Aᵀ m"""
    m0, m1, m2, m3, m4, m5 = m
    s, d, S, D = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (m0 + s + S, fma(spread(np.float32(2)), D, d), fma(spread(np.float32(4)), S, s),
            fma(spread(np.float32(8)), D, d) + m5)


@inlined
def _filter(w):
    """G w"""
    w0, w1, w2 = w
    sixth, twelfth = spread(np.float32(1 / 6)), spread(np.float32(1 / 12))
    near, far = (w0 + w2) * sixth, fma(w2, sixth, w0 * spread(np.float32(1 / 24)))
    near1, far1 = w1 * sixth, w1 * twelfth
    none = spread(np.float32(0))
    return w0 * spread(np.float32(1 / 4)), none - near - near1, near1 - near, far + far1, far - far1, w2


@inlined
def _filter_gradient(s):
    """Gᵀ s"""
    s0, s1, s2, s3, s4, s5 = s
    sixth, near, far = spread(np.float32(1 / 6)), s1 + s2, s3 + s4
    dw0 = fma(far, spread(np.float32(1 / 24)), s0 * spread(np.float32(1 / 4))) - near * sixth
    dw1 = fma(s3 - s4, spread(np.float32(1 / 12)), (s2 - s1) * sixth)
    return dw0, dw1, fma(far - near, sixth, s5)


# ----------------------------------------------------------------------------------------------- whole tiles and blocks


@inlined
def transform_pixels(x, at, count, row, C, V):
    """V (36, count, C) = Bᵀ x B of the 6×6 tiles that begin at the places `at` of the flat x."""
    half, step = np.empty(36 * 8, np.float32), count * C + GAP
    for t in range(count):
        for c in range(0, C, 8):
            for j in range(6):
                store_each(half, 8 * j, 48, _pixels(load_each(x, at[t] + j * C + c, row, 6)))
            for i in range(6):
                store_each(V, 6 * i * step + t * C + c, step, _pixels(load_each(half, 48 * i, 8, 6)))


@inlined
def _combine(x, k, r, row, b0, b1, b2, b3):
    upper = fma(load(x, k + TAPS[r, 1] * row), b1, load(x, k + TAPS[r, 0] * row) * b0)
    return fma(load(x, k + TAPS[r, 3] * row), b3, fma(load(x, k + TAPS[r, 2] * row), b2, upper))


@inlined
def pixel_row(r, x, at, count, row, C, V):
    """V (6, count, C) = row r of Bᵀ x B."""
    b0, b1, b2, b3 = spread(BT[r, 0]), spread(BT[r, 1]), spread(BT[r, 2]), spread(BT[r, 3])
    step = count * C + GAP
    for t in range(count):
        for c in range(0, C, 8):
            k, to = at[t] + c, t * C + c
            d0, d1 = _combine(x, k, r, row, b0, b1, b2, b3), _combine(x, k + C, r, row, b0, b1, b2, b3)
            d2, d3 = _combine(x, k + 2 * C, r, row, b0, b1, b2, b3), _combine(x, k + 3 * C, r, row, b0, b1, b2, b3)
            d4, d5 = _combine(x, k + 4 * C, r, row, b0, b1, b2, b3), _combine(x, k + 5 * C, r, row, b0, b1, b2, b3)
            store_each(V, to, step, _pixels((d0, d1, d2, d3, d4, d5)))


@inlined
def _mix(dy, k, row, a0, a1, a2, a3):
    upper = fma(load(dy, k + row), a1, load(dy, k) * a0)
    return fma(load(dy, k + 3 * row), a3, fma(load(dy, k + 2 * row), a2, upper))


@inlined
def gradient_row(r, dy, at, count, row, O, out):
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
            store_each(out, to, step, (y0, even + odd, even - odd, fma(two, d, e), e - two * d, y3))


@inlined
def compute_outputs(M, count, n, i, j, b, f0, O, y, relu):
    """y[…, f0 : f0 + O] = Aᵀ M A + b for M (36, count, O); tile t is image n[t], output row i[t], column j[t]."""
    _, OH, OW, pitch = y.shape
    half, none, step = np.empty(24 * 8, np.float32), spread(np.float32(0)), count * O + GAP
    for t in range(count):
        rows, columns = min(4, OH - i[t]), min(4, OW - j[t])
        for o in range(0, O, 8):
            bias = load(b, f0 + o)
            for q in range(6):
                store_each(half, 8 * q, 48, _outputs(load_each(M, q * step + t * O + o, 6 * step, 6)))
            for p in range(rows):
                to = ((n[t] * OH + i[t] + p) * OW + j[t]) * pitch + f0 + o
                a0, a1, a2, a3 = _outputs(load_each(half, 48 * p, 8, 6))
                a0, a1, a2, a3 = a0 + bias, a1 + bias, a2 + bias, a3 + bias
                if relu:
                    a0, a1, a2, a3 = maximum(a0, none), maximum(a1, none), maximum(a2, none), maximum(a3, none)
                store(y, to, a0)
                if columns > 1: store(y, to + pitch, a1)
                if columns > 2: store(y, to + 2 * pitch, a2)
                if columns > 3: store(y, to + 3 * pitch, a3)


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
                    store_each(half, 8 * q, 24, _filter(load_each(taps, 8 * q, 24, 3)))
                step = blocks * C * 16
                for p in range(6):
                    to = 6 * p * step + (item * C + c) * 16 + lanes
                    store_each(U, to, step, _filter(load_each(half, 24 * p, 8, 3)))
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
                    store_each(half, 8 * q, 48, _filter_gradient(load_each(s, 8 * q, 48, 6)))
                for p in range(3):
                    store_each(taps, 24 * p, 8, _filter_gradient(load_each(half, 48 * p, 8, 6)))
                for lane in range(8):
                    for k in range(9):
                        dw[item * 16 + lanes + lane, c, k // 3, k % 3] = taps[k * 8 + lane]
        item = following(work)
