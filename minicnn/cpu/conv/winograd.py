"""Winograd's convolution: fewer multiplications, more additions (Lavin & Gray 2016; Winograd 1980).

To compute m neighbouring outputs of a filter with r taps takes m·r products the plain way. m + r − 1 are enough:

    y = Aᵀ [ (G w) ⊙ (Bᵀ d) ]          w (r,)   d (m+r−1,) pixels   y (m,) outputs

with three small constant matrices. In two dimensions each is applied down and across; F(4×4, 3×3) makes 16 outputs of
36 products where the definition needs 144. Summed over the channels, the ⊙ becomes 36 matrix products, one for each
position in the transformed tile:

    U (36, C, O)  =  G w Gᵀ         V (36, P, C)  =  Bᵀ d B         M = V · U         y  =  Aᵀ M A

for P tiles. The transforms are exact in real arithmetic; in float32 they cost about a digit.

The gradients are the same steps transposed: dx is the convolution of dy with the filters turned by 180°, and

    dw  =  Gᵀ [ Σ_P V · (A dy Aᵀ) ] G
"""

import functools
import itertools

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minicnn.cpu import strips
from minicnn.cpu.conv.filters import taps_first, taps_last, transposed
from minicnn.cpu.conv.geometry import backward
from minicnn.cpu.layout import images, pixels, region
from minicnn.cpu.threads import num_threads, parallel_for, scratch, split

POINTS = (0, 1, -1, 1 / 2, -2, 2, -1 / 2)
"""Where the polynomials are evaluated. Beside 0 and ±1, a number and minus its inverse keep the rounding small: with
½ and −2 F(4×4, 3×3) is twice as exact in float32 as with 2 and −2 (Barabasz et al. 2020)."""

UNIT = 4 << 20
"""Bytes of transformed tiles, V and M together, that a thread works on at a time. Less would fit its own cache better,
but then two threads meet too often at Python's lock."""
UNITS = 2
"""Where all threads work on one block, how many units each has of it: they stay in the cache that the cores share."""
WORTH_SHARING = 1 << 20
"""Bytes of transformed tiles that take a thread longer than it takes to wake another."""
FEW = 1 << 15
"""Filters, C/G·O of them, that every thread can afford to go through for each of its units."""


def able(g, dtype):
    """Stride 1, no dilation; 3×3, 5×5 and 3×5 taps, or 3, 5 or 7 along one axis alone."""
    steps = {step for a in (g.vertical, g.horizontal) for step in (a.stride, a.dilation)}
    few, many = sorted((g.KH, g.KW))
    return steps == {1} and ((few in (1, 3, 5) and many in (3, 5)) or (few, many) == (1, 7))


def conv2d(x, w, b, g):
    """y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A, tile by tile."""
    plan = Plan(g, w.dtype)
    x, U = pixels(x), plan.filters(w)                                         # (N, H, W, C), (n², C/G, O)
    y = np.empty((g.N, g.OH, g.OW, g.O), x.dtype)

    def work(block):
        units, P = block
        V, M = plan.positions("V", P, g.C), plan.positions("M", P, g.O)

        def multiply(k):                                         # (n², G, P, C/G) @ (n², G, C/G, O/G) → (n², G, P, O/G)
            strips.multiply(*(by_group(a[k], g.G) for a in (V, U, M)))

        parallel_for(lambda unit: plan.tiles(x, unit, V), units)
        parallel_for(multiply, plan.some)
        if b is not None:
            M[plan.ones] += b
        parallel_for(lambda unit: plan.outputs(M, unit, y), units)

    parallel_for(lambda share: [work(block) for block in share], plan.shares())
    return images(y)


def conv2d_dx(dy, w, g):
    """The convolution of dy with the filters turned by 180°."""
    dy, back = backward(dy, g)
    return conv2d(dy, transposed(w, g.G), None, back)


def conv2d_dw(dy, x, g):
    """dw = Gᵀ [ Σ V ⊙ (A dy Aᵀ) ] G over all tiles; each thread sums its own, and the sums are added in their order."""
    plan = Plan(g, x.dtype, careful=True)
    x, dy = pixels(x), pixels(dy)
    shares = plan.shares()
    dU = np.zeros((max(1, len(shares)), plan.n[0] * plan.n[1], g.C // g.G, g.O), x.dtype)

    def work(share):
        for units, P in shares[share]:
            V, D = plan.positions("V", P, g.C), plan.positions("M", P, g.O)

            def transform(unit, V=V, D=D):
                plan.tiles(x, unit, V)
                plan.gradients(dy, unit, D)

            def multiply(k, V=V, D=D):                           # (n², G, C/G, P) @ (n², G, P, O/G) → (n², G, C/G, O/G)
                V_k, D_k, dU_k = (by_group(a, g.G) for a in (V[k], D[k], dU[share, k]))
                dU_k += np.matmul(V_k.swapaxes(2, 3), D_k, out=scratch("product", dU_k.shape, x.dtype))

            parallel_for(transform, units)
            parallel_for(multiply, plan.some)

    parallel_for(work, range(len(shares)))
    for other in dU[1:]:
        dU[0] += other
    return plan.filter_gradients(dU[0])


def by_group(matrices, G):
    """(n², rows, G·columns) → (n², G, rows, columns), a view."""
    return matrices.reshape(*matrices.shape[:2], G, -1).swapaxes(1, 2)


class Plan:
    """How one layer is cut into tiles of m×m outputs, and the four transforms. Axis by axis: (down, across)."""

    def __init__(self, g, dtype, careful=False):
        self.g, self.dtype = g, np.dtype(dtype)
        taps = (g.KH, g.KW)
        self.m = tuple(outputs_a_tile(out, r, careful) for out, r in zip((g.OH, g.OW), taps))
        self.n = tuple(m + r - 1 for m, r in zip(self.m, taps))
        self.count = tuple(-(-out // m) for out, m in zip((g.OH, g.OW), self.m))      # tiles in an image
        self.AT, self.GG, self.BT = both_ways(self.m, taps, self.dtype)
        # at the point 1 every output has weight 1: what is added to M there is added to all of y
        self.ones = sum(step * (n > 1) for step, n in zip((self.n[1], 1), self.n))
        positions = self.n[0] * self.n[1]
        self.tile_bytes = positions * (g.C + g.O) * self.dtype.itemsize
        self.alone = g.C // g.G * g.O <= FEW                       # else all threads work on one block
        self.some = [slice(*k) for k in split(positions, 1 if self.alone else positions)]

    def units(self):
        """(images, tile rows, tiles): some whole images, or some rows of one, about UNIT bytes and as many a thread."""
        (th, tw), N = self.count, self.g.N
        parts, total = num_threads(), N * th * tw * self.tile_bytes
        parts = -(-total // (UNIT * parts)) * parts if total > WORTH_SHARING else 1
        if parts <= N:
            return [(n, (0, th), (n[1] - n[0]) * th * tw) for n in split(N, parts)]
        return [((n, n + 1), r, (r[1] - r[0]) * tw) for n in range(N) for r in split(th, -(-parts // N))]

    def shares(self):
        """The units in blocks ([(images, rows, first tile, stop)], tiles in all), and the blocks in shares.

        Where there are few filters a unit is a block, and every thread takes its share of them. Where there are many,
        all threads work on one block of several units: the filters are then read once for many tiles.
        """
        units = self.units()
        size = 1 if self.alone else UNITS * num_threads()
        blocks = []
        for i in range(0, len(units), size):
            ends = list(itertools.accumulate(tiles for *_, tiles in units[i : i + size]))
            starts = [0, *ends[:-1]]
            blocks.append(([(*unit[:2], *p) for unit, *p in zip(units[i : i + size], starts, ends)], ends[-1]))
        return [blocks[a:b] for a, b in split(len(blocks), num_threads() if self.alone else 1)]

    def positions(self, name, P, channels):
        """Scratch for transformed tiles: (n², P, channels), one matrix for each position in a tile."""
        return scratch(name, (self.n[0] * self.n[1], P, channels), self.dtype)

    def filters(self, w):
        """U = G w Gᵀ: w (O,C,KH,KW) → (n², C, O)"""
        taps = taps_first(w).reshape(w.shape[2] * w.shape[3], -1)             # (KH·KW, C·O)
        U = np.empty((self.n[0] * self.n[1], taps.shape[1]), self.dtype)
        both = self.GG                                                        # (n², KH·KW)

        def transform(columns):
            np.matmul(both, taps[:, slice(*columns)], out=U[:, slice(*columns)])

        parallel_for(transform, split(taps.shape[1], -(-taps.shape[1] // 8192)), U.size)
        return U.reshape(len(U), w.shape[1], w.shape[0])

    def filter_gradients(self, dU):
        """dw = Gᵀ dU G: (n², C, O) → (O,C,KH,KW)"""
        both = self.GG.T                                                      # (KH·KW, n²)
        n2, C, O = dU.shape
        dU = dU.reshape(n2, C * O)
        taps = np.empty((len(both), C * O), self.dtype)

        def transform(columns):
            np.matmul(both, dU[:, slice(*columns)], out=taps[:, slice(*columns)])

        parallel_for(transform, split(C * O, -(-C * O // 8192)), dU.size)
        return taps_last(taps.reshape(self.g.KH, self.g.KW, C, O))

    def tiles(self, x, unit, V):
        """V = Bᵀ x B for the tiles of a unit: overlapping groups of n×n pixels, m apart."""
        n, (first, stop), start, end = unit
        (mv, mh), (nv, nh), tw = self.m, self.n, self.count[1]
        down, across = self.g.vertical.before, self.g.horizontal.before
        here = region(x, n, mv * first - down, mv * (stop - first) + nv - mv, -across, mh * tw + nh - mh, "image")
        self._transform(here, self.BT, (mv, mh), (stop - first, tw), V[:, start:end])

    def gradients(self, dy, unit, D):
        """D = A dy Aᵀ for the tiles of a unit: groups of m×m pixels side by side."""
        n, (first, stop), start, end = unit
        (mv, mh), tw = self.m, self.count[1]
        here = region(dy, n, mv * first, mv * (stop - first), 0, mh * tw, "image")
        self._transform(here, [a.T for a in self.AT], (mv, mh), (stop - first, tw), D[:, start:end])

    def _transform(self, image, matrix, step, count, out):
        """matrix · tile · matrixᵀ for the count tiles `step` apart in an image (N, H, W, C) → out (n², P, C)"""
        N, _, W, C = image.shape
        (nv, kv), (nh, kh) = matrix[0].shape, matrix[1].shape                 # n rows of a result from k of a tile
        s = image.strides
        rows = as_strided(image, (N, count[0], kv, W * C), (s[0], step[0] * s[1], s[1], image.itemsize))
        if nv == 1:                                                # one tap down: nothing to transform
            t = rows.transpose(2, 0, 1, 3)
        else:
            t = scratch("rows", (nv, N, count[0], W * C), self.dtype)
            np.matmul(matrix[0], rows, out=t.transpose(1, 2, 0, 3))           # (N, tiles down, n, W·C)
        c = C * self.dtype.itemsize
        columns = scratch("columns", (nv, kh, N, *count, C), self.dtype)
        columns[...] = as_strided(t, columns.shape, (t.strides[0], c, *t.strides[1:3], step[1] * c, image.itemsize))
        np.matmul(matrix[1], columns.reshape(nv, kh, -1), out=flat(out, nv, nh))          # (n, n, P·C)

    def outputs(self, M, unit, y):
        """y = Aᵀ M A for the tiles of a unit, cut off where a tile hangs over the edge."""
        n, (first, stop), start, end = unit
        (mv, mh), (nv, nh), tw, O = self.m, self.n, self.count[1], y.shape[3]
        P = end - start
        across = scratch("rows", (nv, mh, P * O), self.dtype)
        np.matmul(self.AT[1], flat(M[:, start:end], nv, nh), out=across)      # (n, m, P·O)
        tiles = across
        if nv > 1:
            tiles = scratch("columns", (mv, mh, P * O), self.dtype)
            np.matmul(self.AT[0], across.swapaxes(0, 1), out=tiles.swapaxes(0, 1))            # (m, m, P·O)
        tiles = tiles.reshape(mv, mh, n[1] - n[0], stop - first, tw, O)
        for i in range(mv):
            for j in range(mh):
                here = y[n[0] : n[1], mv * first + i : mv * stop : mv, j::mh]
                here[...] = tiles[i, j, :, : here.shape[1], : here.shape[2]]


def flat(matrices, nv, nh):
    """(n², P, C), P a slice of a longer axis → (n, n, P·C), a view."""
    s = matrices.strides
    return as_strided(matrices, (nv, nh, matrices.shape[1] * matrices.shape[2]), (nh * s[0], s[0], matrices.itemsize))


def outputs_a_tile(out, taps, careful):
    """The m that needs the fewest products for `out` outputs of a filter with `taps` taps; of equals the smaller.

    careful: F(4×4, 5×5) is left out. Its dw, a sum over all tiles, errs by more than 2·10⁻⁵ in float32.
    """
    if taps == 1:
        return 1
    choices = (2,) if taps == 7 or (careful and taps == 5) else (2, 4)
    return min(choices, key=lambda m: -(-out // m) * (m + taps - 1))


@functools.cache
def both_ways(m, taps, dtype):
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
