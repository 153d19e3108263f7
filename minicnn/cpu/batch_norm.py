"""Batch norm's passes over the data, each a piece at a time, which goes through all steps while it is in the cache.

What belongs to a channel meets rows of C values, and NumPy is slow on a row of 16. So as many pixels as it takes are
seen as one long row, and the channel's values are laid out to a `tile` of the same length.
"""

import functools

import numpy as np

from minicnn.cpu.layout import from_rows, to_rows
from minicnn.cpu.threads import num_threads, parallel_for, scratch

LONG = 8192
"""Values that make a row long: NumPy's own buffer, below which it copies what it broadcasts."""
PIECE = 1 << 17
"""Values in a piece: few enough for the cache, and enough that the threads seldom wait for Python's lock."""


def batch_norm_stats(x):
    rows = Rows.of(x)
    x_rows, pieces = rows.view(x), rows.pieces
    # Σ(x − s)² loses digits where the shift s is far from the mean. The mean of one part in P of the values is at most
    # √P standard deviations away from that of all
    shift = x_rows[0].reshape(-1, rows.C).mean(0)                             # (C,)
    shifts, sums = rows.tile(shift), Sums(rows, 2, x.dtype)

    def work(i):
        piece = x_rows[pieces[i]]
        moved = np.subtract(piece, shifts, out=scratch("moved", piece.shape, x.dtype))
        sums.put(0, i, moved)
        sums.put(1, i, moved, moved)

    parallel_for(work, range(len(pieces)), x.size)
    first, second = sums.total() / rows.M                                     # (C,), (C,)
    var = np.maximum(second - first * first, 0)
    return (shift + first).astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x, mean, scale, shift):
    # x·scale + (shift − mean·scale): where the mean is large, no less exact than x itself
    rows = Rows.of(x)
    x_rows, offset = rows.view(x), -mean.astype(np.float64) * scale + (0 if shift is None else shift)
    y, scales, offsets = np.empty_like(x_rows), rows.tile(scale), rows.tile(offset.astype(x.dtype))

    def work(piece):
        np.multiply(x_rows[piece], scales, out=y[piece])
        np.add(y[piece], offsets, out=y[piece])

    parallel_for(work, rows.pieces, x.size)
    return from_rows(y, x)


def batch_norm_sums(dy, x, mean, inv_std):
    rows = Rows.of(x)
    dy, x_rows, means, pieces = rows.view(dy), rows.view(x), rows.tile(mean), rows.pieces
    sums = Sums(rows, 2, x.dtype)

    def work(i):
        piece = x_rows[pieces[i]]
        centred = np.subtract(piece, means, out=scratch("moved", piece.shape, x.dtype))
        sums.put(0, i, centred, dy[pieces[i]])
        sums.put(1, i, dy[pieces[i]])

    parallel_for(work, range(len(pieces)), x.size)
    sum_dy_centred, sum_dy = sums.total()                                     # (C,), (C,)
    return sum_dy.astype(x.dtype), (sum_dy_centred * inv_std).astype(x.dtype)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat):
    rows = Rows.of(x)
    dy, x_rows = rows.view(dy), rows.view(x)
    # the formula, sorted by what is not the same for a whole channel: dx = scale·dy + slope·x + offset
    slope = -scale.astype(np.float64) * inv_std * sum_dy_xhat / rows.M
    offset = -scale * sum_dy / rows.M - slope * mean
    scales, slopes, offsets = (rows.tile(v.astype(x.dtype)) for v in (scale, slope, offset))
    dx = np.empty_like(x_rows)

    def work(piece):
        here = dx[piece]
        np.multiply(x_rows[piece], slopes, out=here)
        np.add(here, offsets, out=here)
        np.add(here, np.multiply(dy[piece], scales, out=scratch("moved", here.shape, x.dtype)), out=here)

    parallel_for(work, rows.pieces, x.size)
    return from_rows(dx, x)


def channel_sums(dy):
    rows = Rows.of(dy)
    dy_rows, pieces, sums = rows.view(dy), rows.pieces, Sums(rows, 1, dy.dtype)
    parallel_for(lambda i: sums.put(0, i, dy_rows[pieces[i]]), range(len(pieces)), dy.size)
    return sums.total()[0].astype(dy.dtype)


# --------------------------------------------------------------------------------------------- long rows, pieces, sums


class Rows:
    """M pixels of C values as M / k long rows of k pixels, cut into pieces of some long rows each."""

    def __init__(self, M, C, threads):
        enough = -(-LONG // C)
        divisors = [k for k in range(1, 4 * enough) if M % k == 0]
        self.M, self.C = M, C
        self.k = next((k for k in divisors if k >= enough), divisors[-1])     # at worst 1: right, but slow
        share = -(-M // self.k // threads)
        size = max(1, min(PIECE // (self.k * C), share))
        self.pieces = [slice(start, start + size) for start in range(0, M // self.k, size)]
        self.size = size

    @staticmethod
    def of(x):
        """How to cut x (N,C,…)."""
        return _rows(x.size // x.shape[1], x.shape[1], num_threads())

    def view(self, x):
        """x (N,C,…) → (M/k, k·C), without a copy if x lies channels last"""
        return to_rows(x).reshape(self.M // self.k, self.k * self.C)

    def tile(self, per_channel):
        """(C,) → (k·C,)"""
        return np.tile(per_channel, self.k)


_rows = functools.lru_cache(Rows)


class Sums:
    """Per-channel sums over each piece, `count` of them, and then over all pieces.

    Within a piece they are taken in the arrays' own precision, f pixels side by side; what that leaves is added in
    float64, in the pieces' order, whoever computed which: the same bits each time.
    """

    def __init__(self, rows, count, dtype):
        f = next(f for f in (16, 4, 1) if rows.k % f == 0 and (f == 1 or f * rows.C <= 512))
        self.width, self.C = f * rows.C, rows.C
        self.ones = np.ones(rows.size * rows.k // f, dtype)
        self.parts = np.empty((count, len(rows.pieces), self.width), dtype)

    def put(self, which, i, a, b=None):
        """Sum number `which` of piece i is Σ a, or Σ a·b."""
        a, out = a.reshape(-1, self.width), self.parts[which, i]
        if b is None:
            np.dot(self.ones[: len(a)], a, out=out)                # faster than a.sum(0); @ would hold the GIL
        else:
            np.einsum("ij,ij->j", a, b.reshape(-1, self.width), out=out)

    def total(self):
        """→ (count, C) in float64"""
        return self.parts.reshape(len(self.parts), -1, self.C).sum(1, dtype=np.float64)
