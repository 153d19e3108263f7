"""Local response normalisation. The sum over neighbouring channels is a product of the pixels with a band of ones."""

import numpy as np

from minicnn.cpu.layout import from_rows, to_rows
from minicnn.cpu.threads import parallel_for

PIECE = 1 << 16
"""Values in a piece: what is made of it on the way stays in the cache."""


def local_response_norm(x, size, alpha, beta, k):
    rows = to_rows(x)                                                         # (M, C)
    band = _band(x.shape[1], size, x.dtype)
    y, s = np.empty_like(rows), np.empty_like(rows)

    def work(piece):
        np.matmul(rows[piece] * rows[piece], band, out=s[piece])
        s[piece] *= alpha
        s[piece] += k
        np.multiply(rows[piece], _damping(s[piece], beta), out=y[piece])

    parallel_for(work, _pieces(rows))
    return from_rows(y, x), from_rows(s, x)


def local_response_norm_dx(dy, x, y, s, size, alpha, beta):
    dy, x_rows, y, s = map(to_rows, (dy, x, y, s))                            # (M, C) each
    # channel c is in the window of c' when c' is within ⌊(n−1)/2⌋ below or ⌊n/2⌋ above: the window, mirrored
    band = np.ascontiguousarray(_band(x.shape[1], size, x.dtype).T)
    dx = np.empty_like(x_rows)

    def work(piece):
        here = dx[piece]
        np.matmul(dy[piece] * y[piece] / s[piece], band, out=here)
        here *= x_rows[piece]
        here *= -2 * alpha * beta
        here += dy[piece] * _damping(s[piece], beta)

    parallel_for(work, _pieces(x_rows))
    return from_rows(dx, x)


def _band(C, size, dtype):
    """(C, C): 1 where channel c' (down) is in the window of c (across), c − ⌊n/2⌋ ≤ c' ≤ c + ⌊(n−1)/2⌋"""
    ahead = np.arange(C)[:, None] - np.arange(C)                              # c' − c
    return ((ahead >= -(size // 2)) & (ahead <= (size - 1) // 2)).astype(dtype)


def _damping(s, beta):
    """s^(−β); for the paper's β = ¾ by roots, which cost a fraction of a power."""
    if beta != 0.75:
        return s**-beta
    root = np.sqrt(s)
    return 1 / (root * np.sqrt(root))


def _pieces(rows):
    size = max(1, PIECE // max(1, rows.shape[1]))
    return [slice(start, start + size) for start in range(0, len(rows), size)]
