"""Local response normalisation: the sum over neighbouring channels is a product with a band matrix of ones."""

import numpy as np

from minicnn.cpu.layout import from_rows, to_rows
from minicnn.cpu.threads import CHUNK_VALUES, parallel_for


def local_response_norm(x, size, alpha, beta, k):
    rows = to_rows(x)                                                         # (M, C)
    band = channel_band(x.shape[1], size).astype(x.dtype)                     # (C, C)
    y, s = np.empty_like(rows), np.empty_like(rows)

    def compute(chunk):
        np.matmul(rows[chunk] * rows[chunk], band, out=s[chunk])
        s[chunk] *= alpha
        s[chunk] += k
        np.multiply(rows[chunk], _power(s[chunk], beta), out=y[chunk])

    parallel_for(compute, _chunks(rows))
    return from_rows(y, x), from_rows(s, x)


def local_response_norm_dx(dy, x, y, s, size, alpha, beta):
    dy, x_rows, y, s = map(to_rows, (dy, x, y, s))                            # (M, C) each
    # channel c is in the window of c' when c' is within ⌊(n−1)/2⌋ below or ⌊n/2⌋ above: the band, transposed
    band = np.ascontiguousarray(channel_band(x.shape[1], size).T.astype(x.dtype))
    dx = np.empty_like(x_rows)

    def compute(chunk):
        out = dx[chunk]
        np.matmul(dy[chunk] * y[chunk] / s[chunk], band, out=out)
        out *= x_rows[chunk]
        out *= -2 * alpha * beta
        out += dy[chunk] * _power(s[chunk], beta)

    parallel_for(compute, _chunks(x_rows))
    return from_rows(dx, x)


def _power(s, beta):
    """s^(−β); for the paper's β = ¾ by square roots, which cost a fraction of a power."""
    if beta != 0.75:
        return s**-beta
    root = np.sqrt(s)
    return 1 / (root * np.sqrt(root))


def _chunks(rows):
    size = max(1, CHUNK_VALUES // 2 // max(1, rows.shape[1]))      # half: several arrays of that size share the cache
    return [slice(start, start + size) for start in range(0, len(rows), size)]


def channel_band(C: int, size: int) -> np.ndarray:
    """(C, C) booleans: whether channel c' (row) is in the window of channel c (column) of a local response norm.

    The window is c − ⌊size/2⌋ ≤ c' ≤ c + ⌊(size−1)/2⌋: of an even size, one channel more before c than after it.
    """
    ahead = np.arange(C)[:, None] - np.arange(C)                              # c' − c
    return (ahead >= -(size // 2)) & (ahead <= (size - 1) // 2)
