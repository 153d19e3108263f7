"""Which convolution algorithm computes what.

Each algorithm is a file with the same four functions: `able` (can it?), `conv2d`, `conv2d_dx`, `conv2d_dw`. `im2col` is
the textbook's and the one to read first; `tiled` is the same in tiles; the others save multiplications or copies where
the geometry lets them. POLICY is what is chosen when nobody says otherwise (minicnn.conv_algorithm does). What it
chooses holds, beside its arguments and its result, 20 MB a thread at most, and the filters 4 times and once more a
thread.
"""

from __future__ import annotations

import functools

import numpy as np

from minicnn.cpu.conv import banded, depthwise, few, im2col, pointwise, tiled, winograd
from minicnn.settings import asked_algorithm

ALGORITHMS = {
    "im2col": im2col, "tiled": tiled, "pointwise": pointwise, "winograd": winograd, "depthwise": depthwise,
    "banded": banded, "few": few,
}  # fmt: skip

POLICY = (
    # the first that is able and fits; why: milliseconds, forward / dx / dw, on two cores of a Zen 4
    # 16×512×14², 3×3: 2.0 / 1.5 / 1.6; winograd 10.5 / 10.2 / 7.6
    ("depthwise", lambda g: True),
    # 1×512×4² → 512, 3×3: 1.3 / 0.9 / 0.9; banded 2.5 / 2.7 / 8.1
    ("few", lambda g: min(256, g.O) >= g.N * g.OH * g.OW),
    # 16×1024×14² → 256, 1×1: 8.6 / 8.5 / 9.1; banded 9.1 / 8.8 / 9.6
    ("pointwise", lambda g: True),
    # 64×64×32² → 64, 3×3: 13.1 / 12.4 / 13.3; banded 25.6 / 24.5 / 28.8
    ("winograd", lambda g: min(g.C, g.O) >= 16 and g.N * g.OH * g.OW >= 512),
    # 128×1×32² → 6, 5×5: 0.8 / 1.4 / 0.9; tiled 2.4 / 3.4 / 2.6
    ("banded", lambda g: True),
    ("tiled", lambda g: True),
)
"""(algorithm, where it is the fastest), best first. In float64 Winograd is left out: who asks for it wants digits."""


def choose(g, dtype) -> str:
    """The name of the algorithm that computes a convolution of geometry g."""
    return _choose(asked_algorithm(), g, np.dtype(dtype))


@functools.lru_cache(4096)
def _choose(asked, g, dtype):
    if asked in ALGORITHMS and ALGORITHMS[asked].able(g, dtype):
        return asked
    return next(name for name, fits in POLICY
                if ALGORITHMS[name].able(g, dtype) and fits(g) and not (dtype == np.float64 and name == "winograd"))


def conv2d(x, w, b, g):
    with _spurious():
        return ALGORITHMS[choose(g, x.dtype)].conv2d(x, w, b, g)


def conv2d_dx(dy, w, g):
    with _spurious():
        return ALGORITHMS[choose(g, dy.dtype)].conv2d_dx(dy, w, g)


def conv2d_dw(dy, x, g):
    with _spurious():
        return ALGORITHMS[choose(g, x.dtype)].conv2d_dw(dy, x, g)


def _spurious():
    """OpenBLAS computes on what lies beside a small matrix too, and drops it: warnings about that mean nothing."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore")
