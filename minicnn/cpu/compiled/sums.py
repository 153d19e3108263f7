"""Sums over the pixels of each channel: batch norm's statistics and gradients, and the gradient of a bias.

One kernel, in batch_norm.py's rows. It adds up d and d·(x − centre), where d is dy, or dy where batch norm's ReLU let x
pass, or for statistics x − centre itself. An item is a number of rows that depends on the shape alone. Its sums are
taken in float32 over at most 512 values, these in float64, and the items' in their order: so the result does not
depend on the number of threads.

Left to NumPy: float64, empty arrays.
"""

import numpy as np

from minicnn.cpu import batch_norm as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, pixels, vector
from minicnn.cpu.compiled.batch_norm import line, or_zeros, values_in_row
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import fma, load, store, where_positive, zero
from minicnn.cpu.compiled.work import first, following

SUM, RELU, MOMENTS = 0, 1, 2
"""What d is: dy; dy where (x − centre)·scale + shift > 0; x − centre."""

IN_FLOAT32 = 512
"""Rows whose sums are taken in float32; a multiple of 4, the rows that the kernel reads at a time."""
MOST_ITEMS, LEAST_VALUES = 64, 1 << 14
"""The largest number of items, and the values that an item has at least if there are several."""


@inlined
def _sample(x, start, end, centre):
    """centre (row,): the mean of some of the pixels start … end, repeated."""
    C, step, count = x.shape[1], max(1, (end - start) // 32), 0
    for c in range(C):
        centre[c] = 0
    for m in range(start, end, step):
        for c in range(C):
            centre[c] += x[m, c]
        count += 1
    for c in range(C):
        centre[c] /= np.float32(count)
    for i in range(C, centre.size):
        centre[i] = centre[i - C]


@kernel("void(f4[:,::1], f4[:,::1], f4[::1], f4[::1], f4[::1], i8, i8, i8, f8[:,:,::1], i8[::1])")
def _sums(dy, x, mean, scale, shift, kind, row, per_item, parts, work):
    """parts[item] (3, row): Σ d, Σ d·(x − centre), centre. The centre is `mean`, or for moments a sample's mean."""
    M, C = x.shape
    rows = x.size // (4 * row) * 4
    part, centre = np.empty(2 * row, np.float32), np.empty(row, np.float32)
    factor, offset = np.empty(row, np.float32), np.empty(row, np.float32)
    line(mean, scale, shift, factor, offset)
    for i in range(0, row, C):
        for c in range(C):
            centre[i + c] = mean[c]
    item = first(work)
    while item >= 0:
        start, end, last = item * per_item, (item + 1) * per_item, item == len(parts) - 1
        if last:
            end = rows
        if kind == MOMENTS:
            _sample(x, start * row // C, M if last else end * row // C, centre)
        for c in range(row):
            parts[item, 0, c], parts[item, 1, c], parts[item, 2, c] = 0, 0, centre[c]
        for block in range(start, end, IN_FLOAT32):
            zero(part, 0, 2 * row)
            for m in range(block, min(block + IN_FLOAT32, end), 4):
                for c in range(0, row, 8):
                    k, u = m * row + c, load(centre, c)
                    v0, v1, v2, v3 = load(x, k), load(x, k + row), load(x, k + 2 * row), load(x, k + 3 * row)
                    w0, w1, w2, w3 = v0 - u, v1 - u, v2 - u, v3 - u
                    d0, d1, d2, d3 = w0, w1, w2, w3
                    if kind != MOMENTS:
                        d0, d1, d2, d3 = load(dy, k), load(dy, k + row), load(dy, k + 2 * row), load(dy, k + 3 * row)
                    if kind == RELU:
                        f, o = load(factor, c), load(offset, c)
                        d0, d1 = where_positive(d0, fma(v0, f, o)), where_positive(d1, fma(v1, f, o))
                        d2, d3 = where_positive(d2, fma(v2, f, o)), where_positive(d3, fma(v3, f, o))
                    store(part, c, load(part, c) + ((d0 + d1) + (d2 + d3)))
                    store(part, row + c, fma(d0, w0, fma(d1, w1, load(part, row + c))) + fma(d2, w2, d3 * w3))
            for c in range(row):
                parts[item, 0, c] += part[c]
                parts[item, 1, c] += part[row + c]
        if last:
            for m in range(rows * row // C, M):
                for c in range(C):
                    away = np.float64(x[m, c]) - centre[c]
                    d = away if kind == MOMENTS else np.float64(dy[m, c])
                    if kind == RELU and not x[m, c] * factor[c] + offset[c] > 0:
                        d = 0.0
                    parts[item, 0, c] += d
                    parts[item, 1, c] += d * away
        item = following(work)


@kernel("void(f8[:,:,::1], i8, i8, f4[::1], f4[::1])")
def _merge(parts, M, per_item, mean, var):
    """The moments of M pixels from those of the items (Chan, Golub & LeVeque 1983)."""
    items, _, row = parts.shape
    C = mean.size
    means, squares = np.zeros(C), np.zeros(C)
    rest = M - (items - 1) * per_item * row // C                   # pixels of the last item
    for turn in range(2):
        for item in range(items):
            n = per_item * row // C if item < items - 1 else rest
            for i in range(0, row, C):
                for c in range(C):
                    total, centre = parts[item, 0, i + c], parts[item, 2, i + c]
                    if turn == 0:
                        means[c] += total + (n * centre if i == 0 else 0)
                    else:
                        away = centre - means[c] / M
                        squares[c] += parts[item, 1, i + c] + away * (2 * total + (n * away if i == 0 else 0))
    for c in range(C):
        mean[c] = means[c] / M
        var[c] = max(squares[c], 0) / M


# ------------------------------------------------------------------------------------------------------ the primitives


def batch_norm_stats(x):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_stats(x)
    x, C = pixels(x), x.shape[1]
    mean, var = np.empty(C, F32), np.empty(C, F32)
    parts, per_item = _sums_of_items(x, x, mean, mean, mean, MOMENTS)
    _merge(parts, len(x), per_item, mean, var)
    return mean, var


def batch_norm_sums(dy, x, mean, inv_std, *, relu=None):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_sums(dy, x, mean, inv_std, relu=relu)
    C, centre = x.shape[1], vector(mean)
    scale, shift = (centre, centre) if relu is None else (vector(relu[0]), or_zeros(relu[1], mean))
    parts, _ = _sums_of_items(pixels(dy), pixels(x), centre, scale, shift, SUM if relu is None else RELU)
    sum_dy, sum_dy_centred, _ = parts.sum(0).reshape(3, -1, C).sum(1)
    return sum_dy.astype(F32), (sum_dy_centred * inv_std).astype(F32)


def channel_sums(dy):
    if dy.dtype != F32 or not dy.size:
        return plain.channel_sums(dy)
    C, dy = dy.shape[1], pixels(dy)
    none = np.zeros(C, F32)
    return _sums_of_items(dy, dy, none, none, none, SUM)[0].sum(0)[0].reshape(-1, C).sum(0).astype(F32)


def _sums_of_items(dy, x, mean, scale, shift, kind):
    """(parts (items, 3, row), rows in an item)"""
    row = values_in_row(x.shape[1])
    rows = x.size // row
    per_item = -(-max(1, rows // MOST_ITEMS, LEAST_VALUES // row) // 4) * 4
    parts = np.empty((max(1, rows // per_item), 3, row))
    team.run(_sums, len(parts), x.size, dy, x, mean, scale, shift, kind, row, per_item, parts)
    return parts, per_item
