"""Which kernel computes a convolution. What is left to the NumPy backend: float64, an algorithm of it that was asked
for by name, and the geometries of `_numpy_is_faster`.
"""

import functools

import numpy as np

from minicnn.cpu import conv as numpy_conv
from minicnn.cpu.compiled import depthwise, direct, winograd
from minicnn.settings import requested_algorithm

ALGORITHMS = {"depthwise": depthwise, "winograd": winograd, "direct": direct}


def conv2d(x, w, b, g, relu=False):
    return (choose(g, x.dtype) or numpy_conv).conv2d(x, w, b, g, relu)


def conv2d_dx(dy, w, g):
    return (choose(g, dy.dtype) or numpy_conv).conv2d_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    return (choose(g, x.dtype) or numpy_conv).conv2d_dw(dy, x, g)


def choose(g, dtype):
    """The module that computes a convolution of geometry g; None for the NumPy backend."""
    return _choose(requested_algorithm(), g, np.dtype(dtype))


@functools.lru_cache(4096)
def _choose(asked, g, dtype):
    if asked in ALGORITHMS and ALGORITHMS[asked].supports(g, dtype):
        return ALGORITHMS[asked]
    if asked in numpy_conv.ALGORITHMS and numpy_conv.ALGORITHMS[asked].supports(g, dtype):
        return None
    if not direct.supports(g, dtype) or _numpy_is_faster(g):
        return None
    if depthwise.supports(g, dtype):
        return depthwise
    if winograd.supports(g, dtype) and min(g.C, g.O) >= 16 and g.N * g.OH * g.OW >= 96:
        return winograd
    return direct


def _numpy_is_faster(g):
    """Large filters, whose products are so large that BLAS, which packs both factors, is the faster one."""
    filters = g.O * (g.C // g.G)
    large = filters > 1 << 17 and numpy_conv.choose(g, np.float32) == "winograd"
    few = g.N * g.OH * g.OW * 4 <= g.O and filters * g.KH * g.KW > 1 << 16
    return large or few
