"""The product inside every convolution: windows × filters, in blocks of 6 windows × 16 filters held in registers.

The windows are read where they lie in the padded images: there are no im2col columns. A window consists of `P` rows
of `Q` runs of `T` values: run q of row p begins `p·row + q·step` values after the window's first value. Without
dilation and groups a row of a window is one run, Q = 1 and T = KW·C.

    y[to[m] + o] = b[o] + Σ_{p,q,t} x[at[m] + p·row + q·step + t] · w[o/16, p, q, t, o%16]

A block has 12 sums in 12 of the 16 registers. Each value of x that is read serves 16 filters, each value of w serves
6 windows, and a sum is written once, when it is complete. 12 multiply-adds wait for 8 loads, which the processor does
in the same time: the loop runs at nearly its peak. With at most 8 filters a block is 8 windows × 8 filters.
"""

from minicnn.cpu.compiled.blocks import (
    add_rows,
    load_each,
    outer,
    read_each,
    relu_each,
    repeat,
    spread_at_each,
    store_rows,
    zeros,
)
from minicnn.cpu.compiled.kernel import inlined
from minicnn.cpu.compiled.registers import load, load_first, store


@inlined
def _block_of_16(x, origin, places, P, row, Q, step, T, w, k, sums):
    """sums of 6 windows × 16 filters: 12 registers"""
    for p in range(P):
        for q in range(Q):
            here = origin + p * row + q * step
            for j in range(here, here + T):
                sums = outer(spread_at_each(x, places, j), load_each(w, k, 8, 2), sums)
                k += 16
    return sums


@inlined
def _block_of_8(x, origin, places, P, row, Q, step, T, w, k, sums):
    """sums of 8 windows × 8 filters: 8 registers"""
    for p in range(P):
        for q in range(Q):
            here = origin + p * row + q * step
            for j in range(here, here + T):
                sums = outer(spread_at_each(x, places, j), load_each(w, k, 8, 1), sums)
                k += 16
    return sums


@inlined
def windows_times_filters(x, origin, at, count, P, row, Q, step, T, w, panel, b, bias, filters, y, to, offset, relu):
    """`filters` filters, from panel number `panel` and bias b[bias] on, for the windows at[0] … at[count − 1].

    at, to have room for 7 more items, which this function sets. The results go to y[to[m] + offset …].
    """
    for m in range(count, count + 7):                              # a last block of windows: some are computed again
        at[m], to[m] = at[count - 1], to[count - 1]
    size = P * Q * T * 16
    for first in range(0, filters, 16):
        k, o = (panel + first // 16) * size, bias + first
        if filters - first > 8:
            for m in range(0, count, 6):
                sums = _block_of_16(x, origin, read_each(at, m, 6), P, row, Q, step, T, w, k,
                                    repeat(load_each(b, o, 8, 2), 6))
                if relu:
                    sums = relu_each(sums)
                store_rows(y, read_each(to, m, 6), offset + first, sums, filters - first)
        else:
            for m in range(0, count, 8):
                sums8 = _block_of_8(x, origin, read_each(at, m, 8), P, row, Q, step, T, w, k,
                                    repeat(load_each(b, o, 8, 1), 8))
                if relu:
                    sums8 = relu_each(sums8)
                store_rows(y, read_each(to, m, 8), offset + first, sums8, filters - first)


@inlined
def _block_of_sums(x, places, count, here, dy, d):
    """Σ_m x[places[m] + here + i] · dy[d + 16·m …] for i = 0 … 5: 6 values × 16 filters in 12 registers"""
    sums = zeros(12)
    for m in range(count):
        sums = outer(spread_at_each(x, (0, 1, 2, 3, 4, 5), places[m] + here), load_each(dy, d, 8, 2), sums)
        d += 16
    return sums


@inlined
def windows_times_gradients(x, origin, at, count, P, row, Q, step, T, dy, blocks, dw, first, panel, places):
    """dw[first + (((block·P + p)·Q + q)·T + t)·16 + lane]
           += Σ_m x[origin + at[m] + p·row + q·step + t] · dy[block, m, lane]

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
                    add_rows(dw, k, _block_of_sums(x, at, count, here, dy, 0), done - t, T - t)
                    continue
                for m in range(count):                             # six values of each window, side by side
                    if t + 8 <= T:
                        store(panel, 6 * m, load(x, at[m] + here))
                    else:
                        for i in range(6):
                            panel[6 * m + i] = x[at[m] + here + i]
                for block in range(blocks):
                    sums = _block_of_sums(panel, places, count, 0, dy, block * count * 16)
                    add_rows(dw, k + block * P * Q * T * 16, sums, done - t, T - t)


@inlined
def pack_gradients(dy, source, count, first, filters, out):
    """The gradients of `filters` filters, from number `first` on, at the places source[m] of dy → out, flat:
    (blocks, count, 16), 0 in the lanes behind the last filter.
    """
    k = 0
    for start in range(first, first + filters, 16):
        lanes = min(16, first + filters - start)
        for m in range(count):
            i = source[m] + start
            if lanes == 16:
                store(out, k, load(dy, i))
                store(out, k + 8, load(dy, i + 8))
            else:
                store(out, k, load_first(dy, i, min(lanes, 8)))
                store(out, k + 8, load_first(dy, i + 8, max(lanes - 8, 0)))
            k += 16
