"""Which algorithm computes a convolution on a GPU.

Each algorithm is a file with the same four functions as on the CPU: `supports` (whether it can), `conv2d`, `conv2d_dx`,
`conv2d_dw`. `im2col` is the textbook algorithm; read it first. POLICY chooses, unless an algorithm is requested by name
(minicnn.conv_algorithm).
"""

from __future__ import annotations

from minicnn.gpu.conv import depthwise, im2col, implicit_gemm, pointwise, tensor_core, winograd
from minicnn.settings import requested_algorithm

ALGORITHMS = {
    "im2col": im2col, "implicit_gemm": implicit_gemm, "tensor_core": tensor_core, "pointwise": pointwise,
    "winograd": winograd, "depthwise": depthwise,
}  # fmt: skip

POLICY = (
    ("depthwise", lambda g: True),                                 # limited by memory, and this one copies nothing
    ("pointwise", lambda g: g.vertical.stride == g.horizontal.stride == 1),       # one product, without any copy
    ("tensor_core", lambda g: True),                               # float32 on tensor cores
    ("implicit_gemm", lambda g: True),
    ("im2col", lambda g: True),
)
"""(algorithm, where it is the fastest), best first. Derived from operation counts: not yet timed on a GPU."""


def choose(gpu, g, dtype) -> str:
    """The name of the algorithm that computes a convolution of geometry g."""
    asked = requested_algorithm()
    if asked in ALGORITHMS and ALGORITHMS[asked].supports(gpu, g, dtype):
        return asked
    return next(name for name, fits in POLICY if fits(g) and ALGORITHMS[name].supports(gpu, g, dtype))


def conv2d(gpu, x, w, b, g, relu=False):
    return ALGORITHMS[choose(gpu, g, x.dtype)].conv2d(gpu, x, w, b, g, relu)


def conv2d_dx(gpu, dy, w, g):
    return ALGORITHMS[choose(gpu, g, dy.dtype)].conv2d_dx(gpu, dy, w, g)


def conv2d_dw(gpu, dy, x, g):
    return ALGORITHMS[choose(gpu, g, x.dtype)].conv2d_dw(gpu, dy, x, g)
