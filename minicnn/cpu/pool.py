"""Pooling: blocks of windows, each worked through in the cache, one tap of all its windows at a time (windows.py)."""

import numpy as np

from minicnn.cpu.elements import elementwise
from minicnn.cpu.layout import empty, images, pixels
from minicnn.cpu.threads import parallel_for, scratch
from minicnn.cpu.windows import all_read, blocks, blocks_of_pixels


def max_pool2d(x, g):
    x = pixels(x)                                                             # (N, H, W, C)
    y = empty(g.N, g.OH, g.OW, g.C, x.dtype)
    winner = empty(g.N, g.OH, g.OW, g.C, np.uint8 if g.KH * g.KW <= 256 else np.int32)

    def work(block):
        strips = block.strips(x, fill=-np.inf)
        taps = [block.tap(strips, p, q) for p in range(g.KH) for q in range(g.KW)]
        best = block.results("best", x.dtype)
        best[...] = taps[0]
        for tap in taps[1:]:
            np.maximum(best, tap, out=best)
        # the first tap that equals the best: as many as there are before it, all of them not equal
        won = block.results("won", winner.dtype)
        before, other = (scratch(name, best.shape, np.bool_) for name in ("before", "other"))
        won[...], before[...] = 0, True
        for tap in taps[:-1]:
            np.logical_and(before, np.not_equal(tap, best, out=other), out=before)
            np.add(won, before.view(np.uint8), out=won)
        if best.size and np.isnan(best.max()):                                # NaN equals nothing
            for t, tap in enumerate(taps):
                won[np.isnan(tap)] = t
        block.put(y, "best")
        block.put(winner, "won")

    parallel_for(work, blocks(g), values(g))
    return images(y), images(winner)


def max_pool2d_dx(dy, winner, g):
    dy, winner = pixels(dy), pixels(winner)                                   # (N, OH, OW, C)

    def shares(block):
        here, won = block.take(dy, "dy"), block.take(winner, "won")
        mine = scratch("mine", here.shape, np.bool_)
        return lambda p, q, out: np.multiply(here, np.equal(won, p * g.KW + q, out=mine), out=out)

    return images(back_to_pixels(shares, g, dy.dtype))


def avg_pool2d(x, g, count_include_pad):
    y = window_sums(pixels(x), g)                                             # (N, OH, OW, C)
    return images(y * _per_pixel(1 / _counts(g, count_include_pad, y.dtype), g))


def avg_pool2d_dx(dy, g, count_include_pad):
    dy = pixels(dy) * _per_pixel(1 / _counts(g, count_include_pad, dy.dtype), g)      # (N, OH, OW, C)

    def shares(block):
        here = block.take(dy, "dy")
        return lambda p, q, out: np.copyto(out, here)

    return images(back_to_pixels(shares, g, dy.dtype))


def lp_pool2d(x, p, g):
    powers = elementwise(lambda x: np.abs(x) ** p, x)
    return elementwise(lambda total: total ** (1 / p), images(window_sums(pixels(powers), g)))


def lp_pool2d_dx(dy, x, y, p, g):
    norm, sizes, dy, y = p, pixels(np.abs(x)), pixels(dy), pixels(y)

    def shares(block):
        here, root, strips = block.take(dy, "dy"), block.take(y, "y", fill=1), block.strips(sizes, fill=0)
        safe = np.where(root == 0, 1, root)                                   # all |x| are 0 there too: 0 / 1

        def share(p, q, out):
            out[...] = np.where(root == 0, 0, here * (block.tap(strips, p, q) / safe) ** (norm - 1))

        return share

    return elementwise(np.multiply, elementwise(np.sign, x), images(back_to_pixels(shares, g, dy.dtype)))


def window_sums(x, g):
    """Σ of each window: x (N,H,W,C) → (N,OH,OW,C). First along the rows, then of those sums."""
    y = empty(g.N, g.OH, g.OW, g.C, x.dtype)
    S = g.vertical.stride

    def work(block):
        strips, across = block.strips(x, fill=0), {}
        for a in range(min(S, g.KH)):                                         # the window rows a, a + S, …
            reach = (g.KH - 1 - a) // S * block.row + block.length
            for q in range(g.KW):
                phase, start = block.at(a, q)
                run = strips[phase][start : start + reach]
                if q == 0:
                    across[a] = scratch(f"across {a}", (reach,), x.dtype)
                    across[a][...] = run
                else:
                    across[a] += run
        total = block.results("total", x.dtype)
        total[...] = across[0][: block.length]
        for p in range(1, g.KH):
            start = p // S * block.row
            total += across[p % S][start : start + block.length]
        block.put(y, "total")

    parallel_for(work, blocks(g), values(g))
    return y


def back_to_pixels(shares, g, dtype):
    """dx (N,H,W,C): each pixel gets a share of every window and tap that reads it: Block.give."""
    dx = (np.empty if all_read(g) else np.zeros)((g.N, g.H, g.W, g.C), dtype)
    parallel_for(lambda block: block.give(shares(block), dx), blocks_of_pixels(g), values(g))
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
