"""Batch norm's passes over the data that write an array as large as x; those that only sum are in sums.py.

A row is one pixel's C values. Where C is not a multiple of 8, it is the k pixels that together have a multiple of 8
values; the per-channel values are repeated k times. The last row ends with the last pixel: some pixels of the row
before may be computed a second time.

With `relu` the passes compute max(0, batch norm). Backward, dy counts where x·factor + offset > 0, the sum that forward
took the maximum of: y is not read.

Left to NumPy: float64, less than k pixels.
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
    factor, offset = np.empty(row, np.float32), np.empty(row, np.float32)
    line(mean, scale, shift, factor, offset)
    rows, last, per_item = (x.size + row - 1) // row, x.size - row, max(1, ITEM_VALUES // row)
    item = first(work)
    while item >= 0:
        for m in range(item * per_item, min((item + 1) * per_item, rows)):
            start = min(m * row, last)
            for c in range(0, row, 8):
                v = fma(load(x, start + c), load(factor, c), load(offset, c))
                if add:
                    v = v + load(more, start + c)
                if relu:
                    v = maximum(v, spread(ZERO))
                store(y, start + c, v)
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
    rows, last, per_item = (x.size + row - 1) // row, x.size - row, max(1, ITEM_VALUES // row)
    item = first(work)
    while item >= 0:
        for m in range(item * per_item, min((item + 1) * per_item, rows)):
            start = min(m * row, last)
            for c in range(0, row, 8):
                d, v, f = load(dy, start + c), load(x, start + c), load(factor, c)
                if relu:
                    d = where_positive(d, fma(v, f, load(offset, c)))
                store(dx, start + c, fma(d, f, fma(v, load(slope, c), load(constant, c))))
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def batch_norm_apply(x, mean, scale, shift, *, add=None, relu=False):
    if not _able(x):
        return plain.batch_norm_apply(x, mean, scale, shift, add=add, relu=relu)
    x_pixels, row = pixels(x), values_in_row(x.shape[1])
    more, y = x_pixels if add is None else pixels(add), np.empty_like(x_pixels)
    team.run(_apply, items(x, row), x.size, x_pixels, vector(mean), vector(scale), or_zeros(shift, mean), more,
             add is not None, relu, row, y)
    return from_pixels(y, x)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, *, relu=None):
    if not _able(x):
        return plain.batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, relu=relu)
    x_pixels, row = pixels(x), values_in_row(x.shape[1])
    dx = np.empty_like(x_pixels)
    team.run(_dx, items(x, row), x.size, pixels(dy), x_pixels, vector(mean), vector(inv_std), vector(scale),
             or_zeros(relu and relu[1], mean), vector(sum_dy), vector(sum_dy_xhat), relu is not None, row, dx)
    return from_pixels(dx, x)


def _able(x):
    return x.dtype == F32 and 0 < values_in_row(x.shape[1]) <= x.size


def values_in_row(C):
    """The least common multiple of C and a register's 8."""
    return math.lcm(C, 8)


def items(x, row):
    return -(-x.size // (row * max(1, ITEM_VALUES // row)))


def or_zeros(values, like):
    return np.zeros(like.shape, F32) if values is None else vector(values)
