"""Softmax and cross entropy together (kernels/softmax.cu)."""

import numpy as np

from minicnn.gpu.maps import over_maps

ROWS_PER_BLOCK = 4
"""Rows in a block, one for each warp."""


def cross_entropy(gpu, logits, labels, smoothing):
    xp = gpu.xp
    logits, labels = xp.ascontiguousarray(logits), xp.ascontiguousarray(labels, np.int64)
    N, K = logits.shape
    loss, p = xp.empty((N,), logits.dtype), xp.empty((N, K), logits.dtype)
    kernel = gpu.kernel("softmax.cu", "cross_entropy", logits.dtype)
    kernel((-(-N // ROWS_PER_BLOCK),), (32, ROWS_PER_BLOCK), logits, labels, loss, p, N, K, smoothing)
    return loss, p


def cross_entropy_dx(gpu, dy, p, labels, smoothing):
    xp = gpu.xp
    dy, p, labels = xp.ascontiguousarray(dy, p.dtype), xp.ascontiguousarray(p), xp.ascontiguousarray(labels, np.int64)
    N, K = p.shape
    dlogits = xp.empty((N, K), p.dtype)
    over_maps(gpu.kernel("softmax.cu", "cross_entropy_dx", p.dtype), N, K, dy, p, labels, dlogits, N, K, smoothing)
    return dlogits
