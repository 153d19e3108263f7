"""Local response normalisation: a sliding sum over the channels of a pixel (kernels/lrn.cu)."""

import math

from minicnn.gpu.maps import over_maps

CHUNK_CHANNELS = 16
"""Channels of a chunk, the part of a pixel that a thread computes: with fewer, windows overlap more and more values are
read twice; with more, there are too few threads."""


def local_response_norm(gpu, x, size, alpha, beta, k):
    x = gpu.xp.ascontiguousarray(x)
    y, s = gpu.xp.empty(x.shape, x.dtype), gpu.xp.empty(x.shape, x.dtype)
    _launch(gpu, "lrn", x.shape, size, x, y, s, alpha, beta, k)
    return y, s


def local_response_norm_dx(gpu, dy, x, y, s, size, alpha, beta):
    dy, x, y, s = (gpu.xp.ascontiguousarray(a, x.dtype) for a in (dy, x, y, s))
    dx = gpu.xp.empty(x.shape, x.dtype)
    _launch(gpu, "lrn_dx", x.shape, size, dy, x, y, s, dx, alpha, beta)
    return dx


def _launch(gpu, name, shape, size, x, *arrays_and_numbers):
    (N, C), P = shape[:2], math.prod(shape[2:])
    chunks = -(-C // CHUNK_CHANNELS)                                                   # of an image
    arrays = [x, *(a for a in arrays_and_numbers if hasattr(a, "shape"))]
    numbers = [a for a in arrays_and_numbers if not hasattr(a, "shape")]
    kernel = gpu.kernel("lrn.cu", name, x.dtype)
    over_maps(kernel, N * chunks, P, *arrays, N * chunks, CHUNK_CHANNELS, C, P, size // 2, (size - 1) // 2, *numbers)
