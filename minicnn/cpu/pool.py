"""Pooling, one tap of the window at a time: KH·KW passes over (N,C,OH,OW) views of the padded image."""

import numpy as np

from minicnn.cpu.padding import crop, pad


def max_pool2d(x, g):
    padded = pad(x, g, -np.inf)
    y = np.full((g.N, g.C, g.OH, g.OW), -np.inf, x.dtype)
    winner = np.zeros(y.shape, np.int32)
    for p, q, here in g.taps():
        pixels = padded[here]                                                 # (N, C, OH, OW)
        better = (pixels > y) | np.isnan(pixels)      # not ≥: the first of equals stays; a NaN must not get lost
        np.copyto(y, pixels, where=better)
        winner[better] = p * g.KW + q
    return y, winner


def max_pool2d_dx(dy, winner, g):
    padded = _zeros(dy, g)
    for p, q, here in g.taps():
        padded[here] += dy * (winner == p * g.KW + q)     # +=: windows that overlap may have the same winner
    return crop(padded, g)


def avg_pool2d(x, g, count_include_pad):
    padded = pad(x, g)
    y = np.zeros((g.N, g.C, g.OH, g.OW), x.dtype)
    for _, _, here in g.taps():
        y += padded[here]
    return y / _counts(g, count_include_pad, x.dtype)


def avg_pool2d_dx(dy, g, count_include_pad):
    share = dy / _counts(g, count_include_pad, dy.dtype)                      # (N, C, OH, OW)
    padded = _zeros(dy, g)
    for _, _, here in g.taps():
        padded[here] += share
    return crop(padded, g)


def lp_pool2d(x, p, g):
    powers = pad(np.abs(x) ** p, g)
    y = np.zeros((g.N, g.C, g.OH, g.OW), x.dtype)
    for _, _, here in g.taps():
        y += powers[here]
    return y ** (1 / p)


def lp_pool2d_dx(dy, x, y, p, g):
    padded, magnitude = _zeros(dy, g), pad(np.abs(x), g)
    safe = np.where(y == 0, 1, y)                                             # all |x| are 0 there too: 0 / 1
    for _, _, here in g.taps():
        padded[here] += np.where(y == 0, 0, dy * (magnitude[here] / safe) ** (p - 1))
    return np.sign(x) * crop(padded, g)


def _zeros(dy, g):
    return np.zeros((g.N, g.C, g.vertical.padded, g.horizontal.padded), dy.dtype)


def _counts(g, include_pad, dtype):
    """How many values each window's mean is over → (OH, OW)"""
    down, across = g.vertical.counts(include_pad), g.horizontal.counts(include_pad)
    return np.outer(down, across).astype(dtype)
