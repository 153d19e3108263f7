"""cuBLAS's one call that minicnn makes, on raw pointers and column by column, as the real one."""

import ctypes

import numpy as np

_REAL = {0: np.float32, 1: np.float64}
_COMPUTE = {68: 0, 77: 0, 70: 1}                                   # which compute type goes with which cudaDataType


def gemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta,
                         C, Ctype, ldc, strideC, batchCount, computeType, algo):  # fmt: skip
    """C[i] = alpha · op(A[i]) · op(B[i]) + beta · C[i]"""
    if not Atype == Btype == Ctype == _COMPUTE[computeType]:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED: types do not match")
    dtype = _REAL[Atype]
    number = ctypes.POINTER(np.ctypeslib.as_ctypes_type(dtype))
    one, scale = (ctypes.cast(p, number).contents.value for p in (alpha, beta))
    a = _matrices(A, *((k, m) if transa else (m, k)), lda, strideA, batchCount, dtype)
    b = _matrices(B, *((n, k) if transb else (k, n)), ldb, strideB, batchCount, dtype)
    c = _matrices(C, m, n, ldc, strideC, batchCount, dtype)
    a, b = (x.transpose(0, 2, 1) if turned else x for x, turned in ((a, transa), (b, transb)))
    if computeType == 77:
        a, b = tf32(a), tf32(b)
    with np.errstate(all="ignore"):
        for i in range(batchCount):
            c[i] = one * (a[i] @ b[i]) + (scale * c[i] if scale else 0)


def tf32(x):
    """Rounded to 10 bits of mantissa."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def _matrices(pointer, rows, columns, ld, stride, batch, dtype):
    if ld < max(1, rows):
        raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE: a leading dimension is smaller than the matrix")
    size, item = (batch - 1) * stride + (columns - 1) * ld + rows, np.dtype(dtype).itemsize
    flat = np.frombuffer((ctypes.c_char * (size * item)).from_address(pointer), dtype)
    return np.lib.stride_tricks.as_strided(flat, (batch, rows, columns), (item * stride, item, item * ld))
