"""One channel in each group, no matrix product: each filter slides over its own map (kernels/depthwise.cu).

There is little to compute for each value that is read, so memory limits the speed; im2col would write and read every
pixel KH·KW times.
"""

from minicnn.gpu.conv.implicit_gemm import sum_of_parts

ROWS_PER_THREAD = 4
"""Outputs of a thread at stride 1, one below the other."""


def supports(gpu, g, dtype):
    """One channel in each group; any number of filters for it."""
    return g.G == g.C > 0


def conv2d(gpu, x, w, b, g, relu=False):
    xp, times = gpu.xp, g.O // g.C
    x, w, b = xp.ascontiguousarray(x), xp.ascontiguousarray(w), None if b is None else xp.ascontiguousarray(b)
    y = xp.empty((g.N, g.O, g.OH, g.OW), x.dtype)
    if supports_rows(g):
        _rows(gpu, x, w, b, y, times, g.vertical.before, g.horizontal.before, relu)
    else:
        gpu.kernel("depthwise.cu", "depthwise", x.dtype).over(y.size, x, w, b, y, g.N, g.O, times, *_sizes(g), relu)
    return y


def conv2d_dx(gpu, dy, w, g):
    xp, times = gpu.xp, g.O // g.C
    dy, dx = xp.ascontiguousarray(dy), xp.empty((g.N, g.C, g.H, g.W), dy.dtype)
    if supports_rows(g) and times == 1:                                  # dy with the filters turned by 180°
        turned = xp.ascontiguousarray(w[:, :, ::-1, ::-1])
        _rows(gpu, dy, turned, None, dx, 1, g.KH - 1 - g.vertical.before, g.KW - 1 - g.horizontal.before)
    else:
        w = xp.ascontiguousarray(w)
        gpu.kernel("depthwise.cu", "depthwise_dx", dy.dtype).over(dx.size, dy, w, dx, g.N, g.C, times, *_sizes(g))
    return dx


def conv2d_dw(gpu, dy, x, g):
    """In parts, so that there are enough blocks; then the sum of the parts."""
    xp = gpu.xp
    dy, x = xp.ascontiguousarray(dy), xp.ascontiguousarray(x)
    windows, taps = g.N * g.OH * g.OW, next(n for n in (5, 3, 1) if g.KW % n == 0)
    blocks = g.O * g.KH * (g.KW // taps)
    count = max(1, min(-(-8 * gpu.multiprocessors // blocks), -(-windows // 2048)))
    each = -(-windows // count)
    parts = xp.empty((count, g.O, 1, g.KH, g.KW), x.dtype)
    gpu.kernel("depthwise.cu", "depthwise_dw", x.dtype, taps)(
        (blocks, count), (256,), dy, x, parts, g.O, g.O // g.C, windows, each, *_sizes(g)
    )
    return sum_of_parts(gpu, parts)


def supports_rows(g):
    """Whether the kernel depthwise_rows supports it."""
    return g.KH == g.KW and g.KH in (3, 5) and all(a.stride == a.dilation == 1 for a in (g.vertical, g.horizontal))


def _rows(gpu, x, w, b, y, times, before, left, relu=False):
    (N, O, OH, OW), (H, W), strips = y.shape, x.shape[2:], -(-y.shape[2] // ROWS_PER_THREAD)
    gpu.kernel("depthwise.cu", "depthwise_rows", x.dtype, w.shape[2], ROWS_PER_THREAD).over(
        N * O * strips * OW, x, w, b, y, N, O, times, H, W, before, left, OH, OW, strips, relu
    )


def _sizes(g):
    v, h = g.vertical, g.horizontal
    return g.H, g.W, g.KH, g.KW, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation, g.OH, g.OW
