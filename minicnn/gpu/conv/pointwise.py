"""1×1 filters: a product of matrices as it stands, no kernel of ours.

    y (N, O, L)  =  w (O, C) · x (N, C, L) + b         L pixels of an image; all images in one call

With a stride the pixels in between are left out first.
"""

from minicnn.gpu.conv.implicit_gemm import sum_of_parts
from minicnn.gpu.gemm import gemm

PARTS = 8
"""Images whose dw are computed side by side."""


def supports(gpu, g, dtype):
    """One tap, one group, no padding."""
    pads = [p for a in (g.vertical, g.horizontal) for p in (a.before, a.after)]
    return g.KH == g.KW == g.G == 1 and not any(pads)


def conv2d(gpu, x, w, b, g):
    """y = w · x + b"""
    y = gpu.xp.empty((g.N, g.O, g.OH * g.OW), x.dtype)
    gemm(gpu, w.reshape(g.O, g.C), picked(gpu, x, g), y)                      # (O, C) · (N, C, L) → (N, O, L)
    if b is not None:
        y += b.reshape(g.O, 1)
    return y.reshape(g.N, g.O, g.OH, g.OW)


def conv2d_dx(gpu, dy, w, g):
    """dx = wᵀ · dy, at the pixels that were read"""
    xp = gpu.xp
    dx, dy = xp.empty((g.N, g.C, g.OH, g.OW), dy.dtype), xp.ascontiguousarray(dy).reshape(g.N, g.O, g.OH * g.OW)
    gemm(gpu, w.reshape(g.O, g.C).T, dy, dx.reshape(g.N, g.C, g.OH * g.OW))   # (C, O) · (N, O, L) → (N, C, L)
    if dx.shape[2:] == (g.H, g.W):
        return dx
    spread = xp.zeros((g.N, g.C, g.H, g.W), dy.dtype)
    spread[:, :, :: g.vertical.stride, :: g.horizontal.stride] = dx
    return spread


def conv2d_dw(gpu, dy, x, g):
    """dw = Σ_n dy · xᵀ: PARTS images at a time, each onto a sum of its own; then the sum of the sums."""
    xp = gpu.xp
    x, dy = picked(gpu, x, g), xp.ascontiguousarray(dy).reshape(g.N, g.O, g.OH * g.OW)
    sums = xp.zeros((max(1, min(PARTS, g.N)), g.O, g.C, 1, 1), x.dtype)
    for n in range(0, g.N, PARTS):
        here = slice(n, n + PARTS)
        out = sums[: len(x[here])].reshape(-1, g.O, g.C)
        gemm(gpu, dy[here], x[here].transpose(0, 2, 1), out, accumulate=True)      # (n, O, L) · (n, L, C) → (n, O, C)
    return sum_of_parts(gpu, sums)


def picked(gpu, x, g):
    """The pixels that the filters read: (N, C, L)"""
    x = x[:, :, :: g.vertical.stride, :: g.horizontal.stride]
    return gpu.xp.ascontiguousarray(x).reshape(g.N, g.C, g.OH * g.OW)
