"""Batch norm's passes over the data that write an array as large as x; those that only sum are in sums.py.

A row is one pixel's C values. Where C is not a multiple of 8, it is the k pixels that together have a multiple of 8
values; the per-channel values are repeated k times, and less than k pixels at the end are left for plain loops.

With `relu` the passes compute max(0, batch norm). Backward, dy counts where x·factor + offset > 0, the sum that forward
took the maximum of: y is not read.

Left to NumPy: float64, empty arrays.
"""

import math

import numpy as np

from minicnn.cpu import batch_norm as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, from_pixels, pixels, vector
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import fma, load, maximum, spread, store, where_positive
from minicnn.cpu.compiled.work import first, following

ITEM_VALUES = 1 << 14
"""Values in an item, about."""
ZERO = np.float32(0)


@inlined
def line(mean, scale, shift, factor, offset):
    """(x − mean)·scale + shift as x·factor + offset, repeated to fill a row. In float64, for large means."""
    C = scale.size
    for i in range(0, factor.size, C):
        for c in range(C):
            factor[i + c], offset[i + c] = scale[c], shift[c] - np.float64(mean[c]) * scale[c]


@kernel("void(f4[:,::1], f4[::1], f4[::1], f4[::1], f4[:,::1], b1, b1, i8, f4[:,::1], i8[::1])")
def _apply(x, mean, scale, shift, more, add, relu, row, y, work):
    M, C = x.shape
    factor, offset = np.empty(row, np.float32), np.empty(row, np.float32)
    line(mean, scale, shift, factor, offset)
    rows, per_item = x.size // row, max(1, ITEM_VALUES // row)
    item = first(work)
    while item >= 0:
        end = min((item + 1) * per_item, rows)
        for m in range(item * per_item, end):
            for c in range(0, row, 8):
                k = m * row + c
                v = fma(load(x, k), load(factor, c), load(offset, c))
                if add:
                    v = v + load(more, k)
                if relu:
                    v = maximum(v, spread(ZERO))
                store(y, k, v)
        if end == rows:
            for m in range(rows * row // C, M):
                for c in range(C):
                    v = x[m, c] * factor[c] + offset[c]
                    if add:
                        v += more[m, c]
                    y[m, c] = ZERO if relu and v <= 0 else v
        item = following(work)


@kernel("void(f4[:,::1], f4[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], b1, i8, f4[:,::1], i8[::1])")
def _dx(dy, x, mean, inv_std, scale, shift, sum_dy, sum_dy_xhat, relu, row, dx, work):
    """dx = factor·dy + slope·x + constant: the formula, its per-channel terms collected."""
    M, C = x.shape
    factor, offset = np.empty(row, np.float32), np.empty(row, np.float32)
    slope, constant = np.empty(row, np.float32), np.empty(row, np.float32)
    line(mean, scale, shift, factor, offset)
    for i in range(0, row, C):
        for c in range(C):
            s = -np.float64(scale[c]) * inv_std[c] * sum_dy_xhat[c] / M
            slope[i + c], constant[i + c] = s, -np.float64(scale[c]) * sum_dy[c] / M - s * mean[c]
    rows, per_item = x.size // row, max(1, ITEM_VALUES // row)
    item = first(work)
    while item >= 0:
        end = min((item + 1) * per_item, rows)
        for m in range(item * per_item, end):
            for c in range(0, row, 8):
                k = m * row + c
                d, v, f = load(dy, k), load(x, k), load(factor, c)
                if relu:
                    d = where_positive(d, fma(v, f, load(offset, c)))
                store(dx, k, fma(d, f, fma(v, load(slope, c), load(constant, c))))
        if end == rows:
            for m in range(rows * row // C, M):
                for c in range(C):
                    v = x[m, c]
                    d = ZERO if relu and not v * factor[c] + offset[c] > 0 else dy[m, c]
                    dx[m, c] = d * factor[c] + (v * slope[c] + constant[c])
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def batch_norm_apply(x, mean, scale, shift, *, add=None, relu=False):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_apply(x, mean, scale, shift, add=add, relu=relu)
    x_pixels, row = pixels(x), values_in_row(x.shape[1])
    more, y = x_pixels if add is None else pixels(add), np.empty_like(x_pixels)
    team.run(_apply, items(x, row), x.size, x_pixels, vector(mean), vector(scale), or_zeros(shift, mean), more,
             add is not None, relu, row, y)
    return from_pixels(y, x)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, *, relu=None):
    if x.dtype != F32 or not x.size:
        return plain.batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, relu=relu)
    x_pixels, row = pixels(x), values_in_row(x.shape[1])
    dx = np.empty_like(x_pixels)
    team.run(_dx, items(x, row), x.size, pixels(dy), x_pixels, vector(mean), vector(inv_std), vector(scale),
             or_zeros(relu and relu[1], mean), vector(sum_dy), vector(sum_dy_xhat), relu is not None, row, dx)
    return from_pixels(dx, x)


def values_in_row(C):
    """The least common multiple of C and a register's 8."""
    return math.lcm(C, 8)


def items(x, row):
    return max(1, -(-(x.size // row) // max(1, ITEM_VALUES // row)))


def or_zeros(values, like):
    return np.zeros(like.shape, F32) if values is None else vector(values)
