"""A tall matrix times a small one, and plus a row."""

import numpy as np

SMALL = 1_000_000
"""OpenBLAS multiplies matrices of M·N·K up to this as they lie; larger ones it first copies into its own layout."""

LONG = 4096
"""Values from which on a row is added at full speed."""


def multiply(a, b, out):
    """out = a · b for a (…,P,K) and b (…,K,O), in strips of a's rows that BLAS multiplies without copying them first.

    NumPy walks the strips in C: one call. Where b is not small there are no strips: the copying then pays.
    """
    P, (K, O) = a.shape[-2], b.shape[-2:]
    rows = min(48, SMALL // max(1, K * O)) // 4 * 4
    if rows < 16 or 2 * rows > P:
        np.matmul(a, b, out=out)
        return
    whole = P // rows * rows
    strips = [m[..., :whole, :].reshape(*m.shape[:-2], -1, rows, m.shape[-1]) for m in (a, out)]     # always views
    np.matmul(strips[0], b[..., None, :, :], out=strips[1])
    if whole < P:
        np.matmul(a[..., whole:, :], b, out=out[..., whole:, :])


def add_row(matrix, row):
    """matrix (P,O) += row (O,), contiguous: many rows as one long one, which NumPy adds without stopping at each."""
    times = max(1, LONG // len(row)) if len(row) else 1
    whole = len(matrix) // times * times
    long = matrix[:whole].reshape(-1, times * len(row))
    long += np.tile(row, times)
    matrix[whole:] += row
