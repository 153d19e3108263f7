"""Copies that put images and filters where the kernels read them."""

from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.registers import copy, zero
from minicnn.cpu.compiled.work import first, following


@inlined
def pad(x, n, count, top, rows, left, columns, out):
    """`rows` × `columns` pixels of `count` images of x (N,H,W,C) from image n, row `top`, column `left` on, into the
    flat `out`; pixels outside the image are 0.
    """
    _, H, W, C = x.shape
    first, last = min(max(-left, 0), columns), max(min(columns, W - left), 0)        # the columns inside the image
    last = max(first, last)
    k = 0
    for image in range(n, n + count):
        for h in range(top, top + rows):
            if 0 <= h < H:
                zero(out, k, first * C)
                copy(out, k + first * C, x, ((image * H + h) * W + left + first) * C, (last - first) * C)
                zero(out, k + last * C, (columns - last) * C)
            else:
                zero(out, k, columns * C)
            k += columns * C


@kernel("void(f4[:,:,:,:], i8, f4[:,:,:,:,::1], i8[::1])")
def pack_filters(w, G, out, work):
    """w (O, C/G, KH, KW), of any layout → out (G·blocks, KH, KW, C/G, 16): the filters of a group in blocks of 16.

    Lanes behind a group's last filter are 0. An item is a block.
    """
    O, C, KH, KW = w.shape
    filters = O // G
    blocks = (filters + 15) // 16
    item = first(work)
    while item >= 0:
        start = item % blocks * 16
        count, start = min(16, filters - start), start + item // blocks * filters
        panel = out[item]
        for c in range(C):
            for p in range(KH):
                for q in range(KW):
                    lanes = panel[p, q, c]
                    for lane in range(count):
                        lanes[lane] = w[start + lane, c, p, q]
                    for lane in range(count, 16):
                        lanes[lane] = 0
        item = following(work)
