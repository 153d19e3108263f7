"""Arrays as the kernels take them: contiguous, aligned, writable. An array that is so already is not copied."""

import numpy as np

from minicnn.cpu.elements import same_layout

F32 = np.dtype(np.float32)


def usable(a):
    """`a` itself, or a contiguous copy. Kernels refuse read-only arrays, also those that they only read."""
    return a if a.flags.carray else a.copy()


def images(x):
    """x (N,C,H,W) → (N,H,W,C)"""
    return usable(x.transpose(0, 2, 3, 1))


def pixels(x):
    """x (N,C,…) → (M,C), one pixel a row"""
    if x.ndim == 4:
        x = x.transpose(0, 2, 3, 1)
    elif x.ndim != 2:
        x = x.transpose(0, *range(2, x.ndim), 1)
    return usable(x).reshape(-1, x.shape[-1])


def from_pixels(rows, like):
    """rows (M,C) → the view with the shape (N,C,…) of `like`"""
    if like.ndim == 2:
        return rows
    N, C, *size = like.shape
    view = rows.reshape(N, *size, C)
    return view.transpose(0, 3, 1, 2) if like.ndim == 4 else view.transpose(0, -1, *range(1, like.ndim - 1))


def vector(values):
    """Per-channel values (C,) in float32"""
    return values if values.dtype == F32 and values.flags.carray else values.astype(F32)


def flat(a):
    """The values of an array in memory order, (size,); None if it has gaps."""
    if not a.flags.c_contiguous:
        if a.ndim == 4:
            a = a.transpose(0, 2, 3, 1)                            # channels last
        if not a.flags.c_contiguous:
            return _any_order(a)
    return usable(a).reshape(-1)


def _any_order(a):
    a = a.transpose(sorted(range(a.ndim), key=lambda i: (-a.strides[i], -a.shape[i])))
    return usable(a).reshape(-1) if a.flags.c_contiguous else None


def in_order_of(a, b):
    """The values of b, flat, in the memory order of `a`, which has the same shape and no gaps."""
    if b.strides != a.strides and not (a.flags.c_contiguous and b.flags.c_contiguous) and not same_layout(a, b):
        copy = np.empty_like(a, b.dtype)
        copy[...] = b
        b = copy
    return flat(b)
