"""Which algorithm computes a convolution on a GPU.

Each algorithm is a file with the same four functions as on the CPU: `supports` (whether it can), `conv2d`, `conv2d_dx`,
`conv2d_dw`. `im2col` is the textbook algorithm; read it first. POLICY chooses, unless an algorithm is requested by name
(minicnn.conv_algorithm).
"""

from __future__ import annotations

from minicnn.gpu.conv import depthwise, im2col, implicit_gemm, pointwise, tensor_core, winograd
from minicnn.settings import requested_algorithm, tf32_allowed

ALGORITHMS = {
    "im2col": im2col, "implicit_gemm": implicit_gemm, "tensor_core": tensor_core, "pointwise": pointwise,
    "winograd": winograd, "depthwise": depthwise,
}  # fmt: skip

POLICY = (
    ("depthwise", lambda g, what, dtype: True),                    # limited by memory, and this one copies nothing
    ("pointwise", lambda g, what, dtype: what != "dw" and g.vertical.stride == g.horizontal.stride == 1),
    ("winograd", lambda g, what, dtype: dtype == "float32" and g.N * g.OH * g.OW * g.C * g.O >= ENOUGH_FOR_WINOGRAD),
    # a tile of the implicit product has room for 64 channels
    ("im2col", lambda g, what, dtype: what == "dx" and g.G == 1 and g.C <= 8 and g.vertical.stride > 1),
    ("tensor_core", lambda g, what, dtype: tf32_allowed()),        # as 3xTF32 about as fast as the ordinary units
    ("implicit_gemm", lambda g, what, dtype: True),
    ("im2col", lambda g, what, dtype: True),
)
"""(algorithm, where it is the fastest), best first; what: "y", "dx" or "dw".

Chosen from the times of each algorithm on an H200 (docs/benchmarks-gpu.md).
"""
ENOUGH_FOR_WINOGRAD = 1 << 26
"""Products at one tap, from which on four launches pay."""


def choose(gpu, g, dtype, what="y") -> str:
    """The name of the algorithm that computes a convolution of geometry g, or its gradient dx or dw."""
    asked = requested_algorithm()
    key = "algorithm", asked, tf32_allowed(), g, dtype, what
    if key not in gpu.cache:
        first = ((asked, lambda *_: True),) if asked in ALGORITHMS else ()
        gpu.cache[key] = next(name for name, fits in (*first, *POLICY)
                              if fits(g, what, dtype) and ALGORITHMS[name].supports(gpu, g, dtype))  # fmt: skip
    return gpu.cache[key]


def conv2d(gpu, x, w, b, g, relu=False):
    return ALGORITHMS[choose(gpu, g, x.dtype)].conv2d(gpu, x, w, b, g, relu)


def conv2d_dx(gpu, dy, w, g):
    return ALGORITHMS[choose(gpu, g, dy.dtype, "dx")].conv2d_dx(gpu, dy, w, g)


def conv2d_dw(gpu, dy, x, g):
    return ALGORITHMS[choose(gpu, g, x.dtype, "dw")].conv2d_dw(gpu, dy, x, g)
