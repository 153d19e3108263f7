"""Batch norm's passes over the data, in chunks: all steps run on a chunk while it is in the cache.

The C per-channel values are broadcast over rows of C values, and NumPy is slow for short rows, such as C = 16.
Therefore k pixels are viewed as one long row, and the per-channel values are repeated k times.
"""

import math

import numpy as np

from minicnn.cpu.elements import chunk_size, relu_dx
from minicnn.cpu.layout import from_rows, to_rows
from minicnn.cpu.threads import parallel_for

LONG_ROW_VALUES = 8192
"""Values in a long row: the size of NumPy's buffer. For shorter rows, NumPy copies the broadcast operand."""


def batch_norm_stats(x):
    rows, C = long_rows(x), x.shape[1]
    # Σ(x − s)² loses digits if the shift s is far from the mean. The mean of one row, a share 1/R of the values, is
    # at most √R standard deviations from the mean of all
    shift = rows[0].reshape(-1, C).mean(0)                                    # (C,)
    shifts = repeat(shift, rows)

    def sums(chunk):
        shifted = rows[chunk] - shifts
        return shifted.sum(0), np.einsum("ij,ij->j", shifted, shifted)

    first, second = sum_chunks(rows, C, 2, sums) / (x.size // C)              # (C,), (C,)
    var = np.maximum(second - first * first, 0)
    return (shift + first).astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x, mean, scale, shift, *, add=None, relu=False):
    # x·scale + (shift − mean·scale): even for a large mean, as accurate as x itself
    offset = -mean.astype(np.float64) * scale + (0 if shift is None else shift)
    rows, added = long_rows(x), None if add is None else long_rows(add)
    y, scales, offsets = np.empty_like(rows), repeat(scale, rows), repeat(offset.astype(x.dtype), rows)

    def work(chunk):
        out = np.multiply(rows[chunk], scales, out=y[chunk])
        out += offsets
        if added is not None:
            out += added[chunk]
        if relu:
            np.maximum(out, 0, out=out)

    parallel_for(work, chunks(rows), x.size)
    return from_rows(y, x)


def batch_norm_sums(dy, x, mean, inv_std, *, relu=None):
    rows, dy_rows = long_rows(x), long_rows(through_relu(dy, x, mean, relu))
    means = repeat(mean, rows)

    def sums(chunk):
        return dy_rows[chunk].sum(0), np.einsum("ij,ij->j", rows[chunk] - means, dy_rows[chunk])

    sum_dy, sum_dy_centred = sum_chunks(rows, x.shape[1], 2, sums)            # (C,), (C,)
    return sum_dy.astype(x.dtype), (sum_dy_centred * inv_std).astype(x.dtype)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, *, relu=None):
    rows, dy_rows, M = long_rows(x), long_rows(through_relu(dy, x, mean, relu)), x.size // x.shape[1]
    # the formula, its per-channel terms collected: dx = scale·dy + slope·x + offset
    slope = -scale.astype(np.float64) * inv_std * sum_dy_xhat / M
    offset = -scale * sum_dy / M - slope * mean
    scales, slopes, offsets = (repeat(v.astype(x.dtype), rows) for v in (scale, slope, offset))
    dx = np.empty_like(rows)

    def work(chunk):
        out = np.multiply(rows[chunk], slopes, out=dx[chunk])
        out += offsets
        out += dy_rows[chunk] * scales

    parallel_for(work, chunks(rows), x.size)
    return from_rows(dx, x)


def channel_sums(dy):
    rows = long_rows(dy)
    return sum_chunks(rows, dy.shape[1], 1, lambda chunk: rows[chunk].sum(0))[0].astype(dy.dtype)


def through_relu(dy, x, mean, relu):
    """dy where batch norm with relu = (scale, shift) is above 0, else 0; dy itself without relu."""
    if relu is None:
        return dy
    return relu_dx(dy, batch_norm_apply(x, mean, *relu))


def long_rows(x):
    """x (N,C,…), M pixels, → (M/k, k·C): a view if x is stored channels last, else a copy."""
    rows = to_rows(x)                                                         # (M, C)
    M, C = rows.shape
    k = math.gcd(M, 1 << (LONG_ROW_VALUES // C).bit_length())                 # at worst 1: correct, but slow
    return rows.reshape(M // k, k * C)


def repeat(per_channel, rows):
    """(C,) → (k·C,)"""
    return np.tile(per_channel, rows.shape[1] // len(per_channel))


def chunks(rows):
    """Slices of the long rows."""
    size = max(1, chunk_size(rows.size) // rows.shape[1])
    return [slice(start, start + size) for start in range(0, len(rows), size)]


def sum_chunks(rows, C, count, sums):
    """`count` sums over all rows for each channel, (count, C) in float64; sums(chunk) → those of a chunk, (k·C,) each.

    Within a chunk the rows are summed in the arrays' own precision. These partial sums are added in float64, in the
    order of the chunks, so the result does not depend on which thread computed which chunk.
    """
    slices = chunks(rows)
    partial = np.empty((len(slices), count, rows.shape[1] // C, C), rows.dtype)

    def work(i):
        partial[i].reshape(count, -1)[...] = sums(slices[i])

    parallel_for(work, range(len(slices)), rows.size)
    return partial.sum((0, 2), dtype=np.float64)
