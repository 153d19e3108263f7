"""Products of two matrices, on all threads."""

import numpy as np

from minicnn.cpu.threads import num_threads, parallel_for, split

SMALL = 1 << 18
"""Multiply-adds that are done before another thread has heard of them."""

FEW_ROWS = 256
"""Up to here the product may be made as its transpose: it is small, and so is the copy that turns it back."""


def matmul(a, b, bias=None):
    (M, K), L = a.shape, b.shape[1]
    if M * K * L < SMALL:
        y = a @ b
    elif M <= FEW_ROWS and 4 * M <= L:                             # yᵀ = bᵀ·aᵀ has more rows to share out
        y = np.ascontiguousarray(_by_rows(b.T, a.T).T)                        # (M, L)
    else:
        y = _by_rows(a, b)
    if bias is not None:
        y += bias
    return y


def _by_rows(a, b):
    y = np.empty((len(a), b.shape[1]), a.dtype)

    def work(share):
        rows = slice(*share)
        np.matmul(a[rows], b, out=y[rows])

    parallel_for(work, split(len(a), 4 * num_threads()))
    return y
