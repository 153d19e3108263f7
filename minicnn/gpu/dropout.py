"""Dropout masks from a counter, the same on every device (kernels/dropout.cu)."""

import math

import numpy as np

from minicnn.gpu.maps import FULL_GRID_BLOCKS, THREADS_PER_BLOCK


def dropout_mask(gpu, shape, p, seed, draw):
    mask = gpu.xp.empty(shape, np.bool_)
    size = math.prod(shape)
    blocks = min(-(-size // (4 * THREADS_PER_BLOCK)), FULL_GRID_BLOCKS)       # a thread computes four values at once
    gpu.kernel("dropout.cu", "dropout_mask")((blocks,), (THREADS_PER_BLOCK,), mask, size, seed, draw, round(p * 2**53))
    return mask
