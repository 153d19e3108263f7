"""Dropout masks from a counter, the same on every device (kernels/dropout.cu)."""

import math

import numpy as np

from minicnn.gpu.maps import FULL_GRID_BLOCKS, THREADS_PER_BLOCK


def dropout_mask(gpu, shape, p, seed, draw, start=0):
    group, lead = divmod(start, 4)
    size = lead + math.prod(shape)
    mask = gpu.xp.empty(size, np.bool_)
    blocks = min(-(-size // (4 * THREADS_PER_BLOCK)), FULL_GRID_BLOCKS)       # a thread computes four values at once
    kernel = gpu.kernel("dropout.cu", "dropout_mask")
    kernel((blocks,), (THREADS_PER_BLOCK,), mask, size, group, seed, draw, round(p * 2**53))
    return mask[lead:].reshape(shape)
