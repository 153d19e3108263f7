"""Which algorithm computes a convolution.

Each algorithm is a file with the same four functions: `supports` (whether it can), `conv2d`, `conv2d_dx`, `conv2d_dw`.
`im2col` is the textbook algorithm; read it first. `tiled` computes it tile by tile. The others save multiplications or
copies for some geometries. POLICY chooses, unless an algorithm is requested by name (minicnn.conv_algorithm). The extra
memory of its choice is at most 20 MB per thread, 4 copies of the filters, and one more copy per thread.
"""

from __future__ import annotations

import functools

import numpy as np

from minicnn.cpu.conv import depthwise, few_channels, few_pixels, im2col, pointwise, tiled, winograd
from minicnn.cpu.elements import relu_in_place
from minicnn.settings import requested_algorithm

ALGORITHMS = {
    "im2col": im2col, "tiled": tiled, "pointwise": pointwise, "winograd": winograd, "depthwise": depthwise,
    "few_channels": few_channels, "few_pixels": few_pixels,
}  # fmt: skip

POLICY = (
    # the first that supports the layer and fits it; why: milliseconds, forward / dx / dw, on two cores of a Zen 4
    # 16×512×14², 3×3: 2.0 / 1.5 / 1.6; winograd 10.5 / 10.2 / 7.6
    ("depthwise", lambda g: True),
    # 1×512×4² → 512, 3×3: 1.3 / 0.9 / 0.9; few_channels 2.5 / 2.7 / 8.1
    ("few_pixels", lambda g: min(256, g.O) >= g.N * g.OH * g.OW),
    # 16×1024×14² → 256, 1×1: 8.6 / 8.5 / 9.1; few_channels 9.1 / 8.8 / 9.6
    ("pointwise", lambda g: True),
    # 64×64×32² → 64, 3×3: 13.1 / 12.4 / 13.3; few_channels 25.6 / 24.5 / 28.8
    ("winograd", lambda g: min(g.C, g.O) >= 16 and g.N * g.OH * g.OW >= 512),
    # 128×1×32² → 6, 5×5: 0.8 / 1.4 / 0.9; tiled 2.4 / 3.4 / 2.6
    ("few_channels", lambda g: True),
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
    if relu:
        relu_in_place(y)
    return y


def conv2d_dx(dy, w, g):
    with _ignore_float_errors():
        return ALGORITHMS[choose(g, dy.dtype)].conv2d_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    with _ignore_float_errors():
        return ALGORITHMS[choose(g, x.dtype)].conv2d_dw(dy, x, g)


def _ignore_float_errors():
    """OpenBLAS also computes on memory next to a small matrix and discards the results: ignore their warnings."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore")
