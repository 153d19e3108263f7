"""Pooling, some images at a time, one tap of all their windows at a time.

Pixels are stored channels last. Tap (p, q) of all windows is a strided view of the padded images: (n, OH, OW, C).
"""

import numpy as np

from minicnn.cpu.elements import elementwise
from minicnn.cpu.layout import as_nchw, padded_region, pixel_records, to_nhwc
from minicnn.cpu.threads import CHUNK_VALUES, PARTS, parallel_for, split


def max_pool2d(x, g):
    x = to_nhwc(x)
    y = np.empty((g.N, g.OH, g.OW, g.C), x.dtype)
    winner = np.empty(y.shape, np.uint8 if g.KH * g.KW <= 256 else np.int32)
    first_real = _first_taps(g.vertical)[:, None] * g.KW + _first_taps(g.horizontal)          # (OH, OW)

    def work(n):
        padded, best, won = _padded(x, g, n, -np.inf), y[n], winner[n]
        best[...] = -np.inf
        won[...] = first_real[..., None]                           # stays where all pixels are −∞
        nan = padded.size and np.isnan(padded.max())
        for t, here in enumerate(_taps(g)):
            tap = _copy(padded[here])
            wins = tap > best
            if nan:
                wins |= np.isnan(tap)                              # NaN wins over every number, the last of several
            np.maximum(best, tap, out=best)
            np.maximum(won, wins * won.dtype.type(t), out=won)     # a later tap has the larger number

    _for_images(work, g)
    return as_nchw(y), as_nchw(winner)


def max_pool2d_dx(dy, winner, g):
    dy, winner = to_nhwc(dy), to_nhwc(winner)                                 # (N, OH, OW, C)
    return _scatter(lambda n: lambda t, here: dy[n] * (winner[n] == t), g, dy.dtype)


def avg_pool2d(x, g, count_include_pad):
    return as_nchw(_window_sums(to_nhwc(x), g) * _inverse_counts(g, count_include_pad, x.dtype))


def avg_pool2d_dx(dy, g, count_include_pad):
    dy = to_nhwc(dy) * _inverse_counts(g, count_include_pad, dy.dtype)        # (N, OH, OW, C)
    return _scatter(lambda n: lambda t, here: dy[n], g, dy.dtype)


def lp_pool2d(x, p, g):
    powers = elementwise(lambda x: np.abs(x) ** p, x)
    return elementwise(lambda total: total ** (1 / p), as_nchw(_window_sums(to_nhwc(powers), g)))


def lp_pool2d_dx(dy, x, y, p, g):
    exponent, x_abs, dy, y = p - 1, to_nhwc(np.abs(x)), to_nhwc(dy), to_nhwc(y)

    def contributions(n):
        padded, divisor = _padded(x_abs, g, n, 0), np.where(y[n] == 0, 1, y[n])          # where y is 0, all |x| are 0
        return lambda t, here: np.where(y[n] == 0, 0, dy[n] * (padded[here] / divisor) ** exponent)

    return elementwise(np.multiply, elementwise(np.sign, x), _scatter(contributions, g, dy.dtype))


def _window_sums(x, g):
    """The sum of each window: x (N,H,W,C) → (N,OH,OW,C)."""
    y = np.zeros((g.N, g.OH, g.OW, g.C), x.dtype)

    def work(n):
        padded, total = _padded(x, g, n, 0), y[n]
        for here in _taps(g):
            total += padded[here]

    _for_images(work, g)
    return y


def _scatter(contributions, g, dtype):
    """dx (N,C,H,W): the sum of all windows' and taps' contributions to each pixel.

    contributions(n) → f, and f(t, here) → what tap t of each window adds to the pixels padded[here] of images n.
    """
    dx = np.empty((g.N, g.H, g.W, g.C), dtype)
    v, h = g.vertical, g.horizontal

    def work(n):
        contribution = contributions(n)
        padded = np.zeros((n.stop - n.start, v.padded, h.padded, g.C), dtype)
        for t, here in enumerate(_taps(g)):
            padded[here] += contribution(t, here)
        dx[n] = padded[:, v.before : v.before + v.size, h.before : h.before + h.size]

    _for_images(work, g)
    return as_nchw(dx)


def _for_images(work, g):
    """work(n) for slices n of the images, on all threads."""
    values = g.N * g.OH * g.OW * g.KH * g.KW * g.C                            # that all windows read
    count = min(g.N, max(PARTS, -(-g.N * g.H * g.W * g.C // CHUNK_VALUES)))
    parallel_for(work, [slice(*n) for n in split(g.N, count)], values)


def _taps(g):
    """The index of each tap's pixels in padded images (n, H, W, C), in the order of t = p·KW + q."""
    return [(slice(None), *here[1:]) for _, _, here in g.taps()]


def _first_taps(axis):
    """The first tap of each window of an axis that reads a pixel, not padding: (out,)"""
    starts = np.arange(axis.out) * axis.stride - axis.before
    return np.maximum(0, -(starts // axis.dilation))


def _padded(x, g, n, outside):
    """The images n of x (N,H,W,C) with the windows' padding around them: a view, or this thread's scratch."""
    v, h = g.vertical, g.horizontal
    return padded_region(x, (n.start, n.stop), -v.before, v.padded, -h.before, h.padded, outside)


def _copy(a):
    """A contiguous copy of a (n,OH,OW,C), whole pixels at a time."""
    return np.ascontiguousarray(pixel_records(a)).view(a.dtype).reshape(a.shape)


def _inverse_counts(g, include_pad, dtype):
    """1 / the number of values in each window's mean → (OH, OW, C)"""
    down, across = g.vertical.counts(include_pad), g.horizontal.counts(include_pad)
    return np.repeat((1 / np.outer(down, across).astype(dtype))[..., None], g.C, axis=-1)
