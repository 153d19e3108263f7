"""Pooling, in tiles of windows that stay in the cache, one tap of all windows of a tile at a time (windows.py)."""

import numpy as np

from minicnn.cpu.elements import elementwise
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.cpu.threads import parallel_for, scratch
from minicnn.cpu.windows import every_pixel_read, output_tiles, pixel_tiles


def max_pool2d(x, g):
    x = to_nhwc(x)
    y = np.empty((g.N, g.OH, g.OW, g.C), x.dtype)
    winner = np.empty(y.shape, np.uint8 if g.KH * g.KW <= 256 else np.int32)

    def work(tile):
        phase_images = tile.phase_images(x, fill=-np.inf)
        taps = [tile.tap(phase_images, p, q) for p in range(g.KH) for q in range(g.KW)]
        best_buffer, won_buffer = tile.buffer("best", x.dtype), tile.buffer("won", winner.dtype)
        best, won = tile.run(best_buffer), tile.run(won_buffer)
        best[...] = taps[0]
        for tap in taps[1:]:
            np.maximum(best, tap, out=best)
        # the index of the first tap that equals `best` is the number of taps before it
        none_yet, differs = (scratch(name, best.shape, np.bool_) for name in ("none yet", "differs"))
        won[...], none_yet[...] = 0, True
        for tap in taps[:-1]:
            np.logical_and(none_yet, np.not_equal(tap, best, out=differs), out=none_yet)
            np.add(won, none_yet.view(np.uint8), out=won)
        if best.size and np.isnan(best.max()):                                # NaN equals no value
            for t, tap in enumerate(taps):
                won[np.isnan(tap)] = t
        tile.store(best_buffer, y)
        tile.store(won_buffer, winner)

    parallel_for(work, output_tiles(g), _values_read(g))
    return as_nchw(y), as_nchw(winner)


def max_pool2d_dx(dy, winner, g):
    dy, winner = to_nhwc(dy), to_nhwc(winner)                                 # (N, OH, OW, C)

    def contributions(tile):
        dy_run, won = tile.load(dy, "dy"), tile.load(winner, "won")
        is_winner = scratch("is winner", won.shape, np.bool_)
        return lambda p, q, out: np.multiply(dy_run, np.equal(won, p * g.KW + q, out=is_winner), out=out)

    return _scatter(contributions, g, dy.dtype)


def avg_pool2d(x, g, count_include_pad):
    return as_nchw(_window_sums(to_nhwc(x), g) * _inverse_counts(g, count_include_pad, x.dtype))


def avg_pool2d_dx(dy, g, count_include_pad):
    dy = to_nhwc(dy) * _inverse_counts(g, count_include_pad, dy.dtype)        # (N, OH, OW, C)

    def contributions(tile):
        dy_run = tile.load(dy, "dy")
        return lambda p, q, out: np.copyto(out, dy_run)

    return _scatter(contributions, g, dy.dtype)


def lp_pool2d(x, p, g):
    powers = elementwise(lambda x: np.abs(x) ** p, x)
    return elementwise(lambda total: total ** (1 / p), as_nchw(_window_sums(to_nhwc(powers), g)))


def lp_pool2d_dx(dy, x, y, p, g):
    exponent, x_abs, dy, y = p - 1, to_nhwc(np.abs(x)), to_nhwc(dy), to_nhwc(y)

    def contributions(tile):
        dy_run, norm, phase_images = tile.load(dy, "dy"), tile.load(y, "y", fill=1), tile.phase_images(x_abs, fill=0)
        divisor = np.where(norm == 0, 1, norm)                                # where y is 0, all |x| are 0

        def contribution(p, q, out):
            out[...] = np.where(norm == 0, 0, dy_run * (tile.tap(phase_images, p, q) / divisor) ** exponent)

        return contribution

    return elementwise(np.multiply, elementwise(np.sign, x), _scatter(contributions, g, dy.dtype))


def _window_sums(x, g):
    """The sum of each window: x (N,H,W,C) → (N,OH,OW,C). First along the rows, then over the row sums."""
    y = np.empty((g.N, g.OH, g.OW, g.C), x.dtype)
    S = g.vertical.stride

    def work(tile):
        phase_images, row_sums = tile.phase_images(x, fill=0), {}
        for a in range(min(S, g.KH)):                                         # the window rows a, a + S, …
            length = (g.KH - 1 - a) // S * tile.row_values + tile.length
            row_sums[a] = scratch(f"row sums {a}", (length,), x.dtype)
            for q in range(g.KW):
                phase, start = tile.locate(a, q)
                values = phase_images[phase][start : start + length]
                if q == 0:
                    row_sums[a][...] = values
                else:
                    row_sums[a] += values
        total_buffer = tile.buffer("total", x.dtype)
        total = tile.run(total_buffer)
        total[...] = row_sums[0][: tile.length]
        for p in range(1, g.KH):
            start = p // S * tile.row_values
            total += row_sums[p % S][start : start + tile.length]
        tile.store(total_buffer, y)

    parallel_for(work, output_tiles(g), _values_read(g))
    return y


def _scatter(contributions, g, dtype):
    """dx (N,C,H,W): the sum of all windows' and taps' contributions. contributions(tile): see WindowTile.scatter."""
    dx = (np.empty if every_pixel_read(g) else np.zeros)((g.N, g.H, g.W, g.C), dtype)
    parallel_for(lambda tile: tile.scatter(contributions(tile), dx), pixel_tiles(g), _values_read(g))
    return as_nchw(dx)


def _values_read(g):
    """The number of values that all windows read; a value in several windows counts several times."""
    return g.N * g.OH * g.OW * g.KH * g.KW * g.C


def _inverse_counts(g, include_pad, dtype):
    """1 / the number of values in each window's mean → (OH, OW, C)"""
    down, across = g.vertical.counts(include_pad), g.horizontal.counts(include_pad)
    return np.repeat((1 / np.outer(down, across).astype(dtype))[..., None], g.C, axis=-1)
