"""Masks from a counter, the same as on every device (kernels/dropout.cu)."""

import math

import numpy as np

THREADS, BLOCKS = 256, 2048


def dropout_mask(gpu, shape, p, seed, draw):
    mask = gpu.xp.empty(shape, np.bool_)
    size = math.prod(shape)
    blocks = min(-(-size // (4 * THREADS)), BLOCKS)                           # a thread makes four values at once
    gpu.kernel("dropout.cu", "dropout_mask")((blocks,), (THREADS,), mask, size, seed, draw, round(p * 2**53))
    return mask
