"""Convolution as a matrix product (Chellapilla, Puri & Simard 2006): kernels/im2col.cu and cuBLAS.

    y (O, L)  =  w (O, K) · cols (K, L)         K = C/G·KH·KW taps of a filter,  L = OH·OW windows

for each image and group; the gradients are the two transposed products. The columns take KH·KW/S² times the memory of
the images, so they are made for a chunk of the images at a time, small enough to stay in the GPU's L2 cache.
"""

from minicnn.gpu.gemm import gemm

CHUNK_COLUMN_BYTES = 24 << 20
"""Bytes of columns in a chunk of images."""


def supports(gpu, g, dtype):
    """Every convolution."""
    return True


def im2col(gpu, x, g):
    """x (N,C,H,W) → cols (N,C,KH,KW,OH,OW): cols[n,c,p,q,i,j] is the pixel under tap (p, q) of window (i, j)."""
    cols = gpu.xp.empty((len(x), g.C, g.KH, g.KW, g.OH, g.OW), x.dtype)
    x = gpu.xp.ascontiguousarray(x)
    gpu.kernel("im2col.cu", "im2col", x.dtype).over(cols.size, x, cols, *_sizes(len(x), g))
    return cols


def col2im(gpu, cols, g):
    """The transpose of im2col: each pixel gets the sum of the entries that it was copied to. → (N,C,H,W)"""
    dx = gpu.xp.empty((len(cols), g.C, g.H, g.W), cols.dtype)
    gpu.kernel("im2col.cu", "col2im", cols.dtype).over(dx.size, cols, dx, *_sizes(len(cols), g))
    return dx


def conv2d(gpu, x, w, b, g, relu=False):
    """y = w · cols + b"""
    y = gpu.xp.empty((g.N, g.O, g.OH, g.OW), x.dtype)
    maps, filters = _maps(y, g), _filters(gpu, w, g)
    for chunk in _chunks(g, x.dtype):
        cols = _columns(im2col(gpu, x[chunk], g), g)
        for k in range(g.G):
            gemm(gpu, filters[k], cols[:, k], maps[chunk, k])       # (O/G, K) · (n, K, L) → (n, O/G, L)
    if b is not None:
        y += b.reshape(g.O, 1, 1)
    if relu:
        gpu.xp.maximum(y, 0, out=y)
    return y


def conv2d_dx(gpu, dy, w, g):
    """dx = col2im(wᵀ · dy)"""
    xp = gpu.xp
    dx, dy, filters = xp.empty((g.N, g.C, g.H, g.W), dy.dtype), xp.ascontiguousarray(dy), _filters(gpu, w, g)
    for chunk in _chunks(g, dy.dtype):
        maps = _maps(dy, g)[chunk]
        cols = xp.empty((len(maps), g.C, g.KH, g.KW, g.OH, g.OW), dy.dtype)
        for k in range(g.G):                                       # (K, O/G) · (n, O/G, L) → (n, K, L)
            gemm(gpu, filters[k].T, maps[:, k], _columns(cols, g)[:, k])
        dx[chunk] = col2im(gpu, cols, g)
    return dx


def conv2d_dw(gpu, dy, x, g):
    """dw = Σ_n dy · colsᵀ, one image after the other"""
    xp = gpu.xp
    dy, dw = xp.ascontiguousarray(dy), xp.zeros((g.O, g.C // g.G, g.KH, g.KW), x.dtype)
    for chunk in _chunks(g, x.dtype):
        cols, maps = _columns(im2col(gpu, x[chunk], g), g), _maps(dy, g)[chunk]
        for n in range(len(maps)):                                 # (G, O/G, L) · (G, L, K) → (G, O/G, K)
            gemm(gpu, maps[n], cols[n].transpose(0, 2, 1), _filters(gpu, dw, g), accumulate=True)
    return dw


def _chunks(g, dtype):
    """The images in chunks whose columns take about CHUNK_COLUMN_BYTES: slices."""
    size = g.C * g.KH * g.KW * g.OH * g.OW * dtype.itemsize
    step = max(1, CHUNK_COLUMN_BYTES // max(1, size))
    return [slice(n, n + step) for n in range(0, g.N, step)]


def _columns(cols, g):
    return cols.reshape(len(cols), g.G, g.C // g.G * g.KH * g.KW, g.OH * g.OW)           # (n, G, K, L)


def _filters(gpu, w, g):
    return gpu.xp.ascontiguousarray(w).reshape(g.G, g.O // g.G, g.C // g.G * g.KH * g.KW)          # (G, O/G, K)


def _maps(dy, g):
    return dy.reshape(g.N, g.G, g.O // g.G, g.OH * g.OW)                                 # (N, G, O/G, L)


def _sizes(N, g):
    v, h = g.vertical, g.horizontal
    return (N * g.C, g.H, g.W, g.KH, g.KW, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation, g.OH, g.OW)
