"""Sums over the pixels of each channel: batch norm's statistics and gradients, and the gradient of a bias.

One kernel, in batch_norm.py's rows. It adds up d and d·(x − mean), where d is dy, or dy where batch norm's ReLU let x
pass, or for statistics x − mean itself. An item is a number of rows that depends on the shape alone. Its sums are
taken in float32 over at most 512 values, these in float64, and the items' in their order: so the result does not
depend on the number of threads.

Left to NumPy: float64, empty arrays.
"""

import numpy as np

from minicnn.cpu import batch_norm as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, pixels, vector
from minicnn.cpu.compiled.batch_norm import batch_norm_apply, line, or_zeros, values_in_row
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.registers import fma, load, store, where_positive, zero
from minicnn.cpu.compiled.work import first, following

SUM, RELU, MOMENTS = 0, 1, 2
"""What d is: dy; dy where (x − mean)·scale + shift > 0; x − mean."""

STEPS_IN_FLOAT32 = 128
"""Steps of four rows whose sums are taken in float32."""
MOST_ITEMS, LEAST_VALUES = 64, 1 << 14
"""The largest number of items, and the values that an item has at least if there are several."""


@kernel("void(f4[:,::1], f4[:,::1], f4[::1], f4[::1], f4[::1], i8, i8, i8, f8[:,:,::1], i8[::1])")
def _sums(dy, x, mean, scale, shift, kind, row, steps, parts, work):
    """parts[item] (2, C): Σ d, Σ d·(x − mean). An item is `steps` steps of four rows; an incomplete one is not read."""
    C, all_steps = x.shape[1], x.size // (4 * row)
    part, centre = np.empty(2 * row, np.float32), np.empty(row, np.float32)
    factor, offset = np.empty(row, np.float32), np.empty(row, np.float32)
    line(mean, scale, shift, factor, offset)
    for i in range(0, row, C):
        for c in range(C):
            centre[i + c] = mean[c]
    item = first(work)
    while item >= 0:
        start, end = item * steps, min((item + 1) * steps, all_steps)
        for c in range(C):
            parts[item, 0, c], parts[item, 1, c] = 0, 0
        for block in range(start, end, STEPS_IN_FLOAT32):
            zero(part, 0, 2 * row)
            for step in range(block, min(block + STEPS_IN_FLOAT32, end)):
                for c in range(0, row, 8):
                    k, u = step * 4 * row + c, load(centre, c)
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
            for i in range(0, row, C):
                for c in range(C):
                    parts[item, 0, c] += part[i + c]
                    parts[item, 1, c] += part[row + i + c]
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def batch_norm_stats(x):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_stats(x)
    x = pixels(x)
    # Σ(x − s)² loses digits if the shift s is far from the mean: the mean of some pixels is near
    some = x[:: max(1, len(x) // 32)]
    shift = np.add.reduce(some, 0) / F32.type(len(some))
    first, second = _sums_of_items(x, x, shift, shift, shift, MOMENTS) / len(x)
    return (shift + first).astype(F32), np.maximum(second - first * first, 0).astype(F32)


def batch_norm_sums(dy, x, mean, inv_std, *, relu=None):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_sums(dy, x, mean, inv_std, relu=relu)
    centre = vector(mean)
    scale, shift = (centre, centre) if relu is None else (vector(relu[0]), or_zeros(relu[1], mean))
    sums = _sums_of_items(pixels(dy), pixels(x), centre, scale, shift, SUM if relu is None else RELU)
    return sums[0].astype(F32), (sums[1] * inv_std).astype(F32)


def channel_sums(dy):
    if dy.dtype != F32 or not dy.size:
        return plain.channel_sums(dy)
    dy, none = pixels(dy), np.zeros(dy.shape[1], F32)
    return _sums_of_items(dy, dy, none, none, none, SUM)[0].astype(F32)


def _sums_of_items(dy, x, mean, scale, shift, kind):
    """(2, C) in float64: Σ d, Σ d·(x − mean)"""
    (M, C), row = x.shape, values_in_row(x.shape[1])
    all_steps = x.size // (4 * row)
    steps = max(1, -(-all_steps // MOST_ITEMS), LEAST_VALUES // (4 * row))
    parts = np.empty((-(-all_steps // steps), 2, C))
    team.run(_sums, len(parts), x.size, dy, x, mean, scale, shift, kind, row, steps, parts)
    sums, whole = parts[0] if len(parts) == 1 else parts.sum(0), all_steps * 4 * row // C
    if whole < M:                                                  # a few pixels at the end
        away = x[whole:] - mean.astype(np.float64)
        d = away if kind == MOMENTS else dy[whole:].astype(np.float64)
        if kind == RELU:
            d *= batch_norm_apply(x[whole:], mean, scale, shift) > 0
        sums[0] += d.sum(0)
        sums[1] += (d * away).sum(0)
    return sums
