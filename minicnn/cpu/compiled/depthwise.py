"""Depthwise convolution: one filter a channel, eight or 32 channels side by side in registers.

    y[n,i,j,c] = b[c] + Σ_{p,q} w[p,q,c] · x[n, i·S + p·D − P, j·S + q·D − P, c]        taps outside the image left out

It reads as many values as it multiplies, so the work is to read each once: all taps of a window are added up in
registers. The last channels are computed as a whole register that overlaps the one before it, hence C ≥ 8.
"""

import functools

import numpy as np

from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import usable
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import fma, load, maximum, spread, store
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.conv.dx import dx_as_conv2d, transposed
from minicnn.cpu.layout import as_nchw, to_nhwc

ITEM_VALUES = 1 << 14
"""Values of the outputs that a thread computes at a time, whole rows."""
PARTS = 16
"""Partial sums of dw at most: a number that does not depend on the threads, so that the result does not either."""


@inlined
def _clipped(start, taps, dilation, size):
    """The taps first … last − 1 of a window from pixel `start` on that lie inside the image."""
    low = (-start + dilation - 1) // dilation if start < 0 else 0
    high = (size - start + dilation - 1) // dilation if size > start else 0
    return min(low, taps), max(min(high, taps), min(low, taps))


@kernel("void(f4[:,:,:,::1], f4[:,:,::1], f4[::1], f4[:,:,:,::1], UniTuple(i8, 6), i8, b1, i8[::1])")
def forward(x, w, b, y, steps, rows, relu, work):
    """y of w (KH,KW,C), b (C,). steps: strides, dilations and paddings, down and across. An item is some rows."""
    (_, H, W, C), (_, OH, OW, _), (KH, KW, _) = x.shape, y.shape, w.shape
    SH, SW, DH, DW, top, left = steps
    bands, none = (OH + rows - 1) // rows, spread(np.float32(0))
    item = first(work)
    while item >= 0:
        n, start = item // bands, item % bands * rows
        for i in range(start, min(start + rows, OH)):
            h = i * SH - top
            p0, p1 = _clipped(h, KH, DH, H)
            for j in range(OW):
                v = j * SW - left
                q0, q1 = _clipped(v, KW, DW, W)
                here, to = ((n * H + h) * W + v) * C, ((n * OH + i) * OW + j) * C
                for c in range(0, C - 31, 32):
                    a0, a1, a2, a3 = load(b, c), load(b, c + 8), load(b, c + 16), load(b, c + 24)
                    for p in range(p0, p1):
                        for q in range(q0, q1):
                            k, t = here + (p * DH * W + q * DW) * C + c, (p * KW + q) * C + c
                            a0, a1 = fma(load(x, k), load(w, t), a0), fma(load(x, k + 8), load(w, t + 8), a1)
                            a2 = fma(load(x, k + 16), load(w, t + 16), a2)
                            a3 = fma(load(x, k + 24), load(w, t + 24), a3)
                    if relu:
                        a0, a1, a2, a3 = maximum(a0, none), maximum(a1, none), maximum(a2, none), maximum(a3, none)
                    store(y, to + c, a0); store(y, to + c + 8, a1); store(y, to + c + 16, a2); store(y, to + c + 24, a3)
                for eight in range(C // 32 * 32, C, 8):
                    c = min(eight, C - 8)
                    a = load(b, c)
                    for p in range(p0, p1):
                        for q in range(q0, q1):
                            k = here + (p * DH * W + q * DW) * C + c
                            a = fma(load(x, k), load(w, (p * KW + q) * C + c), a)
                    store(y, to + c, maximum(a, none) if relu else a)
        item = following(work)


@kernel("void(f4[:,:,:,::1], f4[:,:,::1], f4[:,:,:,::1], UniTuple(i8, 6), i8, i8[::1])")
def backward_x(dy, w, dx, steps, rows, work):
    """dx at strides above 1 without dilation. An item is some rows.

    Pixel h was read through tap p by window (h + P − p) / S, where that is a whole number: through the taps p, p + S, …
    by the windows i, i − 1, …
    """
    (_, OH, OW, C), (_, H, W, _), (KH, KW, _) = dy.shape, dx.shape, w.shape
    SH, SW, _, _, top, left = steps
    bands = (H + rows - 1) // rows
    item = first(work)
    while item >= 0:
        n, start = item // bands, item % bands * rows
        for h in range(start, min(start + rows, H)):
            i, p = (h + top) // SH, (h + top) % SH
            skip = max(0, i - OH + 1)
            i, p = i - skip, p + skip * SH
            down = max(0, min(i + 1, (KH - p + SH - 1) // SH))
            for v in range(W):
                j, q = (v + left) // SW, (v + left) % SW
                skip = max(0, j - OW + 1)
                j, q = j - skip, q + skip * SW
                across = max(0, min(j + 1, (KW - q + SW - 1) // SW))
                here, tap, to = ((n * OH + i) * OW + j) * C, (p * KW + q) * C, ((n * H + h) * W + v) * C
                for eight in range(0, C, 8):
                    c = min(eight, C - 8)
                    a = spread(np.float32(0))
                    for r in range(down):
                        for s in range(across):
                            k, t = here - (r * OW + s) * C + c, tap + (r * SH * KW + s * SW) * C + c
                            a = fma(load(dy, k), load(w, t), a)
                    store(dx, to + c, a)
        item = following(work)


@inlined
def _row_of_sums(dy, d, x, k, OW, W, C, SW, start, DW, taps, total, to):
    """Add to up to three taps' sums the products of a row of dy with the pixels that the taps read."""
    a0 = a1 = a2 = spread(np.float32(0))
    two, three = taps > 1, taps > 2
    for j in range(OW):
        v, g = start + j * SW, load(dy, d + j * C)
        if v >= 0 and v + 2 * DW < W and three:
            a0, a1 = fma(load(x, k + v * C), g, a0), fma(load(x, k + (v + DW) * C), g, a1)
            a2 = fma(load(x, k + (v + 2 * DW) * C), g, a2)
            continue
        if 0 <= v < W:
            a0 = fma(load(x, k + v * C), g, a0)
        if two and 0 <= v + DW < W:
            a1 = fma(load(x, k + (v + DW) * C), g, a1)
        if three and 0 <= v + 2 * DW < W:
            a2 = fma(load(x, k + (v + 2 * DW) * C), g, a2)
    store(total, to, load(total, to) + a0)
    if two: store(total, to + C, load(total, to + C) + a1)
    if three: store(total, to + 2 * C, load(total, to + 2 * C) + a2)


@kernel("void(f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,:,::1], UniTuple(i8, 6), i8[::1])")
def backward_w(dy, x, sums, steps, work):
    """sums[part] (KH,KW,C) = Σ dy · x over the part's images; the sum over a row of windows stays in registers."""
    (N, OH, OW, C), (_, H, W, _), (parts, KH, KW, _) = dy.shape, x.shape, sums.shape
    SH, SW, DH, DW, top, left = steps
    item = first(work)
    while item >= 0:
        total = sums[item]
        total[:] = 0
        for n in range(N * item // parts, N * (item + 1) // parts):
            for i in range(OH):
                for p in range(KH):
                    h = i * SH - top + p * DH
                    if h < 0 or h >= H:
                        continue
                    for c in range(0, C - 7, 8):
                        for q in range(0, KW, 3):                  # three taps at a time share each dy
                            _row_of_sums(dy, (n * OH + i) * OW * C + c, x, (n * H + h) * W * C + c, OW, W, C, SW,
                                         q * DW - left, DW, KW - q, total, (p * KW + q) * C + c)
                    if C % 8:
                        for c in range(C - C % 8, C):
                            for q in range(KW):
                                value = np.float32(0)
                                for j in range(OW):
                                    v = j * SW - left + q * DW
                                    if 0 <= v < W:
                                        value += x[n, h, v, c] * dy[n, i, j, c]
                                total[p, q, c] += value
        item = following(work)


# ------------------------------------------------------------------------------------------- the primitives' functions


def supports(g, dtype):
    """One filter a channel, at least eight channels; for a gradient at strides above 1, no dilation."""
    v, h = g.vertical, g.horizontal
    return (dtype == np.float32 and g.G == g.C == g.O >= 8 and g.N > 0
            and (v.stride == h.stride == 1 or v.dilation == h.dilation == 1))


def conv2d(x, w, b, g, relu=False):
    y = np.empty((g.N, g.OH, g.OW, g.O), np.float32)
    b = np.zeros(g.O, np.float32) if b is None else usable(b)
    rows = _rows(g.OW * g.C, g.OH)
    team.run(forward, g.N * -(-g.OH // rows), y.size * 2, usable(to_nhwc(x)), _taps(w), b, y, _steps(g), rows, relu)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, back = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, g.G), None, back)
    dx = np.empty((g.N, g.H, g.W, g.C), np.float32)
    rows = _rows(g.W * g.C, g.H)
    team.run(backward_x, g.N * -(-g.H // rows), dx.size * 2, usable(to_nhwc(dy)), _taps(w), dx, _steps(g), rows)
    return as_nchw(dx)


def conv2d_dw(dy, x, g):
    sums = np.empty((min(PARTS, g.N), g.KH, g.KW, g.C), np.float32)
    team.run(backward_w, len(sums), dy.size * 2, usable(to_nhwc(dy)), usable(to_nhwc(x)), sums, _steps(g))
    return np.ascontiguousarray(sums.sum(0).transpose(2, 0, 1)[:, None])


def _taps(w):
    """(C,1,KH,KW) → (KH,KW,C)"""
    return np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))


def _rows(row_values, rows):
    """Rows of a map that a thread computes at a time."""
    return max(1, min(rows, ITEM_VALUES // row_values))


@functools.lru_cache(1024)
def _steps(g):
    v, h = g.vertical, g.horizontal
    return v.stride, h.stride, v.dilation, h.dilation, v.before, h.before
