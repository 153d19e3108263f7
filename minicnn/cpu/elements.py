"""A function of single elements, on all threads and within the cache: large arrays go through it in pieces."""

import numpy as np

from minicnn.cpu.threads import num_threads, parallel_for, split

PIECE = 1 << 17
"""Values in a piece: small enough for the cache, large enough to be worth the call."""
SMALL = 1 << 15
"""Fewer values than this are done before another thread has heard of them."""


def elementwise(function, *arguments):
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    x = arrays[0]
    if x.size < SMALL or any(a.shape != x.shape for a in arrays):
        return function(*arguments)
    one = (slice(1),) * x.ndim
    y = np.empty_like(x, function(*[a[one] if isinstance(a, np.ndarray) else a for a in arguments]).dtype)
    size, out = piece_size(y.size), flat(y)
    # a number becomes an array: NumPy's maximum, for one, takes three times as long with a number
    inputs = [flat(as_laid_out(a, y)) if isinstance(a, np.ndarray) else np.full(size, a, x.dtype) for a in arguments]

    def work(start):
        here = out[start : start + size]
        values = [a[start : start + size] if len(a) == len(out) else a[: len(here)] for a in inputs]
        if isinstance(function, np.ufunc):
            function(*values, out=here)
        else:
            here[...] = function(*values)

    parallel_for(work, range(0, y.size, size), y.size)
    return y


def piece_size(total):
    """Values a piece: PIECE, or less if some thread would get none."""
    return min(PIECE, -(-total // num_threads()))


def flat(a):
    """The values of an array without gaps, in the order in which they lie in memory: a view."""
    return a.transpose(sorted(range(a.ndim), key=lambda i: (-a.strides[i], -a.shape[i]))).reshape(-1)


def as_laid_out(a, like):
    """The values of `a` in memory as those of `like`, which has the same shape and no gaps."""
    if laid_out_alike(a, like):
        return a
    copy = np.empty_like(like, a.dtype)

    def work(share):
        copy[slice(*share)] = a[slice(*share)]

    parallel_for(work, split(len(a), 4 * num_threads()))
    return copy


def laid_out_alike(a, like):
    """Whether equal indices are equal places in memory; axes of one element have no say."""
    return all(n == 1 or s * like.itemsize == t * a.itemsize for n, s, t in zip(a.shape, a.strides, like.strides))
