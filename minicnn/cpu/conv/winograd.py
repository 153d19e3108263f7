"""Winograd's convolution: fewer multiplications, more additions (Lavin & Gray 2016; Winograd 1980).

By definition, m neighbouring outputs of a filter with r taps need m·r products. m + r − 1 are enough:

    y = Aᵀ [ (G w) ⊙ (Bᵀ d) ]          w (r,)   d (m+r−1,) pixels   y (m,) outputs

with three small constant matrices. In two dimensions each is applied down and across; F(4×4, 3×3) computes 16 outputs
with 36 products, the definition with 144. Summed over the channels, the ⊙ becomes 36 matrix products, one for each
position in the transformed tile:

    U (36, C, O)  =  G w Gᵀ         V (36, P, C)  =  Bᵀ d B         M = V · U         y  =  Aᵀ M A

for P tiles. The transforms are exact in real arithmetic; in float32 they lose about a digit.

A tile is m×m outputs, as in the papers. A chunk is the tiles of some rows of some images, which one thread transforms
at a time. A block is several chunks whose tiles are multiplied together, so that the filters are read once for many
tiles: the threads transform its chunks, then multiply at its positions, then compute its outputs.

The gradients are the same steps transposed: dx is the convolution of dy with the filters turned by 180°, and

    dw  =  Gᵀ [ Σ_P V · (A dy Aᵀ) ] G
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu.conv.dx import dx_by
from minicnn.cpu.conv.filters import taps_first, taps_last
from minicnn.cpu.gemm import blocked_matmul
from minicnn.cpu.layout import as_nchw, padded_region, to_nhwc
from minicnn.cpu.threads import parallel_for, scratch, split

POINTS = (0, 1, -1, 1 / 2, -2, 2, -1 / 2)
"""The points at which the polynomials are evaluated. After 0 and ±1, pairs of a number and minus its inverse keep the
rounding small: with ½ and −2, F(4×4, 3×3) is twice as accurate in float32 as with 2 and −2 (Barabasz et al. 2020)."""

CHUNK_BYTES = 2 << 20
"""Bytes of transformed tiles, V and M together, in a chunk. Fewer would fit a core's own cache better, but then threads
wait for Python's lock too often."""
BLOCK_CHUNKS = 4
"""Chunks in a block: they fit in the cache that the cores share."""
TRANSFORM_FILTERS = 8192
"""Filters that a thread transforms at a time."""


def supports(g, dtype):
    """Stride 1, no dilation; 3×3, 5×5 and 3×5 taps, or 3, 5 or 7 taps along one axis only."""
    steps = {step for a in (g.vertical, g.horizontal) for step in (a.stride, a.dilation)}
    few, many = sorted((g.KH, g.KW))
    return steps == {1} and ((few in (1, 3, 5) and many in (3, 5)) or (few, many) == (1, 7))


def conv2d(x, w, b, g):
    """y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A, block by block."""
    plan = Plan(g, w.dtype)
    x, U = to_nhwc(x), plan.transform_filters(w)                              # (N, H, W, C), (n², C/G, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)
    for block in plan.blocks:
        V, M = plan.transformed("V", block, g.C), plan.transformed("M", block, g.O)

        def multiply(k, V=V, M=M):                               # (G, P, C/G) @ (G, C/G, O/G) → (G, P, O/G)
            blocked_matmul(*(by_group(a[k], g.G) for a in (V, U, M)))
            if b is not None and k == plan.bias_position:
                M[k] += b

        parallel_for(lambda chunk, V=V: plan.transform_pixels(x, chunk, V), block, plan.values)
        parallel_for(multiply, range(len(U)), plan.values)
        parallel_for(lambda chunk, M=M: plan.compute_outputs(M, chunk, y), block, plan.values)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    """The convolution of dy with the filters turned by 180°."""
    return dx_by(conv2d, dy, w, g)


def conv2d_dw(dy, x, g):
    """dw = Gᵀ [ Σ V ⊙ (A dy Aᵀ) ] G over all tiles, block by block"""
    plan = Plan(g, x.dtype, for_dw=True)
    x, dy = to_nhwc(x), to_nhwc(dy)
    dU = np.zeros((plan.n[0] * plan.n[1], g.C // g.G, g.O), x.dtype)
    for block in plan.blocks:
        V, D = plan.transformed("V", block, g.C), plan.transformed("M", block, g.O)

        def transform(chunk, V=V, D=D):
            plan.transform_pixels(x, chunk, V)
            plan.transform_gradients(dy, chunk, D)

        def multiply(k, V=V, D=D):                               # (G, P, C/G)ᵀ @ (G, P, O/G) → (G, C/G, O/G)
            V_k, D_k, dU_k = (by_group(a[k], g.G) for a in (V, D, dU))
            dU_k += np.matmul(V_k.swapaxes(1, 2), D_k, out=scratch("product", dU_k.shape, x.dtype))

        parallel_for(transform, block, plan.values)
        parallel_for(multiply, range(len(dU)), plan.values)
    return plan.transform_filter_gradients(dU)


def by_group(matrix, G):
    """(rows, G·columns) → (G, rows, columns), a view."""
    return matrix.reshape(len(matrix), G, -1).swapaxes(0, 1)


class Chunk(NamedTuple):
    """The tiles `start` to `stop` of a block: all tiles in the tile rows `rows` of the images `images`, two ranges."""

    images: tuple[int, int]
    rows: tuple[int, int]
    start: int
    stop: int


class Plan:
    """The tiles of m×m outputs of one layer, and the four transforms. Pairs are (down, across)."""

    def __init__(self, g, dtype, for_dw=False):
        self.g, self.dtype = g, np.dtype(dtype)
        taps = (g.KH, g.KW)
        self.m = tuple(outputs_per_tile(out, r, for_dw) for out, r in zip((g.OH, g.OW), taps))
        self.n = tuple(m + r - 1 for m, r in zip(self.m, taps))
        self.count = tuple(-(-out // m) for out, m in zip((g.OH, g.OW), self.m))      # tiles in an image
        self.AT, self.GG, self.BT = matrices_2d(self.m, taps, self.dtype)
        # at the point 1 every output has weight 1: a value added to M there is added to all of y
        self.bias_position = sum(step * (n > 1) for step, n in zip((self.n[1], 1), self.n))
        positions = self.n[0] * self.n[1]
        tile_bytes = positions * (g.C + g.O) * self.dtype.itemsize
        self.values = g.N * self.count[0] * self.count[1] * tile_bytes // self.dtype.itemsize
        self.blocks = self._blocks(CHUNK_BYTES // tile_bytes)

    def _blocks(self, chunk_tiles):
        """The blocks, lists of chunks; a chunk is some rows of tiles of one image, or some whole images."""
        (down, across), N = self.count, self.g.N
        rows = max(1, chunk_tiles // across)
        if rows < down:
            ranges = [((n, n + 1), r) for n in range(N) for r in split(down, -(-down // rows))]
        else:
            ranges = [(n, (0, down)) for n in split(N, max(-(-N * down // rows), min(N, BLOCK_CHUNKS)))]
        blocks = []
        for i in range(0, len(ranges), BLOCK_CHUNKS):
            stop = 0
            blocks.append([])
            for images, rows in ranges[i : i + BLOCK_CHUNKS]:
                start, stop = stop, stop + (images[1] - images[0]) * (rows[1] - rows[0]) * across
                blocks[-1].append(Chunk(images, rows, start, stop))
        return blocks

    def transformed(self, name, block, channels):
        """Scratch for a block's P transformed tiles: (n², P, channels), one matrix for each position in a tile."""
        return scratch(name, (self.n[0] * self.n[1], block[-1].stop, channels), self.dtype)

    def transform_filters(self, w):
        """U = G w Gᵀ: w (O,C,KH,KW) → (n², C, O)"""
        taps = taps_first(w).reshape(w.shape[2] * w.shape[3], -1)             # (KH·KW, C·O)
        return _multiply_filters(self.GG, taps).reshape(-1, w.shape[1], w.shape[0])

    def transform_filter_gradients(self, dU):
        """dw = Gᵀ dU G: (n², C, O) → (O,C,KH,KW)"""
        _, C, O = dU.shape
        taps = _multiply_filters(self.GG.T, dU.reshape(len(dU), C * O))       # (KH·KW, C·O)
        return taps_last(taps.reshape(self.g.KH, self.g.KW, C, O))

    def transform_pixels(self, x, chunk, V):
        """V = Bᵀ x B for the tiles of a chunk: overlapping groups of n×n pixels, m apart."""
        (first, stop), (mv, mh), (nv, nh), tw = chunk.rows, self.m, self.n, self.count[1]
        top, left = mv * first - self.g.vertical.before, -self.g.horizontal.before
        pixels = padded_region(x, chunk.images, top, mv * (stop - first) + nv - mv, left, mh * tw + nh - mh)
        self._transform(pixels, self.BT, (stop - first, tw), V[:, chunk.start : chunk.stop])

    def transform_gradients(self, dy, chunk, D):
        """D = A dy Aᵀ for the tiles of a chunk: adjacent groups of m×m pixels."""
        (first, stop), (mv, mh), tw = chunk.rows, self.m, self.count[1]
        pixels = padded_region(dy, chunk.images, mv * first, mv * (stop - first), 0, mh * tw)
        A = [a.T for a in self.AT]
        self._transform(pixels, A, (stop - first, tw), D[:, chunk.start : chunk.stop])

    def _transform(self, image, matrix, count, out):
        """out (n², P, C) = matrix · tile · matrixᵀ for `count` tiles, m pixels apart in an image (N, H, W, C)"""
        (N, _, W, C), step = image.shape, self.m
        (nv, kv), (nh, kh) = matrix[0].shape, matrix[1].shape                 # n rows of a result from k of a tile
        s = image.strides
        rows = as_strided(image, (N, count[0], kv, W * C), (s[0], step[0] * s[1], s[1], image.itemsize))
        if nv == 1:                                                # one tap down: the transform is the identity
            t = rows.transpose(2, 0, 1, 3)
        else:
            t = scratch("rows", (nv, N, count[0], W * C), self.dtype)
            np.matmul(matrix[0], rows, out=t.transpose(1, 2, 0, 3))           # (N, tiles down, n, W·C)
        c = C * self.dtype.itemsize
        columns = scratch("columns", (nv, kh, N, *count, C), self.dtype)
        columns[...] = as_strided(t, columns.shape, (t.strides[0], c, *t.strides[1:3], step[1] * c, image.itemsize))
        np.matmul(matrix[1], columns.reshape(nv, kh, -1), out=by_position(out, nv, nh))   # (n, n, P·C)

    def compute_outputs(self, M, chunk, y):
        """y = Aᵀ M A for the tiles of a chunk, without the parts of tiles beyond the edge."""
        (first, stop), (mv, mh), (nv, nh), tw, O = chunk.rows, self.m, self.n, self.count[1], y.shape[3]
        P = chunk.stop - chunk.start
        across = scratch("rows", (nv, mh, P * O), self.dtype)
        np.matmul(self.AT[1], by_position(M[:, chunk.start : chunk.stop], nv, nh), out=across)       # (n, m, P·O)
        tiles = across
        if nv > 1:
            tiles = scratch("columns", (mv, mh, P * O), self.dtype)
            np.matmul(self.AT[0], across.swapaxes(0, 1), out=tiles.swapaxes(0, 1))            # (m, m, P·O)
        tiles = tiles.reshape(mv, mh, -1, stop - first, tw, O)
        for i in range(mv):
            for j in range(mh):
                out = y[slice(*chunk.images), mv * first + i : mv * stop : mv, j::mh]
                out[...] = tiles[i, j, :, : out.shape[1], : out.shape[2]]


def by_position(transformed, nv, nh):
    """(n², P, C), P a slice of a longer axis → (n, n, P·C), a view."""
    s = transformed.strides
    shape = (nv, nh, transformed.shape[1] * transformed.shape[2])
    return as_strided(transformed, shape, (nh * s[0], s[0], transformed.itemsize))


def _multiply_filters(matrix, filters):
    """matrix · filters (…, filters), on all threads."""
    count = filters.shape[1]
    out = np.empty((len(matrix), count), filters.dtype)

    def multiply(chunk):
        columns = slice(*chunk)
        np.matmul(matrix, filters[:, columns], out=out[:, columns])

    parallel_for(multiply, split(count, -(-count // TRANSFORM_FILTERS)), max(matrix.shape) * count)
    return out


def outputs_per_tile(out, taps, for_dw):
    """The m that needs the fewest products for `out` outputs of a filter with `taps` taps; on a tie, the smaller m.

    for_dw: without F(4×4, 5×5), whose dw, a sum over all tiles, has an error above 2·10⁻⁵ in float32.
    """
    if taps == 1:
        return 1
    choices = (2,) if taps == 7 or (for_dw and taps == 5) else (2, 4)
    return min(choices, key=lambda m: -(-out // m) * (m + taps - 1))


@functools.cache
def matrices_2d(m, taps, dtype):
    """(the two Aᵀ, G ⊗ G (n², KH·KW), the two Bᵀ), each for (down, across)"""
    AT, G, BT = zip(*map(matrices, m, taps, (dtype, dtype)))
    return AT, np.kron(*G), BT


@functools.cache
def matrices(m, r, dtype):
    """(Aᵀ (m,n), G (n,r), Bᵀ (n,n)) of F(m, r), n = m + r − 1, by Cook and Toom's construction.

    A product of polynomials of degrees m−1 and r−1 is known from its values at n points; the matrices evaluate at the
    points, and, transposed, interpolate. The last point is ∞. Small points keep the entries, and the error, small.
    """
    n = m + r - 1
    if r == 1:
        return np.eye(m, dtype=dtype), np.ones((1, 1), dtype), np.eye(m, dtype=dtype)
    a = np.array(POINTS[: n - 1])
    others = [np.poly(np.delete(a, j)) for j in range(n - 1)]                 # Π_{l≠j} (t − a_l)
    at_own = [np.polyval(p, a[j]) for j, p in enumerate(others)]
    AT = np.vander(a, m, increasing=True).T                                   # (m, n−1)
    G = np.vander(a, r, increasing=True) / np.array(at_own)[:, None]          # (n−1, r)
    BT = np.zeros((n, n))
    for j, p in enumerate(others):
        BT[j, : n - 1] = p[::-1]
    BT[n - 1] = np.poly(a)[::-1]
    AT = np.hstack([AT, np.eye(m)[:, -1:]])
    G = np.vstack([G, np.eye(r)[-1:]])
    return tuple(np.ascontiguousarray(x, dtype) for x in (AT, G, BT))
