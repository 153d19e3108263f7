"""From the definition to the kernel that minicnn uses, one step at a time: the code of docs/compiled.md.

Each step computes y = conv(x, w) at stride 1. From step 2 on the arrays are channels last:

    x (N,H,W,C)   y (N,OH,OW,O)   w (KH,KW,C,O); in steps 3 to 7 in panels of `lanes` filters, (O/lanes, KH,KW,C, lanes)

with 8 lanes in step 3 and 16 after it. x has its padding already; steps 6 and 7 pad each tile. The steps expect O to be
a multiple of 16, and OW to be at least 6; minicnn's own kernels compute the rest, too.
"""

import numba
import numpy as np

from minicnn.cpu.compiled import team, winograd
from minicnn.cpu.compiled.blocks import load_each, outer, spread_at_each, store_rows, zeros
from minicnn.cpu.compiled.kernel import OPTIONS
from minicnn.cpu.compiled.layout import pad
from minicnn.cpu.compiled.microkernel import windows_times_filters
from minicnn.cpu.compiled.registers import load, spread, spread_at, store
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.geometry import Conv2dGeometry

SEPARATE = numba.njit(nogil=True)                                  # a product and a sum are two instructions
FAST = numba.njit(**OPTIONS)                                       # as minicnn's kernels are compiled


def definition(x, w, y):
    (_, O, OH, OW), (_, C, KH, KW) = y.shape, w.shape
    for n in range(len(x)):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    total = np.float32(0)
                    for c in range(C):
                        for p in range(KH):
                            for q in range(KW):
                                total += w[o, c, p, q] * x[n, c, i + p, j + q]
                    y[n, o, i, j] = total


compiled = SEPARATE(definition)


@SEPARATE
def channels_last(x, w, y):
    (_, OH, OW, O), (KH, KW, C, _) = y.shape, w.shape
    for n in range(len(x)):
        for i in range(OH):
            for j in range(OW):
                y[n, i, j] = 0
                for p in range(KH):
                    for q in range(KW):
                        for c in range(C):
                            for o in range(O):
                                y[n, i, j, o] += x[n, i + p, j + q, c] * w[p, q, c, o]


@SEPARATE
def one_register(x, w, y):
    (_, H, W, C), (_, OH, OW, O), (panels, KH, KW, _, _) = x.shape, y.shape, w.shape
    for n in range(len(x)):
        for i in range(OH):
            for j in range(OW):
                for panel in range(panels):
                    total, k = spread(np.float32(0)), panel * KH * KW * C * 8
                    for p in range(KH):
                        row = ((n * H + i + p) * W + j) * C
                        for m in range(row, row + KW * C):
                            total = total + spread_at(x, m) * load(w, k)
                            k += 8
                    store(y, ((n * OH + i) * OW + j) * O + panel * 8, total)


@SEPARATE
def block(x, w, y):
    (_, H, W, C), (_, OH, OW, O), (panels, KH, KW, _, _) = x.shape, y.shape, w.shape
    for n in range(len(x)):
        for i in range(OH):
            for start in range(0, OW, 6):
                j = min(start, OW - 6)
                for panel in range(panels):
                    a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = e0 = e1 = f0 = f1 = spread(np.float32(0))
                    k = panel * KH * KW * C * 16
                    for p in range(KH):
                        row = ((n * H + i + p) * W + j) * C
                        for m in range(row, row + KW * C):
                            u, v = load(w, k), load(w, k + 8)
                            t = spread_at(x, m)
                            a0, a1 = a0 + t * u, a1 + t * v
                            t = spread_at(x, m + C)
                            b0, b1 = b0 + t * u, b1 + t * v
                            t = spread_at(x, m + 2 * C)
                            c0, c1 = c0 + t * u, c1 + t * v
                            t = spread_at(x, m + 3 * C)
                            d0, d1 = d0 + t * u, d1 + t * v
                            t = spread_at(x, m + 4 * C)
                            e0, e1 = e0 + t * u, e1 + t * v
                            t = spread_at(x, m + 5 * C)
                            f0, f1 = f0 + t * u, f1 + t * v
                            k += 16
                    to = ((n * OH + i) * OW + j) * O + panel * 16
                    for a in ((a0, a1), (b0, b1), (c0, c1), (d0, d1), (e0, e1), (f0, f1)):
                        store(y, to, a[0])
                        store(y, to + 8, a[1])
                        to += O


@FAST
def multiply_add(x, w, y):
    (_, H, W, C), (_, OH, OW, O), (panels, KH, KW, _, _) = x.shape, y.shape, w.shape
    for n in range(len(x)):
        for i in range(OH):
            for start in range(0, OW, 6):
                j = min(start, OW - 6)
                m, to = ((n * H + i) * W + j) * C, ((n * OH + i) * OW + j) * O
                windows = m, m + C, m + 2 * C, m + 3 * C, m + 4 * C, m + 5 * C
                outputs = to, to + O, to + 2 * O, to + 3 * O, to + 4 * O, to + 5 * O
                for panel in range(panels):
                    sums, k = zeros(12), panel * KH * KW * C * 16
                    for p in range(KH):
                        for t in range(p * W * C, (p * W + KW) * C):
                            sums = outer(spread_at_each(x, windows, t), load_each(w, k, 8, 2), sums)
                            k += 16
                    store_rows(y, outputs, panel * 16, sums, 16)


@FAST
def one_tile(x, w, y, n, top, rows, P, region, at, to, zero):
    """Output rows top … top + rows − 1 of image n."""
    (_, OH, OW, O), (_, KH, KW, C, _) = y.shape, w.shape
    columns, count = OW + KW - 1, 0
    pad(x, n, 1, top - P, rows + KH - 1, -P, columns, region)      # copies the tile's pixels, with their padding
    for i in range(rows):
        for j in range(OW):
            at[count], to[count] = (i * columns + j) * C, ((n * OH + top + i) * OW + j) * O
            count += 1
    windows_times_filters(region, 0, at, count, KH, columns * C, 1, 0, KW * C, w, 0, zero, 0, O, y, to, 0, False)


@FAST
def tiles(x, w, y, P, rows):
    (_, OH, OW, O), (_, KH, KW, C, _) = y.shape, w.shape
    region, zero = np.empty((rows + KH - 1) * (OW + KW - 1) * C, np.float32), np.zeros(O, np.float32)
    at, to = np.empty(rows * OW + 7, np.int64), np.empty(rows * OW + 7, np.int64)
    for n in range(len(x)):
        for top in range(0, OH, rows):
            one_tile(x, w, y, n, top, min(rows, OH - top), P, region, at, to, zero)


@FAST
def threaded(x, w, y, P, rows, work):
    (_, OH, OW, O), (_, KH, KW, C, _) = y.shape, w.shape
    region, zero = np.empty((rows + KH - 1) * (OW + KW - 1) * C, np.float32), np.zeros(O, np.float32)
    at, to = np.empty(rows * OW + 7, np.int64), np.empty(rows * OW + 7, np.int64)
    bands = (OH + rows - 1) // rows
    item = first(work)
    while item >= 0:
        n, top = item // bands, item % bands * rows
        one_tile(x, w, y, n, top, min(rows, OH - top), P, region, at, to, zero)
        item = following(work)


# ------------------------------------------------------------------------------------------------ the steps in order


def on_threads(x, w, y, P, rows):
    items = len(x) * -(-y.shape[1] // rows)
    team.run(threaded, items, y.size * w[0].size / 256, x, w, y, P, rows)


def panels(w, lanes):
    """w (O,C,KH,KW) → (O/lanes, KH,KW,C, lanes)"""
    O, C, KH, KW = w.shape
    return np.ascontiguousarray(w.reshape(O // lanes, lanes, C, KH, KW).transpose(0, 3, 4, 2, 1))


def run(step, x, w, P, rows=8):
    """A function that computes a step for x (N,C,H,W), w (O,C,KH,KW) and P pixels of padding → y (N,O,OH,OW).

    Packing the filters and padding the images is not part of it, except that steps 6 to 8 pad, and 8 transforms.
    """
    padded, (O, _, KH, KW) = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P))), w.shape
    N, OH, OW = len(x), padded.shape[2] - KH + 1, padded.shape[3] - KW + 1
    function, more = globals()[step], ()
    if step == "winograd":
        g, x = Conv2dGeometry.of(x.shape, w.shape, padding=P), as_nchw(np.ascontiguousarray(to_nhwc(x)))
        return lambda: winograd.conv2d(x, w, None, g)
    if step in ("definition", "compiled"):
        y, inside, packed = np.full((N, O, OH, OW), np.nan, np.float32), padded, w
    else:
        y, inside = np.full((N, OH, OW, O), np.nan, np.float32), np.ascontiguousarray(to_nhwc(padded))
        packed = panels(w, 8 if step == "one_register" else 16)
        if step == "channels_last":
            packed = np.ascontiguousarray(w.transpose(2, 3, 1, 0))
        if step in ("tiles", "on_threads"):
            inside, more = np.ascontiguousarray(to_nhwc(x)), (P, rows)

    def compute():
        function(inside, packed, y, *more)
        return y if step in ("definition", "compiled") else as_nchw(y)

    return compute
