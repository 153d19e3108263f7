"""Which algorithm computes a convolution.

Each algorithm is a file with the same four functions: `supports` (whether it can), `conv2d`, `conv2d_dx`, `conv2d_dw`.
`im2col` is the textbook algorithm; read it first. `tiled` computes it tile by tile. The others save multiplications or
copies for some geometries. POLICY chooses, unless an algorithm is requested by name (minicnn.conv_algorithm). The extra
memory of its choice is at most 20 MB per thread, 4 copies of the filters, and one more copy per thread.
"""

from __future__ import annotations

import functools

import numpy as np

from minicnn.cpu.conv import depthwise, im2col, pointwise, tiled, winograd
from minicnn.cpu.elements import elementwise
from minicnn.settings import requested_algorithm

ALGORITHMS = {
    "im2col": im2col, "tiled": tiled, "pointwise": pointwise, "winograd": winograd, "depthwise": depthwise,
}  # fmt: skip

POLICY = (
    # the first that supports the layer and fits it
    ("depthwise", lambda g: True),
    ("pointwise", lambda g: True),
    ("winograd", lambda g: min(g.C, g.O) >= 32 and g.N * g.OH * g.OW >= 512),
    ("im2col", lambda g: g.G == g.N == 1 and min(256, g.O) >= g.OH * g.OW),
    ("tiled", lambda g: True),
)
"""(algorithm, where it is the fastest), best first. Not Winograd in float64: float64 users want accuracy."""


def choose(g, dtype) -> str:
    """The name of the algorithm that computes a convolution of geometry g."""
    return _choose(requested_algorithm(), g, np.dtype(dtype))


@functools.lru_cache(4096)
def _choose(asked, g, dtype):
    if asked in ALGORITHMS and ALGORITHMS[asked].supports(g, dtype):
        return asked
    return next(name for name, fits in POLICY
                if ALGORITHMS[name].supports(g, dtype) and fits(g) and not (dtype == np.float64 and name == "winograd"))


def conv2d(x, w, b, g, relu=False):
    with _ignore_float_errors():
        y = ALGORITHMS[choose(g, x.dtype)].conv2d(x, w, b, g)
    return elementwise(np.maximum, y, 0) if relu else y


def conv2d_dx(dy, w, g):
    with _ignore_float_errors():
        return ALGORITHMS[choose(g, dy.dtype)].conv2d_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    with _ignore_float_errors():
        return ALGORITHMS[choose(g, x.dtype)].conv2d_dw(dy, x, g)


def _ignore_float_errors():
    """OpenBLAS also computes on memory next to a small matrix and discards the results: ignore their warnings."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore")
