"""Pooling: windows of pixels, eight channels in a register at a time.

    forward    an item is some rows of windows of an image; each window reads its pixels
    backward   an item is some rows of dx of an image; each window that reaches them adds to its pixels there

Where C is not a multiple of 8, a register reaches into the next pixel. What forward writes there is overwritten by that
pixel's own values, and backward adds 0; at the end of an item's memory only the first lanes are read or written.

Left to NumPy: float64, max pooling with windows of over 256 taps, the powers and roots of norms.
"""

import functools

import numpy as np

from minicnn.cpu import pool as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, images
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import load, load_first, spread, store, store_first, where_equal, where_wins, zero
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.elements import elementwise
from minicnn.cpu.layout import as_nchw

ITEM_VALUES = 1 << 14
"""Values in an item, about."""
NO_WINNER = np.zeros(1, np.uint8)
ZERO, ONE, LOWEST = np.float32(0), np.float32(1), np.float32(-np.inf)


@inlined
def _taps_between(start, K, D, low, high):
    """The taps p0 ≤ p < p1 of a window that starts at pixel `start` that read a pixel from low ≤ pixel < high."""
    return max(0, -((start - low) // D)), min(K, -((start - high) // D))


@inlined
def _taps_across(OW, KW, S, P, D, W):
    """The taps q0 ≤ q < q1 of each window that are inside the image: (OW, 2)"""
    taps = np.empty((OW, 2), np.int64)
    for j in range(OW):
        taps[j, 0], taps[j, 1] = _taps_between(j * S - P, KW, D, 0, W)
    return taps


@inlined
def _load(x, k, n, end):
    """x[k : k + 8], or only the first n of them at the end of its memory."""
    return load(x, k) if k + 8 <= end else load_first(x, k, n)


@inlined
def _store(y, k, a, n, end):
    """y[k : k + 8] = a, or only the first n of them at the end of an item's memory."""
    if k + 8 <= end:
        store(y, k, a)
    else:
        store_first(y, k, a, n)


@kernel("void(f4[::1], UniTuple(i8, 13), i8, f4[::1], b1, f4[::1], u1[::1], i8[::1])")
def _windows(x, extents, rows, factor, largest, y, winner, work):
    """y: factor (OH·OW,) times the sum of each window. With `largest`, y: its largest pixel, NaN wins; winner: the tap
    p·KW + q of that pixel, on a tie the first. Only taps on pixels are tried: padding never wins, not even over −∞.
    """
    H, W, C, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW = extents
    blocks = (OH + rows - 1) // rows
    across, tap, one = _taps_across(OW, KW, SW, PW, DW, W), np.empty(OW * C + 8, np.float32), spread(ONE)
    item = first(work)
    while item >= 0:
        n, start = item // blocks, item % blocks * rows
        stop = min(start + rows, OH)
        for i in range(start, stop):
            top, to = i * SH - PH, (n * OH + i) * OW * C
            p0, p1 = _taps_between(top, KH, DH, 0, H)
            for j in range(OW):
                q0, q1, here = across[j, 0], across[j, 1], ((n * H + top) * W + j * SW - PW) * C
                for c in range(0, C, 8):
                    a, t = spread(LOWEST if largest else ZERO), spread(np.float32(p0 * KW + q0))      # a pixel's tap
                    for p in range(p0, p1):
                        k = here + (p * DH * W + q0 * DW) * C + c
                        if largest:
                            now = spread(np.float32(p * KW + q0))
                            for _ in range(q0, q1):
                                v = _load(x, k, C - c, x.size)
                                t, a, now = where_wins(v, a, now, t), where_wins(v, a, v, a), now + one
                                k += DW * C
                        else:
                            b = spread(ZERO)
                            for _ in range(q0, q1):
                                b = b + _load(x, k, C - c, x.size)
                                k += DW * C
                            a = a + b
                    if largest:
                        store(tap, j * C + c, t)
                    else:
                        a = a * spread(factor[i * OW + j])
                    _store(y, to + j * C + c, a, C - c, (n * OH + stop) * OW * C)
            if largest:
                won = winner[to : to + OW * C]
                for k in range(won.size):
                    won[k] = np.uint8(np.int32(tap[k]))
        item = following(work)


@kernel("void(f4[::1], u1[::1], b1, f4[::1], UniTuple(i8, 13), i8, f4[::1], i8[::1])")
def _dx(dy, winner, largest, factor, extents, rows, dx, work):
    """dx: the sum of factor·dy over the windows that a pixel is in; with `largest`, of dy, over those that it won."""
    H, W, C, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW = extents
    blocks = (H + rows - 1) // rows
    across, tap = _taps_across(OW, KW, SW, PW, DW, W), np.empty(OW * C + 8, np.float32)
    item = first(work)
    while item >= 0:
        n, low = item // blocks, item % blocks * rows
        high = min(low + rows, H)
        end = (n * H + high) * W * C
        zero(dx, (n * H + low) * W * C, (high - low) * W * C)
        for i in range(max(0, -(((KH - 1) * DH - PH - low) // SH)), min(OH, (high - 1 + PH) // SH + 1)):
            top, of = i * SH - PH, (n * OH + i) * OW * C
            p0, p1 = _taps_between(top, KH, DH, low, high)
            if largest:
                won = winner[of : of + OW * C]
                for k in range(won.size):
                    tap[k] = np.float32(np.int32(won[k]))
            for j in range(OW):
                f, here = spread(factor[i * OW + j]), ((n * H + top) * W + j * SW - PW) * C
                for p in range(p0, p1):
                    for q in range(across[j, 0], across[j, 1]):
                        to, now = here + (p * DH * W + q * DW) * C, spread(np.float32(p * KW + q))
                        for c in range(0, C, 8):
                            d = load_first(dy, of + j * C + c, min(8, C - c))
                            d = where_equal(d, load(tap, j * C + c), now) if largest else d * f
                            _store(dx, to + c, _load(dx, to + c, C - c, end) + d, C - c, end)
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def max_pool2d(x, g):
    if x.dtype != F32 or g.KH * g.KW > 256 or not g.N:
        return plain.max_pool2d(x, g)
    return _of_windows(x, _ones(1), True, g)


def max_pool2d_dx(dy, winner, g):
    if dy.dtype != F32 or winner.dtype != np.uint8 or not g.N:
        return plain.max_pool2d_dx(dy, winner, g)
    return _to_pixels(dy, _flat(winner), True, _ones(g.OH * g.OW), g)


def avg_pool2d(x, g, count_include_pad):
    if x.dtype != F32 or not g.N:
        return plain.avg_pool2d(x, g, count_include_pad)
    return _of_windows(x, _inverse_counts(g.vertical, g.horizontal, bool(count_include_pad)), False, g)[0]


def avg_pool2d_dx(dy, g, count_include_pad):
    if dy.dtype != F32 or not g.N:
        return plain.avg_pool2d_dx(dy, g, count_include_pad)
    return _to_pixels(dy, NO_WINNER, False, _inverse_counts(g.vertical, g.horizontal, bool(count_include_pad)), g)


def lp_pool2d(x, p, g):
    if x.dtype != F32 or not g.N:
        return plain.lp_pool2d(x, p, g)
    powers = elementwise(np.multiply, x, x) if p == 2 else elementwise(lambda x: np.abs(x) ** p, x)
    y = _of_windows(powers, _ones(g.OH * g.OW), False, g)[0]
    return elementwise(np.sqrt, y) if p == 2 else elementwise(lambda y: y ** (1 / p), y)


def lp_pool2d_dx(dy, x, y, p, g):
    if dy.dtype != F32 or p != 2 or not g.N:
        return plain.lp_pool2d_dx(dy, x, y, p, g)
    d = np.divide(dy, y, out=np.zeros_like(y), where=y != 0)                  # dx = x·Σ dy/y
    return elementwise(np.multiply, _to_pixels(d, NO_WINNER, False, _ones(g.OH * g.OW), g), x)


def _of_windows(x, factor, largest, g):
    y = np.empty((g.N, g.OH, g.OW, g.C), F32)
    winner, rows = np.empty(y.shape, np.uint8) if largest else NO_WINNER, _rows(g.OH, g.vertical.stride * g.W * g.C)
    team.run(_windows, g.N * -(-g.OH // rows), g.N * g.C * g.H * g.W, _flat(x), _extents(g), rows, factor, largest,
             y.reshape(-1), winner.reshape(-1))
    return as_nchw(y), as_nchw(winner) if largest else None


def _to_pixels(dy, winner, largest, factor, g):
    dx, rows = np.empty((g.N, g.H, g.W, g.C), F32), _rows(g.H, g.W * g.C)
    team.run(_dx, g.N * -(-g.H // rows), dx.size, _flat(dy), winner, largest, factor, _extents(g), rows, dx.reshape(-1))
    return as_nchw(dx)


def _rows(total, values):
    """Rows in an item, of `total` in an image, each of so many values."""
    return min(total, max(1, ITEM_VALUES // values))


def _extents(g):
    v, h = g.vertical, g.horizontal
    return (v.size, h.size, g.C, v.out, h.out, v.kernel, h.kernel, v.stride, h.stride, v.before, h.before, v.dilation,
            h.dilation)


def _flat(x):
    """x (N,C,H,W) → its values, channels last"""
    return images(x).reshape(-1)


@functools.lru_cache(64)
def _ones(count):
    return np.ones(count, F32)


@functools.lru_cache(64)
def _inverse_counts(vertical, horizontal, include_pad):
    """1 / the number of values in each window's mean → (OH·OW,)"""
    return 1 / np.outer(vertical.counts(include_pad), horizontal.counts(include_pad)).astype(F32).reshape(-1)
