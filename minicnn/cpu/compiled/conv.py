"""Which kernel computes a convolution."""

import numpy as np

from minicnn.cpu import conv as numpy_conv
from minicnn.cpu.compiled import direct, winograd
from minicnn.settings import requested_algorithm


def conv2d(x, w, b, g, relu=False):
    if (algorithm := choose(g, x.dtype)) is None:
        y = numpy_conv.conv2d(x, w, b, g)
        return np.maximum(y, 0, out=y) if relu else y
    return algorithm.conv2d(x, w, b, g, relu)


def conv2d_dx(dy, w, g):
    return (choose(g, dy.dtype) or numpy_conv).conv2d_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    return (choose(g, x.dtype) or numpy_conv).conv2d_dw(dy, x, g)


def choose(g, dtype):
    """The module that computes a convolution of geometry g; None for the NumPy backend."""
    asked = requested_algorithm()
    if asked == "winograd" and winograd.supports(g, dtype): return winograd
    if asked not in ("auto","winograd") or not direct.supports(g, dtype):
        return None
    return direct
