"""Pooling: blocks of output rows, each worked through in the cache, one tap of the window at a time.

`Strips` brings what tap q of the windows reads side by side, every S-th pixel of every row, and the rows that tap p
reads one behind the other. A tap of all windows is then one run of values, which NumPy goes through at full speed.
Windows hang over the image's edge without any padded copy of it.
"""

import numpy as np

from minicnn.cpu.elementwise import map
from minicnn.cpu.layout import empty, images, pixels, whole
from minicnn.cpu.threads import num_threads, parallel_for, scratch

BLOCK = 1 << 17
"""Output values of a block: enough for a step to take longer than the threads' change of Python's lock."""


def max_pool2d(x, g):
    x = pixels(x)                                                             # (N, H, W, C)
    y = empty(g.N, g.OH, g.OW, g.C, x.dtype)
    winner = empty(g.N, g.OH, g.OW, g.C, np.uint8 if g.KH * g.KW <= 256 else np.int32)

    def work(block):
        strips = Strips(x, g, *block, fill=-np.inf)
        taps = [strips.tap(p, q) for p in range(g.KH) for q in range(g.KW)]
        best = scratch("best", taps[0].shape, x.dtype)
        best[...] = taps[0]
        for tap in taps[1:]:
            np.maximum(best, tap, out=best)
        # the first tap that equals the best: as many as there are before it, all of them not equal
        won, before, other = (scratch(name, best.shape, kind) for name, kind in (
            ("won", winner.dtype), ("before", np.bool_), ("other", np.bool_)))
        won[...], before[...] = 0, True
        for tap in taps[:-1]:
            np.logical_and(before, np.not_equal(tap, best, out=other), out=before)
            np.add(won, before.view(np.uint8), out=won)
        if best.size and np.isnan(best.max()):                                # NaN equals nothing
            for t, tap in enumerate(taps):
                won[np.isnan(tap)] = t
        strips.put(y, best)
        strips.put(winner, won)

    parallel_for(work, blocks(g), values(g))
    return images(y), images(winner)


def max_pool2d_dx(dy, winner, g):
    dy, winner = pixels(dy), pixels(winner)                                   # (N, OH, OW, C)

    def share(window, tap):
        won = winner[window] == tap                                           # (n, i, j, C)
        return np.multiply(dy[window], won, out=scratch("share", won.shape, dy.dtype))

    return images(back_to_pixels(share, g, dy.dtype))


def avg_pool2d(x, g, count_include_pad):
    y = window_sums(pixels(x), g)                                             # (N, OH, OW, C)
    return images(y * _per_pixel(1 / _counts(g, count_include_pad, y.dtype), g))


def avg_pool2d_dx(dy, g, count_include_pad):
    dy = pixels(dy) * _per_pixel(1 / _counts(g, count_include_pad, dy.dtype), g)      # (N, OH, OW, C)
    return images(back_to_pixels(lambda window, tap: dy[window], g, dy.dtype))


def lp_pool2d(x, p, g):
    powers = map(lambda x: np.abs(x) ** p, x)
    return map(lambda total: total ** (1 / p), images(window_sums(pixels(powers), g)))


def lp_pool2d_dx(dy, x, y, p, g):
    dy, x, y = pixels(dy), pixels(x), pixels(y)
    safe = np.where(y == 0, 1, y)                                             # all |x| are 0 there too: 0 / 1

    def share(window, tap):
        n, i, j = window
        _, rows = meeting(g.vertical, tap // g.KW, i)
        _, across = meeting(g.horizontal, tap % g.KW, j)
        return np.where(y[window] == 0, 0, dy[window] * (np.abs(x[n, rows, across]) / safe[window]) ** (p - 1))

    return images(np.sign(x) * back_to_pixels(share, g, dy.dtype))


# ----------------------------------------------------------------------------------------------- windows and their taps


def blocks(g):
    """The work in parts: (images, output rows), two slices each."""
    rows = min(g.OH, max(1, BLOCK // max(1, g.OW * g.C)))                     # of one image
    together = max(1, min(BLOCK // max(1, rows * g.OW * g.C), -(-g.N // num_threads())))       # images
    return [(slice(n, min(n + together, g.N)), slice(i, min(i + rows, g.OH)))
            for n in range(0, g.N, together) for i in range(0, g.OH, rows)]  # fmt: skip


def meeting(axis, tap, windows=slice(None), places=slice(None)):
    """Where tap number `tap` of the windows falls upon the image: (windows, pixels), two slices of equal length."""
    offset = tap * axis.dilation - axis.before
    first, last, _ = places.indices(axis.size)
    low, high, _ = windows.indices(axis.out)
    low = max(low, -((offset - first) // axis.stride))                        # the first with offset + low·S ≥ first
    high = max(low, min(high, (last - 1 - offset) // axis.stride + 1))
    start = low * axis.stride + offset
    stop = start + (high - low - 1) * axis.stride + 1 if high > low else start
    return slice(low, high), slice(start, stop, axis.stride)


class Strips:
    """What the windows of output rows i of images n read, sorted by tap: runs of n·R·OW·C values.

    Row r of strip (phase, q) is input row (i + r)·S + phase − P, its pixels those of tap q. Tap p reads strip p·D mod S
    from row ⌊p·D/S⌋ on. R rows, a few more than the windows have, so that a run goes on from image to image; what it
    makes of the rows in between belongs to no window.
    """

    def __init__(self, x, g, n, i, fill):
        v = g.vertical
        self.g, self.n, self.i = g, n, i
        self.rows, self.row = i.stop - i.start + (v.extent - 1) // v.stride, g.OW * g.C        # R, OW·C
        self.shape = (min(v.stride, v.extent), n.stop - n.start, self.rows, g.OW, g.C)
        self.strips = [self._strip(x, q, fill) for q in range(g.KW)]

    def _strip(self, x, q, fill):
        v, (j, across) = self.g.vertical, meeting(self.g.horizontal, q)
        strip = scratch(f"strip {q}", self.shape, x.dtype)
        strip[:, :, :, : j.start] = strip[:, :, :, j.stop :] = fill
        for phase, out in enumerate(strip):
            first = self.i.start * v.stride + phase - v.before                # the input row of row 0
            top = min(max(-(first // v.stride), 0), self.rows)
            bottom = min(max((v.size - 1 - first) // v.stride + 1, top), self.rows)
            out[:, :top] = out[:, bottom:] = fill
            if top < bottom:
                start = first + top * v.stride
                down = slice(start, start + (bottom - top - 1) * v.stride + 1, v.stride)
                whole(out)[:, top:bottom, j] = whole(x)[self.n, down, across]
        return strip.reshape(self.shape[0], -1)

    def run(self, strip, p):
        """What tap p reads of a strip."""
        skip, phase = divmod(p * self.g.vertical.dilation, self.g.vertical.stride)
        beyond = (self.g.vertical.extent - 1) // self.g.vertical.stride       # rows after the last image's last window
        return strip[phase, skip * self.row : strip.shape[1] - (beyond - skip) * self.row]

    def tap(self, p, q):
        """What tap (p, q) of every window reads."""
        return self.run(self.strips[q], p)

    def put(self, target, run):
        """A run of results to where they belong in target (N,OH,OW,C)."""
        rows = scratch("rows", (self.shape[1] * self.rows * self.row,), run.dtype)
        rows[: len(run)] = run
        target[self.n, self.i] = rows.reshape(self.shape[1:])[:, : self.i.stop - self.i.start]


def window_sums(x, g):
    """Σ of each window: x (N,H,W,C) → (N,OH,OW,C)"""
    y = empty(g.N, g.OH, g.OW, g.C, x.dtype)

    def work(block):
        strips = Strips(x, g, *block, fill=0)
        across = strips.strips[0]
        for strip in strips.strips[1:]:
            across += strip
        first = strips.run(across, 0)
        total = scratch("total", first.shape, x.dtype)
        total[...] = first
        for p in range(1, g.KH):
            total += strips.run(across, p)
        strips.put(y, total)

    parallel_for(work, blocks(g), values(g))
    return y


def back_to_pixels(share, g, dtype):
    """dx (N,H,W,C): each pixel gets share(windows, tap), (n, i, j, C), of every window and tap that it is read by."""
    dx = empty(g.N, g.H, g.W, g.C, dtype)
    alone = all(axis.stride >= axis.extent for axis in (g.vertical, g.horizontal))             # no two windows meet
    rows = min(g.H, max(1, 2 * BLOCK // max(1, g.W * g.C)))
    together = max(1, min(2 * BLOCK // max(1, rows * g.W * g.C), -(-g.N // num_threads())))

    def work(unit):
        n, here = unit
        dx[n, here] = 0
        for tap in range(g.KH * g.KW):
            i, down = meeting(g.vertical, tap // g.KW, places=here)
            j, across = meeting(g.horizontal, tap % g.KW)
            if alone:
                whole(dx)[n, down, across] = whole(np.ascontiguousarray(share((n, i, j), tap)))
            else:
                dx[n, down, across] += share((n, i, j), tap)

    parallel_for(work, [(slice(n, n + together), slice(r, min(r + rows, g.H)))
                        for n in range(0, g.N, together) for r in range(0, g.H, rows)], values(g))  # fmt: skip
    return dx


def values(g):
    """How many values are read, each as often as windows hold it."""
    return g.N * g.OH * g.OW * g.KH * g.KW * g.C


def _counts(g, include_pad, dtype):
    """How many values each window's mean is over → (OH, OW)"""
    down, across = g.vertical.counts(include_pad), g.horizontal.counts(include_pad)
    return np.outer(down, across).astype(dtype)


def _per_pixel(values, g):
    """(OH, OW) → (OH, OW, C)"""
    return np.repeat(values[..., None], g.C, axis=-1)
