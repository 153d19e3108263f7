"""The memory layout of images on the CPU: channels last.

An image array is always indexed x[n, c, h, w]. The arrays that the CPU computes are stored as (N, H, W, C): the C
values of a pixel are contiguous. For NumPy that is a transposed view, and every op works on it as on any other array.

Why: the windows of a convolution then consist of long contiguous runs, KW·C values each, which are copied at memory
speed. In (N, C, H, W) a run ends after KW values, and a stride copies single values. A matrix product writes whole
pixels, so nothing is transposed between layers.
"""

import numpy as np

from minicnn.cpu.threads import scratch


def to_nhwc(x):
    """x (N,C,H,W) → the same values as a contiguous (N,H,W,C): a view if x is stored channels last, else a copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def as_nchw(x):
    """x (N,H,W,C) → its (N,C,H,W) view."""
    return x.transpose(0, 3, 1, 2)


def pixel_records(a):
    """a (…,C) → (…): the C values of a pixel as one item of a NumPy record type, which is copied as a whole."""
    return a.view(f"V{a.shape[-1] * a.itemsize}")[..., 0]


def padded_region(x, images, top, rows, left, columns, outside=0):
    """`rows` × `columns` pixels of x (N,H,W,C), from row `top` and column `left` on; `outside` the image, this value.

    images: (start, stop). → (n, rows, columns, C): a view of x if all pixels are inside, else this thread's scratch
    buffer "region", which the next call reuses.
    """
    _, H, W, C = x.shape
    x = x[slice(*images)]
    if top >= 0 and left >= 0 and top + rows <= H and left + columns <= W:
        return x[:, top : top + rows, left : left + columns]
    out = scratch("region", (len(x), rows, columns, C), x.dtype)
    t, b = (min(max(edge - top, 0), rows) for edge in (0, H))                 # where the image's rows begin and end
    l, r = (min(max(edge - left, 0), columns) for edge in (0, W))
    out[:, :t] = out[:, b:] = outside
    out[:, t:b, :l] = out[:, t:b, r:] = outside
    out[:, t:b, l:r] = x[:, top + t : top + b, left + l : left + r]
    return out


def to_rows(x):
    """x (N,C,…) → the same values as a contiguous (M,C), one pixel per row: a view if x is stored channels last."""
    return np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1)).reshape(-1, x.shape[1])


def from_rows(rows, like):
    """rows (M,C) → a view with the shape (N,C,…) of `like`."""
    N, C, *size = like.shape
    return rows.reshape(N, *size, C).transpose(0, -1, *range(1, like.ndim - 1))
