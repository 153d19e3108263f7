"""How images lie in memory on the CPU: channels last.

An image array is always indexed x[n, c, h, w]. What the CPU computes lies in memory as (N, H, W, C), the C values of a
pixel side by side; NumPy calls such an array a transposed view, and every op works on it as on any other. Why: the
windows of a convolution are then made of long runs, KW·C values in a row, which a copy moves at memory speed, where in
(N, C, H, W) a run ends with each row of the window and a stride takes single values. Products write whole pixels, and
nothing is transposed on the way from layer to layer.
"""

import numpy as np

from minicnn.cpu.threads import scratch


def pixels(x):
    """x (N,C,H,W) → the same values as a contiguous (N,H,W,C): a view where x lies channels last, else a copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def images(pixels):
    """(N,H,W,C) → the (N,C,H,W) view of it."""
    return pixels.transpose(0, 3, 1, 2)


def empty(N, H, W, C, dtype):
    """An array of pixels (N,H,W,C), not yet filled."""
    return np.empty((N, H, W, C), dtype)


def whole(a):
    """(…, C) → (…): a pixel's values as one item, which is copied as one."""
    return a.view(f"V{a.shape[-1] * a.itemsize}")[..., 0]


def region(x, n, top, rows, left, columns, name):
    """Pixels of images n (start, stop): `rows` from `top` on, `columns` from `left` on, zeros outside the image.

    x (N,H,W,C) → (n, rows, columns, C). A view where nothing lies outside, else this thread's scratch `name`.
    """
    _, H, W, C = x.shape
    x = x[n[0] : n[1]]
    if top >= 0 and left >= 0 and top + rows <= H and left + columns <= W:
        return x[:, top : top + rows, left : left + columns]
    out = scratch(name, (len(x), rows, columns, C), x.dtype)
    t, b = (min(max(edge - top, 0), rows) for edge in (0, H))                 # where the image's rows begin and end
    l, r = (min(max(edge - left, 0), columns) for edge in (0, W))
    out[:, :t] = out[:, b:] = 0
    out[:, t:b, :l] = out[:, t:b, r:] = 0
    out[:, t:b, l:r] = x[:, top + t : top + b, left + l : left + r]
    return out


def to_rows(x):
    """x (N,C,…) → the same values as a contiguous (M,C), a pixel a row: a view where x lies channels last."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(-1, x.shape[1])


def from_rows(rows, like):
    """(M,C) → the view of it that has the shape (N,C,…) of `like`."""
    N, C, *size = like.shape
    return np.moveaxis(rows.reshape(N, *size, C), -1, 1)
