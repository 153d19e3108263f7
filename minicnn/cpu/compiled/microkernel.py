"""The product inside every convolution: windows × filters, in blocks of 6 windows × 16 filters held in registers.

The windows are read where they lie in the padded images: there are no im2col columns. A window consists of `P` rows
of `Q` runs of `T` values: run q of row p begins `p·row + q·step` values after the window's first value. Without
dilation and groups a row of a window is one run, Q = 1 and T = KW·C.

    y[to[m] + o] = b[o] + Σ_{p,q,t} x[at[m] + p·row + q·step + t] · w[o/16, p, q, t, o%16]

A block has 12 sums in 12 of the 16 registers. Each value of x that is read serves 16 filters, each value of w serves
6 windows, and a sum is written once, when it is complete. 12 multiply-adds wait for 8 loads, which the processor does
in the same time: the loop runs at nearly its peak. With at most 8 filters a block is 8 windows × 8 filters.
"""

import numpy as np

from minicnn.cpu.compiled.kernel import inlined
from minicnn.cpu.compiled.registers import fma, load, maximum, spread, spread_at, store, store_first


@inlined
def windows_times_filters(x, origin, at, count, P, row, Q, step, T, w, panel, b, bias, filters, y, to, offset, relu):
    """`filters` filters, from panel number `panel` and bias b[bias] on, for the windows at[0] … at[count − 1].

    at, to have room for 7 more items, which this function sets. The results go to y[to[m] + offset …].
    """
    for m in range(count, count + 7):                              # a last block of windows: some are computed again
        at[m], to[m] = at[count - 1], to[count - 1]
    size = P * Q * T * 16
    for first in range(0, filters, 16):
        k = (panel + first // 16) * size
        if filters - first > 8:
            for m in range(0, count, 6):
                _block_of_16(x, origin, at, m, P, row, Q, step, T, w, k, b, bias + first, filters - first, y, to,
                             offset + first, relu)
        else:
            for m in range(0, count, 8):
                _block_of_8(x, origin, at, m, P, row, Q, step, T, w, k, b, bias + first, filters - first, y, to,
                            offset + first, relu)


@inlined
def _block_of_16(x, origin, at, m, P, row, Q, step, T, w, k, b, bias, filters, y, to, offset, relu):
    x0, x1, x2, x3, x4, x5 = at[m], at[m + 1], at[m + 2], at[m + 3], at[m + 4], at[m + 5]
    a0 = a1 = a2 = a3 = a4 = a5 = load(b, bias)
    c0 = c1 = c2 = c3 = c4 = c5 = load(b, bias + 8)
    for p in range(P):
        for q in range(Q):
            i = origin + p * row + q * step
            for j in range(i, i + T):
                w0, w1 = load(w, k), load(w, k + 8)
                k += 16
                v = spread_at(x, x0 + j); a0 = fma(v, w0, a0); c0 = fma(v, w1, c0)
                v = spread_at(x, x1 + j); a1 = fma(v, w0, a1); c1 = fma(v, w1, c1)
                v = spread_at(x, x2 + j); a2 = fma(v, w0, a2); c2 = fma(v, w1, c2)
                v = spread_at(x, x3 + j); a3 = fma(v, w0, a3); c3 = fma(v, w1, c3)
                v = spread_at(x, x4 + j); a4 = fma(v, w0, a4); c4 = fma(v, w1, c4)
                v = spread_at(x, x5 + j); a5 = fma(v, w0, a5); c5 = fma(v, w1, c5)
    if relu:
        none = spread(np.float32(0))
        a0, a1, a2 = maximum(a0, none), maximum(a1, none), maximum(a2, none)
        a3, a4, a5 = maximum(a3, none), maximum(a4, none), maximum(a5, none)
        c0, c1, c2 = maximum(c0, none), maximum(c1, none), maximum(c2, none)
        c3, c4, c5 = maximum(c3, none), maximum(c4, none), maximum(c5, none)
    y0, y1, y2 = to[m] + offset, to[m + 1] + offset, to[m + 2] + offset
    y3, y4, y5 = to[m + 3] + offset, to[m + 4] + offset, to[m + 5] + offset
    store(y, y0, a0); store(y, y1, a1); store(y, y2, a2); store(y, y3, a3); store(y, y4, a4); store(y, y5, a5)
    if filters >= 16:
        store(y, y0 + 8, c0); store(y, y1 + 8, c1); store(y, y2 + 8, c2)
        store(y, y3 + 8, c3); store(y, y4 + 8, c4); store(y, y5 + 8, c5)
    else:
        n = filters - 8
        store_first(y, y0 + 8, c0, n); store_first(y, y1 + 8, c1, n); store_first(y, y2 + 8, c2, n)
        store_first(y, y3 + 8, c3, n); store_first(y, y4 + 8, c4, n); store_first(y, y5 + 8, c5, n)


@inlined
def _block_of_8(x, origin, at, m, P, row, Q, step, T, w, k, b, bias, filters, y, to, offset, relu):
    x0, x1, x2, x3 = at[m], at[m + 1], at[m + 2], at[m + 3]
    x4, x5, x6, x7 = at[m + 4], at[m + 5], at[m + 6], at[m + 7]
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = load(b, bias)
    for p in range(P):
        for q in range(Q):
            i = origin + p * row + q * step
            for j in range(i, i + T):
                w0 = load(w, k)
                k += 16
                a0, a1 = fma(spread_at(x, x0 + j), w0, a0), fma(spread_at(x, x1 + j), w0, a1)
                a2, a3 = fma(spread_at(x, x2 + j), w0, a2), fma(spread_at(x, x3 + j), w0, a3)
                a4, a5 = fma(spread_at(x, x4 + j), w0, a4), fma(spread_at(x, x5 + j), w0, a5)
                a6, a7 = fma(spread_at(x, x6 + j), w0, a6), fma(spread_at(x, x7 + j), w0, a7)
    if relu:
        none = spread(np.float32(0))
        a0, a1, a2, a3 = maximum(a0, none), maximum(a1, none), maximum(a2, none), maximum(a3, none)
        a4, a5, a6, a7 = maximum(a4, none), maximum(a5, none), maximum(a6, none), maximum(a7, none)
    n = filters
    store_first(y, to[m] + offset, a0, n); store_first(y, to[m + 1] + offset, a1, n)
    store_first(y, to[m + 2] + offset, a2, n); store_first(y, to[m + 3] + offset, a3, n)
    store_first(y, to[m + 4] + offset, a4, n); store_first(y, to[m + 5] + offset, a5, n)
    store_first(y, to[m + 6] + offset, a6, n); store_first(y, to[m + 7] + offset, a7, n)


@inlined
def _add(dw, k, a, c):
    store(dw, k, load(dw, k) + a)
    store(dw, k + 8, load(dw, k + 8) + c)


@inlined
def _sums(x, at, here, count, dy, d, dw, k, first, last):
    """dw[k + 16·i …] += Σ_m x[at[m] + here + i] · dy[d + 16·m …] for i = first … min(last, 6) − 1."""
    a0 = a1 = a2 = a3 = a4 = a5 = spread(np.float32(0))
    c0 = c1 = c2 = c3 = c4 = c5 = spread(np.float32(0))
    for m in range(count):
        d0, d1, i = load(dy, d), load(dy, d + 8), at[m] + here
        d += 16
        v = spread_at(x, i); a0 = fma(v, d0, a0); c0 = fma(v, d1, c0)
        v = spread_at(x, i + 1); a1 = fma(v, d0, a1); c1 = fma(v, d1, c1)
        v = spread_at(x, i + 2); a2 = fma(v, d0, a2); c2 = fma(v, d1, c2)
        v = spread_at(x, i + 3); a3 = fma(v, d0, a3); c3 = fma(v, d1, c3)
        v = spread_at(x, i + 4); a4 = fma(v, d0, a4); c4 = fma(v, d1, c4)
        v = spread_at(x, i + 5); a5 = fma(v, d0, a5); c5 = fma(v, d1, c5)
    if first <= 0: _add(dw, k, a0, c0)
    if first <= 1 < last: _add(dw, k + 16, a1, c1)
    if first <= 2 < last: _add(dw, k + 32, a2, c2)
    if first <= 3 < last: _add(dw, k + 48, a3, c3)
    if first <= 4 < last: _add(dw, k + 64, a4, c4)
    if first <= 5 < last: _add(dw, k + 80, a5, c5)


@inlined
def windows_times_gradients(x, origin, at, count, P, row, Q, step, T, dy, blocks, dw, first, panel, places):
    """dw[first + ((block·P + p)·Q + q)·T·16 + t·16 + lane] += Σ_m x[origin + at[m] + p·row + q·step + t] · dy[block, m, lane]

    for `blocks` blocks of 16 filters. The sum over m is complete in 12 registers, 6 values of x × 16 filters, before it
    is added to dw. Where T < 6, x can be read 5 values further. panel: room for 6·count + 8 values; places[m] = 6·m.
    """
    for p in range(P):
        for q in range(Q):
            for done in range(0, T, 6):
                t = max(0, min(done, T - 6))                       # the last six; those before `done` are not added
                here = origin + p * row + q * step + t
                k = first + ((p * Q + q) * T + t) * 16
                if blocks == 1:
                    _sums(x, at, here, count, dy, 0, dw, k, done - t, T - t)
                    continue
                for m in range(count):                             # six values of each window, side by side
                    if t + 8 <= T:
                        store(panel, 6 * m, load(x, at[m] + here))
                    else:
                        for i in range(6):
                            panel[6 * m + i] = x[at[m] + here + i]
                for block in range(blocks):
                    _sums(panel, places, 0, count, dy, block * count * 16, dw, k + block * P * Q * T * 16, done - t,
                          T - t)


@inlined
def pack_gradients(dy, source, count, first, filters, out):
    """The gradients of `filters` filters, from number `first` on, at the places source[m] of dy → out, flat:
    (blocks, count, 16), 0 in the lanes behind the last filter."""
    k = 0
    for start in range(first, first + filters, 16):
        lanes = min(16, first + filters - start)
        for m in range(count):
            i = source[m] + start
            if lanes == 16:
                store(out, k, load(dy, i)); store(out, k + 8, load(dy, i + 8))
            else:
                for lane in range(lanes):
                    out[k + lane] = dy[i + lane]
                for lane in range(lanes, 16):
                    out[k + lane] = 0
            k += 16
