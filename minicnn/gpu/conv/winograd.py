"""Winograd's convolution F(4×4, 3×3): 36 products instead of 144 (kernels/winograd.cu and cuBLAS).

    V = Bᵀ x B     U = G w Gᵀ     M = U · V, 36 matrix products     y = Aᵀ M A

It is fast for many channels: the transforms read and write each image 2¼ times, for any number of filters. The
transforms cost a digit; rounding the products to TF32 would cost three more, so minicnn.allow_tf32() does not.
dx is the convolution of dy with the filters turned by 180°; dw = Gᵀ [ Σ (A dy Aᵀ) · Vᵀ ] G.
"""

from dataclasses import replace

from minicnn.geometry import Axis
from minicnn.gpu.gemm import gemm

CHUNK_BYTES = 256 << 20
"""Bytes of transformed tiles in a chunk of images."""


def supports(gpu, g, dtype):
    """3×3 filters at stride 1, without dilation, in one group."""
    return g.KH == g.KW == 3 and g.G == 1 and all(a.stride == a.dilation == 1 for a in (g.vertical, g.horizontal))


def conv2d(gpu, x, w, b, g, relu=False):
    """y = Aᵀ [ (G w Gᵀ) · (Bᵀ x B) ] A + b"""
    xp = gpu.xp
    x, w, b = xp.ascontiguousarray(x), xp.ascontiguousarray(w), None if b is None else xp.ascontiguousarray(b)
    y, U = xp.empty((g.N, g.O, g.OH, g.OW), x.dtype), transformed_filters(gpu, w)         # U (36, O, C)
    for chunk, n, P in chunks(g, x.dtype):
        M = xp.empty((36, g.O, P), x.dtype)
        gemm(gpu, U, transformed_images(gpu, x[chunk], g), M, rounded=False)   # (36, O, C) · (36, C, P) → (36, O, P)
        gpu.kernel("winograd.cu", "winograd_outputs", x.dtype).over(
            g.O * P, M, b, y[chunk], n, g.O, g.OH, g.OW, *tiles(g), g.OW % 4 == 0, relu
        )
    return y


def conv2d_dx(gpu, dy, w, g):
    """The convolution of dy with the filters turned by 180°, inputs and outputs exchanged."""
    turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]                        # (C, O, 3, 3)
    # pixel h is read by window h + P − p: tap p of the turned filter reads dy at h − (2 − P) + p
    axes = [Axis(a.out, 3, 1, 2 - a.before, 2 - a.after) for a in (g.vertical, g.horizontal)]
    return conv2d(gpu, dy, turned, None, replace(g, C=g.O, O=g.C, vertical=axes[0], horizontal=axes[1]))


def conv2d_dw(gpu, dy, x, g):
    """dw = Gᵀ [ Σ_P (A dy Aᵀ) · Vᵀ ] G"""
    xp = gpu.xp
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    dw, dU = xp.empty((g.O, g.C, 3, 3), x.dtype), xp.zeros((36, g.O, g.C), x.dtype)
    for chunk, n, P in chunks(g, x.dtype):
        D = xp.empty((36, g.O, P), x.dtype)
        gpu.kernel("winograd.cu", "winograd_gradients", x.dtype).over(
            g.O * P, dy[chunk], D, n, g.O, g.OH, g.OW, *tiles(g)
        )
        V = transformed_images(gpu, x[chunk], g)
        gemm(gpu, D, V.transpose(0, 2, 1), dU, accumulate=True, rounded=False)   # (36, O, P) · (36, P, C) → (36, O, C)
    gpu.kernel("winograd.cu", "winograd_filter_gradients", x.dtype)((-(-g.O * g.C // 256),), (256,), dU, dw, g.O * g.C)
    return dw


def transformed_images(gpu, x, g):
    """V = Bᵀ x B: x (n,C,H,W) → (36, C, P)"""
    TH, TW = tiles(g)
    V = gpu.xp.empty((36, g.C, len(x) * TH * TW), x.dtype)
    gpu.kernel("winograd.cu", "winograd_images", x.dtype).over(
        V.size // 36, x, V, len(x), g.C, g.H, g.W, g.vertical.before, g.horizontal.before, TH, TW
    )
    return V


def transformed_filters(gpu, w):
    """U = G w Gᵀ: w (O,C,3,3) → (36, O, C)"""
    O, C = w.shape[:2]
    U = gpu.xp.empty((36, O, C), w.dtype)
    gpu.kernel("winograd.cu", "winograd_filters", w.dtype)((-(-O * C // 256),), (256,), w, U, O * C)
    return U


def tiles(g):
    """The number of tiles of 4×4 outputs in an image, down and across."""
    return -(-g.OH // 4), -(-g.OW // 4)


def chunks(g, dtype):
    """(slice of images, number of images, number of tiles): chunks for which V and M take about CHUNK_BYTES."""
    TH, TW = tiles(g)
    step = max(1, CHUNK_BYTES // (36 * (g.C + g.O) * TH * TW * dtype.itemsize))
    for start in range(0, g.N, step):
        n = min(step, g.N - start)
        yield slice(start, start + n), n, n * TH * TW
