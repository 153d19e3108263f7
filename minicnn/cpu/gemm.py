"""Matrix products: the primitive `matmul` on all threads, and the products of the convolutions' tiles."""

import numpy as np

from minicnn.cpu.threads import limit_blas, parallel_for, parts

MIN_PARALLEL_MACS = 1 << 22
"""Multiply-adds below which a product is too small to be worth waking a thread: it takes as long, 80 µs."""

MAX_TRANSPOSED_ROWS = 256
"""A product with at most this many rows may be computed as its transpose: copying few rows back is cheap."""

OPENBLAS_SMALL_MACS = 1_000_000
"""Multiply-adds of the largest product that OpenBLAS computes in place; for larger ones it packs the matrices first."""


def matmul(a, b, bias=None):
    (M, K), L = a.shape, b.shape[1]
    if M * K * L < MIN_PARALLEL_MACS:
        limit_blas()
        y = a @ b
    elif M <= MAX_TRANSPOSED_ROWS and 4 * M <= L:                  # yᵀ = bᵀ·aᵀ has more rows to split among threads
        y = np.ascontiguousarray(_matmul_by_rows(b.T, a.T).T)                 # (M, L)
    else:
        y = _matmul_by_rows(a, b)
    if bias is not None:
        y += bias
    return y


def _matmul_by_rows(a, b):
    y = np.empty((len(a), b.shape[1]), a.dtype)

    def multiply(chunk):
        rows = slice(*chunk)
        np.matmul(a[rows], b, out=y[rows])

    parallel_for(multiply, parts(len(a)))
    return y


def blocked_matmul(a, b, out):
    """out = a · b for a tall a (…,P,K) and a small b (…,K,O), in blocks of rows that BLAS multiplies without packing.

    One call of NumPy's matmul, which loops over the blocks in C. If b is too large for that, packing is faster and the
    product is computed as a whole.
    """
    P, (K, O) = a.shape[-2], b.shape[-2:]
    rows = min(48, OPENBLAS_SMALL_MACS // max(1, K * O)) // 4 * 4             # of a block
    if rows < 16 or 2 * rows > P:
        np.matmul(a, b, out=out)
        return
    blocked = P // rows * rows                                                # rows in complete blocks
    a_blocks, out_blocks = (m[..., :blocked, :].reshape(*m.shape[:-2], -1, rows, m.shape[-1]) for m in (a, out))
    np.matmul(a_blocks, b[..., None, :, :], out=out_blocks)                   # reshape gave views
    if blocked < P:
        np.matmul(a[..., blocked:, :], b, out=out[..., blocked:, :])
