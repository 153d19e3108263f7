"""Kernels for nets in use (minicnn/plan): passes that only forward needs, on maps that may be part of wider ones.

Maps are channels last. A pixel's C values are followed by those of the next pixel `pitch` values further: pitch = C, or
the channels of the joined maps that these are a part of. So a branch of a net writes its channels where they are read.

Arrays have at least 8 values behind those that a kernel computes with, so that whole registers can be read there.
"""

import numpy as np

from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import copy, fma, load, maximum, spread, spread_at, store, store_first
from minicnn.cpu.compiled.work import first, following

ITEM_VALUES = 1 << 13
"""Values in an item, about."""
LINEAR_ROWS = 2
"""Rows of x for which `linear` is faster than windows × filters, which computes six at a time."""
ZERO, LOWEST = np.float32(0), np.float32(-np.inf)


@kernel("void(f4[::1], UniTuple(i8, 4), f4[:,:,:,::1], i8[::1])")
def to_channels_last(x, steps, y, work):
    """y (N,H,W,C) = images, whose next image, channel, row and pixel are `steps` values further. An item is a row."""
    _, H, W, C = y.shape
    image, channel, row, pixel = steps
    item = first(work)
    while item >= 0:
        start = item // H * image + item % H * row
        out = y[item // H, item % H].reshape(-1)
        if (C == 1 or channel == 1) and (W == 1 or pixel == C):
            copy(out, 0, x, start, W * C)
        else:
            for c in range(C):
                here = x[start + c * channel :]
                for j in range(W):
                    out[j * C + c] = here[j * pixel]
        item = following(work)


@kernel("void(f4[::1], f4[::1], f4[::1], f4[::1], UniTuple(i8, 5), b1, i8[::1])")
def affine(x, scale, shift, y, sizes, relu, work):
    """y = scale·x + shift, then max(y, 0) with `relu`. sizes: pixels, channels, pitches of x and y, pixels an item."""
    M, C, step, out_step, rows = sizes
    none = spread(ZERO)
    item = first(work)
    while item >= 0:
        for m in range(item * rows, min((item + 1) * rows, M)):
            for c in range(0, C, 8):
                a = fma(load(x, m * step + c), load(scale, c), load(shift, c))
                if relu:
                    a = maximum(a, none)
                if c + 8 <= C:
                    store(y, m * out_step + c, a)
                else:
                    store_first(y, m * out_step + c, a, C - c)
        item = following(work)


@kernel("void(f4[::1], f4[::1], UniTuple(i8, 5), i8[::1])")
def copy_channels(x, y, sizes, work):
    """y = x. sizes: as for `affine`."""
    M, C, step, out_step, rows = sizes
    item = first(work)
    while item >= 0:
        for m in range(item * rows, min((item + 1) * rows, M)):
            copy(y, m * out_step, x, m * step, C)
        item = following(work)


@kernel("void(f4[::1], f4[:,::1], f4[::1], UniTuple(i8, 3), i8[::1])")
def scale_maps(x, s, y, sizes, work):
    """y (N,P,C) = x (N,P,C) · s (N,C). sizes: N·P, P, pixels an item."""
    M, P, rows = sizes
    C = s.shape[1]
    item = first(work)
    while item >= 0:
        for m in range(item * rows, min((item + 1) * rows, M)):
            a, b, out = x[m * C : (m + 1) * C], s[m // P], y[m * C : (m + 1) * C]
            for c in range(C):
                out[c] = a[c] * b[c]
        item = following(work)


@kernel("void(f4[::1], f4[::1], UniTuple(i8, 4), i8, i8[::1])")
def mean(x, y, sizes, channels, work):
    """y (N,C) = the mean over P pixels. sizes: P, C, pitches of x and y. An item is `channels` channels of an image.

    64 pixels are summed up in a register before they are added to the others: a long sum in float32 loses digits.
    """
    P, C, step, out_step = sizes
    blocks, share = (C + channels - 1) // channels, spread(np.float32(1 / P))
    item = first(work)
    while item >= 0:
        n, c0 = item // blocks, item % blocks * channels
        for c in range(c0, min(c0 + channels, C), 8):
            total = spread(ZERO)
            for start in range(0, P, 64):
                part, k = spread(ZERO), (n * P + start) * step + c
                for _ in range(start, min(start + 64, P)):
                    part = part + load(x, k)
                    k += step
                total = total + part
            store_first(y, n * out_step + c, total * share, min(8, C - c))
        item = following(work)


@inlined
def _inside(start, taps, dilation, size):
    """The taps first … last − 1 of a window from pixel `start` on that lie inside the image."""
    low = (-start + dilation - 1) // dilation if start < 0 else 0
    high = (size - start + dilation - 1) // dilation if size > start else 0
    return min(low, taps), max(min(high, taps), min(low, taps))


@kernel("void(f4[::1], f4[::1], b1, f4[::1], UniTuple(i8, 15), i8, i8[::1])")
def pool(x, factor, largest, y, sizes, rows, work):
    """y = factor (OH·OW,) times the sum of each window, or with `largest` its largest pixel, where NaN wins.

    sizes: H, W, C, OH, OW, then KH, KW, strides, paddings and dilations, pitches of x and y. An item is some rows.
    """
    H, W, C, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW, step, out_step = sizes
    bands = (OH + rows - 1) // rows
    item = first(work)
    while item >= 0:
        n, start = item // bands, item % bands * rows
        for i in range(start, min(start + rows, OH)):
            top = i * SH - PH
            p0, p1 = _inside(top, KH, DH, H)
            for j in range(OW):
                left = j * SW - PW
                q0, q1 = _inside(left, KW, DW, W)
                here, to = ((n * H + top + p0 * DH) * W + left + q0 * DW) * step, ((n * OH + i) * OW + j) * out_step
                for c in range(0, C, 8):
                    if largest:
                        a = spread(LOWEST)
                        for p in range(p1 - p0):
                            k = here + p * DH * W * step + c
                            for _ in range(q0, q1):
                                a = maximum(load(x, k), a)
                                k += DW * step
                    else:
                        a = spread(ZERO)
                        for p in range(p1 - p0):
                            k, row = here + p * DH * W * step + c, spread(ZERO)
                            for _ in range(q0, q1):
                                row = row + load(x, k)
                                k += DW * step
                            a = a + row
                        a = a * spread_at(factor, i * OW + j)
                    if c + 8 <= C:
                        store(y, to + c, a)
                    else:
                        store_first(y, to + c, a, C - c)
        item = following(work)


@kernel("void(f4[::1], f4[:,:,::1], f4[::1], f4[::1], UniTuple(i8, 4), b1, i8[::1])")
def linear(x, w, b, y, sizes, relu, work):
    """y (M,O) = x (M,I) · wᵀ + b. w (blocks of 16 filters, I, 16). sizes: M, O, pitch of y, blocks an item.

    Four sums for each output: an addition takes four cycles, and each waits for the one before it.
    """
    M, O, out_step, per_item = sizes
    blocks, I, none = w.shape[0], w.shape[1], spread(ZERO)
    item = first(work)
    while item >= 0:
        for block in range(item * per_item, min((item + 1) * per_item, blocks)):
            o = block * 16
            for m in range(M):
                a0, c0 = load(b, o), load(b, o + 8)
                a1 = a2 = a3 = c1 = c2 = c3 = none
                k, at = block * I * 16, m * I
                for i in range(at, at + I // 4 * 4, 4):
                    v = spread_at(x, i); a0 = fma(v, load(w, k), a0); c0 = fma(v, load(w, k + 8), c0)
                    v = spread_at(x, i + 1); a1 = fma(v, load(w, k + 16), a1); c1 = fma(v, load(w, k + 24), c1)
                    v = spread_at(x, i + 2); a2 = fma(v, load(w, k + 32), a2); c2 = fma(v, load(w, k + 40), c2)
                    v = spread_at(x, i + 3); a3 = fma(v, load(w, k + 48), a3); c3 = fma(v, load(w, k + 56), c3)
                    k += 64
                for i in range(at + I // 4 * 4, at + I):
                    v = spread_at(x, i); a0 = fma(v, load(w, k), a0); c0 = fma(v, load(w, k + 8), c0)
                    k += 16
                a0, c0 = a0 + a1 + (a2 + a3), c0 + c1 + (c2 + c3)
                if relu:
                    a0, c0 = maximum(a0, none), maximum(c0, none)
                to = m * out_step + o
                store_first(y, to, a0, min(8, O - o))
                store_first(y, to + 8, c0, max(0, min(8, O - o - 8)))
        item = following(work)
