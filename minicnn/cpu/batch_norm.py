"""Batch norm's passes over the data, in chunks: all steps run on a chunk while it is in the cache.

The C per-channel values are broadcast over rows of C values, and NumPy is slow for short rows, such as C = 16.
Therefore k pixels are viewed as one long row, and the per-channel values are repeated k times.
"""

import functools

import numpy as np

from minicnn.cpu.elements import relu_dx
from minicnn.cpu.layout import from_rows, to_rows
from minicnn.cpu.threads import CHUNK_VALUES, num_threads, parallel_for, scratch

LONG_ROW_VALUES = 8192
"""Values in a long row: the size of NumPy's buffer. For shorter rows, NumPy copies the broadcast operand."""


def batch_norm_stats(x):
    rows = LongRows.of(x)
    x_rows, chunks = rows.view(x), rows.chunks
    # Σ(x − s)² loses digits if the shift s is far from the mean. The mean of one row, a share 1/R of the values, is
    # at most √R standard deviations from the mean of all
    shift = x_rows[0].reshape(-1, rows.C).mean(0)                             # (C,)
    shifts, sums = rows.repeat(shift), ChannelSums(rows, 2, x.dtype)

    def work(i):
        values = x_rows[chunks[i]]
        shifted = np.subtract(values, shifts, out=scratch("centred", values.shape, x.dtype))
        sums.put(0, i, shifted)
        sums.put(1, i, shifted, shifted)

    parallel_for(work, range(len(chunks)), x.size)
    first, second = sums.total() / rows.M                                     # (C,), (C,)
    var = np.maximum(second - first * first, 0)
    return (shift + first).astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x, mean, scale, shift, *, add=None, relu=False):
    # x·scale + (shift − mean·scale): even for a large mean, as accurate as x itself
    rows = LongRows.of(x)
    x_rows, offset = rows.view(x), -mean.astype(np.float64) * scale + (0 if shift is None else shift)
    y, scales, offsets = np.empty_like(x_rows), rows.repeat(scale), rows.repeat(offset.astype(x.dtype))
    added, zeros = None if add is None else rows.view(add), np.zeros_like(offsets) if relu else None

    def work(chunk):
        out = y[chunk]
        np.multiply(x_rows[chunk], scales, out=out)
        np.add(out, offsets, out=out)
        if added is not None:
            np.add(out, added[chunk], out=out)
        if relu:
            np.maximum(out, zeros, out=out)

    parallel_for(work, rows.chunks, x.size)
    return from_rows(y, x)


def batch_norm_sums(dy, x, mean, inv_std, *, relu=None):
    dy = through_relu(dy, x, mean, relu)
    rows = LongRows.of(x)
    dy, x_rows, means, chunks = rows.view(dy), rows.view(x), rows.repeat(mean), rows.chunks
    sums = ChannelSums(rows, 2, x.dtype)

    def work(i):
        values = x_rows[chunks[i]]
        centred = np.subtract(values, means, out=scratch("centred", values.shape, x.dtype))
        sums.put(0, i, centred, dy[chunks[i]])
        sums.put(1, i, dy[chunks[i]])

    parallel_for(work, range(len(chunks)), x.size)
    sum_dy_centred, sum_dy = sums.total()                                     # (C,), (C,)
    return sum_dy.astype(x.dtype), (sum_dy_centred * inv_std).astype(x.dtype)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, *, relu=None):
    dy = through_relu(dy, x, mean, relu)
    rows = LongRows.of(x)
    dy, x_rows = rows.view(dy), rows.view(x)
    # the formula, its per-channel terms collected: dx = scale·dy + slope·x + offset
    slope = -scale.astype(np.float64) * inv_std * sum_dy_xhat / rows.M
    offset = -scale * sum_dy / rows.M - slope * mean
    scales, slopes, offsets = (rows.repeat(v.astype(x.dtype)) for v in (scale, slope, offset))
    dx = np.empty_like(x_rows)

    def work(chunk):
        out = dx[chunk]
        np.multiply(x_rows[chunk], slopes, out=out)
        np.add(out, offsets, out=out)
        np.add(out, np.multiply(dy[chunk], scales, out=scratch("scaled", out.shape, x.dtype)), out=out)

    parallel_for(work, rows.chunks, x.size)
    return from_rows(dx, x)


def through_relu(dy, x, mean, relu):
    """dy where batch norm with relu = (scale, shift) is above 0, else 0; dy itself without relu."""
    if relu is None:
        return dy
    return relu_dx(dy, batch_norm_apply(x, mean, *relu))


def channel_sums(dy):
    rows = LongRows.of(dy)
    dy_rows, chunks, sums = rows.view(dy), rows.chunks, ChannelSums(rows, 1, dy.dtype)
    parallel_for(lambda i: sums.put(0, i, dy_rows[chunks[i]]), range(len(chunks)), dy.size)
    return sums.total()[0].astype(dy.dtype)


class LongRows:
    """M pixels of C values viewed as M / k long rows of k pixels, and divided into chunks of several long rows."""

    def __init__(self, M, C, threads):
        enough = -(-LONG_ROW_VALUES // C)
        divisors = [k for k in range(1, 4 * enough) if M % k == 0]
        self.M, self.C = M, C
        self.k = next((k for k in divisors if k >= enough), divisors[-1])     # at worst 1: correct, but slow
        rows_per_thread = -(-M // self.k // threads)
        self.chunk_rows = max(1, min(CHUNK_VALUES // (self.k * C), rows_per_thread))
        self.chunks = [slice(start, start + self.chunk_rows) for start in range(0, M // self.k, self.chunk_rows)]

    @staticmethod
    def of(x):
        """The long rows of x (N,C,…) for the current number of threads."""
        return _long_rows(x.size // x.shape[1], x.shape[1], num_threads())

    def view(self, x):
        """x (N,C,…) → (M/k, k·C): a view if x is stored channels last, else a copy"""
        return to_rows(x).reshape(self.M // self.k, self.k * self.C)

    def repeat(self, per_channel):
        """(C,) → (k·C,)"""
        return np.tile(per_channel, self.k)


_long_rows = functools.lru_cache(LongRows)


class ChannelSums:
    """`count` sums for each channel, first over each chunk and then over all chunks.

    Within a chunk the pixels are summed in the arrays' own precision. These partial sums are added in float64, in the
    order of the chunks, so the result does not depend on which thread computed which chunk.
    """

    def __init__(self, rows, count, dtype):
        f = next(f for f in (16, 4, 1) if rows.k % f == 0 and (f == 1 or f * rows.C <= 512))
        self.width, self.C = f * rows.C, rows.C
        self.ones = np.ones(rows.chunk_rows * rows.k // f, dtype)
        self.partial = np.empty((count, len(rows.chunks), self.width), dtype)

    def put(self, which, i, a, b=None):
        """Set sum number `which` of chunk i to Σ a, or Σ a·b."""
        a, out = a.reshape(-1, self.width), self.partial[which, i]
        if b is None:
            np.dot(self.ones[: len(a)], a, out=out)                # faster than a.sum(0); @ would hold the GIL
        else:
            np.einsum("ij,ij->j", a, b.reshape(-1, self.width), out=out)

    def total(self):
        """→ (count, C) in float64"""
        return self.partial.reshape(len(self.partial), -1, self.C).sum(1, dtype=np.float64)
