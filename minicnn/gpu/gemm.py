"""Matrix products with cuBLAS.

`cupy.matmul` copies transposed operands in 3 dimensions, and repeats an operand that all products of a batch share.
cuBLAS itself needs neither, so it is called directly: a transposed matrix is a flag, and a shared one has a stride of 0
from one product to the next.
"""

import numpy as np

from minicnn.settings import tf32_allowed

FLOAT64 = np.dtype(np.float64)
REAL_32F, REAL_64F = 0, 1                                          # cudaDataType: CUDA_R_32F, CUDA_R_64F
COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70       # cublasComputeType_t
DEFAULT_ALGORITHM = -1                                             # CUBLAS_GEMM_DEFAULT
FACTORS = {dtype: np.array([0, 1], dtype) for dtype in (np.dtype(np.float32), FLOAT64)}
"""0 and 1 in memory that cuBLAS reads."""
AT = {dtype: (pair.ctypes.data, pair.ctypes.data + dtype.itemsize) for dtype, pair in FACTORS.items()}
"""Their addresses."""


def matmul(gpu, a, b, bias=None):
    y = gpu.xp.empty((a.shape[0], b.shape[1]), a.dtype)
    gemm(gpu, a, b, y)
    if bias is not None:
        y += bias
    return y


def gemm(gpu, a, b, out, accumulate=False, rounded=True):
    """out = a · b, or out += a · b; for a batch, one product for each item. rounded: to TF32, where that is allowed

    a (M,K) or (B,M,K)   b (K,L) or (B,K,L)   out (M,L) or (B,M,L), stored row by row. A 2-D operand is used for the
    whole batch. Operands may be stored row by row or column by column, with gaps; they are not copied.

    cuBLAS stores matrices column by column, so it computes outᵀ = bᵀ · aᵀ: a and b are exchanged.
    """
    xp = gpu.xp
    (M, L), K, batch = out.shape[-2:], a.shape[-1], out.shape[0] if out.ndim == 3 else 1
    if out.size == 0:
        return
    if K == 0:
        if not accumulate:
            out[...] = 0
        return
    for name, matrix in (("a", a), ("b", b), ("out", out)):
        if matrix.size > 2**31 - 1:
            raise ValueError(f"gemm: {name} has {matrix.size:,} elements, too many for one product: "
                             "use a smaller batch")
    a, lda, stride_a, a_turned = _laid_out(xp, a)
    b, ldb, stride_b, b_turned = _laid_out(xp, b)
    same, ldc, stride_c, c_turned = _laid_out(xp, out)
    if same is not out or c_turned:
        raise ValueError("gemm: out must be stored row by row")
    zero, one = AT[out.dtype]
    real, compute = REAL_32F, COMPUTE_32F_FAST_TF32 if rounded and tf32_allowed() else COMPUTE_32F
    if out.dtype == FLOAT64:
        real, compute = REAL_64F, COMPUTE_64F
    xp.cuda.cublas.gemmStridedBatchedEx(
        xp.cuda.get_cublas_handle(), int(b_turned), int(a_turned), L, M, K, one,
        b.data.ptr, real, ldb, stride_b, a.data.ptr, real, lda, stride_a,
        one if accumulate else zero, out.data.ptr, real, ldc, stride_c, batch, compute, DEFAULT_ALGORITHM,
    )  # fmt: skip


def _laid_out(xp, matrix):
    """(the matrices, elements from row to row, from matrix to matrix, whether they are stored column by column)"""
    item = matrix.dtype.itemsize
    rows, columns = matrix.shape[-2:]
    down, across = (s // item for s in matrix.strides[-2:])
    if columns == 1:
        across = 1                                                 # one element: its stride does not matter
    if rows == 1 and across == 1:
        down = columns
    between = matrix.strides[0] // item if matrix.ndim == 3 else 0
    if across == 1 and down >= columns:
        return matrix, down, between, False
    if rows == 1:
        down = 1
    if down == 1 and across >= rows:
        return matrix, across, between, True
    copy = xp.ascontiguousarray(matrix)
    return copy, columns, rows * columns if matrix.ndim == 3 else 0, False
