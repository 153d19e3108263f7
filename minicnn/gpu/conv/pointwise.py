"""1×1 filters: a matrix product, no kernel of our own.

    y (N, O, L)  =  w (O, C) · x (N, C, L) + b         L pixels of an image; all images in one call

With a stride, the pixels that the filters read are selected first.
"""

from minicnn.gpu.conv.implicit_gemm import sum_of_parts
from minicnn.gpu.gemm import gemm

PARALLEL_IMAGES = 8
"""Images whose dw are computed in one call, each added to a separate sum."""


def supports(gpu, g, dtype):
    """One tap, one group, no padding."""
    pads = [p for a in (g.vertical, g.horizontal) for p in (a.before, a.after)]
    return g.KH == g.KW == g.G == 1 and not any(pads)


def conv2d(gpu, x, w, b, g, relu=False):
    """y = w · x + b"""
    y = gpu.xp.empty((g.N, g.O, g.OH * g.OW), x.dtype)
    gemm(gpu, w.reshape(g.O, g.C), pixels_read(gpu, x, g), y)                      # (O, C) · (N, C, L) → (N, O, L)
    if b is not None:
        y += b.reshape(g.O, 1)
    if relu:
        gpu.xp.maximum(y, 0, out=y)
    return y.reshape(g.N, g.O, g.OH, g.OW)


def conv2d_dx(gpu, dy, w, g):
    """dx = wᵀ · dy, at the pixels that were read"""
    xp = gpu.xp
    dx, dy = xp.empty((g.N, g.C, g.OH, g.OW), dy.dtype), xp.ascontiguousarray(dy).reshape(g.N, g.O, g.OH * g.OW)
    gemm(gpu, w.reshape(g.O, g.C).T, dy, dx.reshape(g.N, g.C, g.OH * g.OW))   # (C, O) · (N, O, L) → (N, C, L)
    if dx.shape[2:] == (g.H, g.W):
        return dx
    dx_read, dx = dx, xp.zeros((g.N, g.C, g.H, g.W), dy.dtype)
    dx[:, :, :: g.vertical.stride, :: g.horizontal.stride] = dx_read
    return dx


def conv2d_dw(gpu, dy, x, g):
    """dw = Σ_n dy · xᵀ: PARALLEL_IMAGES at a time, each added to a separate sum; then the sum of the sums."""
    xp = gpu.xp
    x, dy = pixels_read(gpu, x, g), xp.ascontiguousarray(dy).reshape(g.N, g.O, g.OH * g.OW)
    sums = xp.zeros((max(1, min(PARALLEL_IMAGES, g.N)), g.O, g.C, 1, 1), x.dtype)
    for n in range(0, g.N, PARALLEL_IMAGES):
        here = slice(n, n + PARALLEL_IMAGES)
        out = sums[: len(x[here])].reshape(-1, g.O, g.C)
        gemm(gpu, dy[here], x[here].transpose(0, 2, 1), out, accumulate=True)      # (n, O, L) · (n, L, C) → (n, O, C)
    return sum_of_parts(gpu, sums)


def pixels_read(gpu, x, g):
    """The pixels that the filters read: (N, C, L)"""
    x = x[:, :, :: g.vertical.stride, :: g.horizontal.stride]
    return gpu.xp.ascontiguousarray(x).reshape(g.N, g.C, g.OH * g.OW)
