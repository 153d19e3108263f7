"""Batch norm: reductions over parts of each channel and then over the parts, and elementwise passes over the data.

The kernels: kernels/batch_norm.cu.
"""

import math

from minicnn.gpu.maps import FULL_GRID_BLOCKS, block_for, over_maps

MAX_PARTS = 32
"""The maximum number of parts of a channel: one for each lane of the warp that combines them."""
WARPS_PER_BLOCK = 8
"""Warps in a block of the second kernel, one for each channel."""


def batch_norm_stats(gpu, x):
    x = gpu.xp.ascontiguousarray(x)
    (N, C, P), (grid, block) = _extents(x), _grid_and_block(x)
    parts, (mean, var) = grid[1] * grid[2], gpu.xp.empty((2, C), x.dtype)
    n, means, m2 = gpu.xp.empty((3, C, parts), x.dtype)
    gpu.kernel("batch_norm.cu", "moments_of_parts", x.dtype)(grid, block, x, n, means, m2, N, C, P)
    _each_row(gpu.kernel("batch_norm.cu", "merge_moments", x.dtype), C, n, means, m2, x, mean, var, C, P, parts)
    return mean, var


def batch_norm_apply(gpu, x, mean, scale, shift, *, add=None, relu=False):
    x = gpu.xp.ascontiguousarray(x)
    N, C, P = _extents(x)
    y, kernel = gpu.xp.empty(x.shape, x.dtype), gpu.kernel("batch_norm.cu", "batch_norm_apply", x.dtype)
    over_maps(kernel, N * C, P, x, *_like(gpu, x, mean, scale, shift, add), y, N * C, C, P, relu)
    return y


def batch_norm_sums(gpu, dy, x, mean, inv_std, *, relu=None):
    dy = _through_relu(gpu, dy, x, mean, relu)
    x = gpu.xp.ascontiguousarray(x)
    (N, C, P), (grid, block) = _extents(x), _grid_and_block(x)
    parts = gpu.xp.empty((2, C, grid[1] * grid[2]), x.dtype)
    kernel = gpu.kernel("batch_norm.cu", "batch_norm_sums_of_parts", x.dtype)
    kernel(grid, block, *_like(gpu, x, dy, x, mean, inv_std), *parts, N, C, P)
    return tuple(_add_parts(gpu, parts))


def batch_norm_dx(gpu, dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat, *, relu=None):
    dy = _through_relu(gpu, dy, x, mean, relu)
    x = gpu.xp.ascontiguousarray(x)
    N, C, P = _extents(x)
    dx, kernel = gpu.xp.empty(x.shape, x.dtype), gpu.kernel("batch_norm.cu", "batch_norm_dx", x.dtype)
    arrays = _like(gpu, x, dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat)
    over_maps(kernel, N * C, P, *arrays, dx, N * C, C, P, 1 / max(1, N * P))
    return dx


def _through_relu(gpu, dy, x, mean, relu):
    return dy if relu is None else dy * (batch_norm_apply(gpu, x, mean, *relu) > 0)


def channel_sums(gpu, dy):
    dy = gpu.xp.ascontiguousarray(dy)
    (N, C, P), (grid, block) = _extents(dy), _grid_and_block(dy)
    parts = gpu.xp.empty((1, C, grid[1] * grid[2]), dy.dtype)
    gpu.kernel("batch_norm.cu", "channel_sums_of_parts", dy.dtype)(grid, block, dy, parts, N, C, P)
    return _add_parts(gpu, parts)[0]


def _extents(x):
    """x (N,C,…) → N, C, P = all pixels of a map"""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _grid_and_block(x):
    """(grid, block) of a reduction over each channel: the grid is (channels, parts along N, parts along P)."""
    N, C, P = _extents(x)
    along, at_once = block_for(P)
    parts = min(MAX_PARTS, -(-FULL_GRID_BLOCKS // max(1, C)))
    of_images = max(1, min(-(-N // at_once), parts))
    of_pixels = max(1, min(-(-P // along), parts // of_images))
    return (C, of_images, of_pixels), (along, at_once)


def _add_parts(gpu, parts):
    """parts (K,C,parts) → (K,C)"""
    K, C, count = parts.shape
    totals = gpu.xp.empty((K, C), parts.dtype)
    _each_row(gpu.kernel("batch_norm.cu", "add_parts", parts.dtype), K * C, parts, totals, K * C, count)
    return totals


def _each_row(kernel, rows, *arguments):
    """Launch a kernel that has a warp for each row."""
    kernel((-(-rows // WARPS_PER_BLOCK),), (32, WARPS_PER_BLOCK), *arguments)


def _like(gpu, x, *arrays):
    """The arrays contiguous and with the dtype of x; None stays None."""
    return [a if a is None else gpu.xp.ascontiguousarray(a, x.dtype) for a in arrays]
