"""The implicit product on tensor cores (kernels/mma.cuh, tensor_core.cu), from compute capability 8.0 on.

A float32 product is computed as 3xTF32: each factor is the sum of two numbers that a tensor core can multiply, and
three of the four products are added; the fourth is 2⁻²² of the product, less than float32's own rounding. With
minicnn.allow_tf32(), each factor is rounded to one such number instead: a third of the work, three digits. (An infinite
factor gives NaN in 3xTF32, because splitting it computes ∞ − ∞.)
"""

from minicnn.gpu.conv import implicit_gemm
from minicnn.settings import tf32_allowed

FILE = "tensor_core.cu"
SHAPES = {1: ((128, 128), (64, 128), (64, 64)), 3: ((64, 128), (64, 64))}     # 3: 128 × 128 takes too many registers
TILES = {terms: {(rows, columns): f"TensorTile<{terms},{rows},{columns}>" for rows, columns in shapes}
         for terms, shapes in SHAPES.items()}  # fmt: skip


def supports(gpu, g, dtype):
    """float32, on a GPU that has tensor cores for TF32."""
    return dtype == "float32" and gpu.compute_capability >= 80 and implicit_gemm.supports(gpu, g, dtype)


def conv2d(gpu, x, w, b, g, relu=False):
    return implicit_gemm.gathered(gpu, x, w, b, g, FILE, tiles(), relu)


def conv2d_dx(gpu, dy, w, g):
    return implicit_gemm.gathered_dx(gpu, dy, w, g, FILE, tiles())


def conv2d_dw(gpu, dy, x, g):
    return implicit_gemm.gathered_dw(gpu, dy, x, g, FILE, tiles())


def tiles():
    return TILES[1 if tf32_allowed() else 3]
