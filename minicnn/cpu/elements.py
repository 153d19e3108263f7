"""Elementwise functions, on all threads and in chunks that stay in the cache."""

import functools

import numpy as np

from minicnn.cpu.threads import CHUNK_VALUES, PARTS, parallel_for, parts

MIN_CHUNKED_VALUES = 1 << 15
"""Arrays with fewer values are computed as a whole: they fit in the cache."""


def elementwise(function, *arguments):
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    x = arrays[0]
    if x.size < MIN_CHUNKED_VALUES or any(a.shape != x.shape for a in arrays):
        return function(*arguments)
    first = (slice(1),) * x.ndim                                   # one element gives the dtype of the result
    y = np.empty_like(x, function(*[a[first] if isinstance(a, np.ndarray) else a for a in arguments]).dtype)
    size, out = chunk_size(y.size), flat(y)
    # a number becomes an array: NumPy's maximum, for example, takes three times as long with a number
    inputs = [flat(with_layout(a, y)) if isinstance(a, np.ndarray) else np.full(size, a, x.dtype) for a in arguments]

    def compute(start):
        chunk = out[start : start + size]
        values = [a[start : start + size] if len(a) == len(out) else a[: len(chunk)] for a in inputs]
        if isinstance(function, np.ufunc):
            function(*values, out=chunk)
        else:
            chunk[...] = function(*values)

    parallel_for(compute, range(0, y.size, size), y.size)
    return y


def evaluate(formula, *arguments):
    return elementwise(functools.partial(formula, np), *arguments)


def relu(x):
    return elementwise(np.maximum, x, 0)


def relu_dx(dy, y):
    return elementwise(lambda y, dy: dy * (y > 0), y, dy)


def add(a, b):
    return elementwise(np.add, a, b)


def add_relu(a, b):
    return elementwise(lambda a, b: np.maximum(a + b, 0), a, b)


def chunk_size(total):
    """Values in a chunk: CHUNK_VALUES, or fewer so that there are several chunks."""
    return min(CHUNK_VALUES, -(-total // PARTS))


def flat(a):
    """A flat view of an array without gaps, in memory order."""
    return a.transpose(sorted(range(a.ndim), key=lambda i: (-a.strides[i], -a.shape[i]))).reshape(-1)


def with_layout(a, like):
    """`a` with the memory layout of `like`, which has the same shape and no gaps: `a` itself, or a copy."""
    if same_layout(a, like):
        return a
    copy = np.empty_like(like, a.dtype)

    def copy_part(part):
        copy[slice(*part)] = a[slice(*part)]

    parallel_for(copy_part, parts(len(a)), a.size)
    return copy


def same_layout(a, like):
    """Whether two arrays have the same memory layout; axes of size 1 are ignored."""
    return all(n == 1 or s * like.itemsize == t * a.itemsize for n, s, t in zip(a.shape, a.strides, like.strides))
