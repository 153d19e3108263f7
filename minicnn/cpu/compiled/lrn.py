"""Local response normalisation, one pixel at a time: the sums over neighbouring channels are shifted additions.

With β = ¾, as in the paper, s^−β is two square roots, which cost a fraction of a power.

Left to NumPy: other β, float64, empty arrays.
"""

import numpy as np

from minicnn.cpu import lrn as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, from_pixels, pixels
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.work import first, following

TWO_BETA = np.float32(1.5)
ITEM_VALUES = 1 << 13
"""Values in an item, about."""


@kernel("void(f4[:,::1], f4[:,::1], f4[:,::1], i8, i8, f4, f4, i8, i8[::1])")
def _forward(x, y, s, before, after, alpha, k, rows, work):
    M, C = x.shape
    squares = np.zeros(before + C + after, np.float32)
    inside = squares[before : before + C]
    item = first(work)
    while item >= 0:
        for m in range(item * rows, min((item + 1) * rows, M)):
            a, b, out = x[m], s[m], y[m]
            for c in range(C):
                inside[c], b[c] = a[c] * a[c], 0
            for ahead in range(before + 1 + after):
                some = squares[ahead : ahead + C]
                for c in range(C):
                    b[c] += some[c]
            for c in range(C):
                b[c] = k + alpha * b[c]
                root = np.sqrt(b[c])
                out[c] = a[c] / (root * np.sqrt(root))
        item = following(work)


@kernel("void(f4[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], i8, i8, f4, i8, i8[::1])")
def _dx(dy, x, y, s, dx, before, after, alpha, rows, work):
    """Channel c is in the windows of `after` channels below it and `before` above."""
    M, C = x.shape
    shares = np.zeros(before + C + after, np.float32)
    inside = shares[after : after + C]
    item = first(work)
    while item >= 0:
        for m in range(item * rows, min((item + 1) * rows, M)):
            a, b, d, e, out = x[m], s[m], dy[m], y[m], dx[m]
            for c in range(C):
                inside[c], out[c] = d[c] * e[c] / b[c], 0
            for ahead in range(before + 1 + after):
                some = shares[ahead : ahead + C]
                for c in range(C):
                    out[c] += some[c]
            for c in range(C):
                root = np.sqrt(b[c])
                out[c] = d[c] / (root * np.sqrt(root)) - TWO_BETA * alpha * a[c] * out[c]
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def local_response_norm(x, size, alpha, beta, k):
    if x.dtype != F32 or not x.size or beta != 0.75:
        return plain.local_response_norm(x, size, alpha, beta, k)
    rows = pixels(x)
    y, s = np.empty_like(rows), np.empty_like(rows)
    items, per_item = _items(rows)
    team.run(_forward, items, 4 * x.size, rows, y, s, *_window(size, x.shape[1]), F32.type(alpha),
             F32.type(k), per_item)
    return from_pixels(y, x), from_pixels(s, x)


def local_response_norm_dx(dy, x, y, s, size, alpha, beta):
    if x.dtype != F32 or not x.size or beta != 0.75:
        return plain.local_response_norm_dx(dy, x, y, s, size, alpha, beta)
    dy, rows, y, s = map(pixels, (dy, x, y, s))
    dx = np.empty_like(rows)
    items, per_item = _items(rows)
    team.run(_dx, items, 4 * x.size, dy, rows, y, s, dx, *_window(size, x.shape[1]), F32.type(alpha), per_item)
    return from_pixels(dx, x)


def _window(size, C):
    """The numbers of channels in a window before and after its own, of C."""
    return min(size // 2, C), min((size - 1) // 2, C)


def _items(rows):
    per_item = max(1, ITEM_VALUES // rows.shape[1])
    return -(-len(rows) // per_item), per_item
