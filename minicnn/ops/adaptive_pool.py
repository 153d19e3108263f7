"""Pooling to a given output size, for any input size, and to one number per map."""

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import LARGEST, MOST_TAPS, Pair, Pool2dGeometry, pair
from minicnn.tensor import op


@op
def adaptive_avg_pool2d(x: Array, *, output_size: Pair):
    """y[n,c,i,j] = mean over rows ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, and columns likewise.

    x (N,C,H,W)   →   y (N,C,OH,OW), output_size = (OH, OW) or one integer.
    The mean over a box is one matrix from the left and one from the right: y = A · x · Bᵀ, so dx = Aᵀ · dy · B.
    If all boxes have the same size, they are the windows of ordinary pooling.
    """
    device, xp = devices.of(x), devices.of(x).xp
    (OH, OW), (H, W) = _output_size(x, output_size), x.shape[2:]
    if OH == OW == 1:
        return x.mean((2, 3), keepdims=True), lambda dy: xp.broadcast_to(dy / (H * W), x.shape)
    if H % OH == W % OW == 0 and max(H, W) <= LARGEST and (H // OH) * (W // OW) <= MOST_TAPS:
        g = Pool2dGeometry.of(x.shape, (H // OH, W // OW))
        return device.avg_pool2d(x, g, True), lambda dy: device.avg_pool2d_dx(dy, g, True)
    A, B = (_averaging(xp, n, out, x.dtype) for n, out in zip(x.shape[2:], (OH, OW)))      # (OH, H), (OW, W)
    return A @ x @ B.T, lambda dy: A.T @ dy @ B                               # (N, C, OH, OW), (N, C, H, W)


@op
def adaptive_max_pool2d(x: Array, *, output_size: Pair):
    """y[n,c,i,j] = maximum over rows ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, and columns likewise.

    x (N,C,H,W)   →   y (N,C,OH,OW), output_size = (OH, OW) or one integer. dx: dy to the first maximum.
    If all boxes have the same, small size, they are the windows of ordinary pooling.
    """
    device, xp = devices.of(x), devices.of(x).xp
    (OH, OW), (N, C, H, W) = _output_size(x, output_size), x.shape
    if H % OH == W % OW == 0 and (H // OH) * (W // OW) <= 256:
        g = Pool2dGeometry.of(x.shape, (H // OH, W // OW))
        y, winner = device.max_pool2d(x, g)
        return y, lambda dy: device.max_pool2d_dx(dy, winner, g)
    boxes = [(i, j, slice(*rows), slice(*columns))
             for i, rows in enumerate(bounds(H, OH)) for j, columns in enumerate(bounds(W, OW))]
    y = xp.empty((N, C, OH, OW), x.dtype)
    for i, j, rows, columns in boxes:
        y[:, :, i, j] = x[:, :, rows, columns].max((2, 3))

    def dx(dy):
        dx = xp.zeros_like(x)
        for i, j, rows, columns in boxes:
            box = x[:, :, rows, columns]                                      # (N, C, h, w)
            pixels = box.reshape(N, C, box.shape[2] * box.shape[3])           # (N, C, h·w)
            wins = xp.arange(pixels.shape[2]) == pixels.argmax(2)[:, :, None]
            dx[:, :, rows, columns] += (wins * dy[:, :, i, j, None]).reshape(box.shape)
        return dx

    return y, dx


@op
def global_avg_pool2d(x: Array):
    """y[n,c] = the mean of map c of image n.   x (N,C,H,W) → y (N,C).   dx = dy/(H·W).   Lin et al. 2013, §3.2"""
    N, C, H, W = _images(x).shape
    xp = devices.of(x).xp
    return x.mean((2, 3)), lambda dy: xp.broadcast_to((dy / (H * W)).reshape(N, C, 1, 1), x.shape)


@op
def global_max_pool2d(x: Array):
    """y[n,c] = the largest pixel of map c of image n.   x (N,C,H,W) → y (N,C).   dx: dy to the first maximum"""
    N, C, H, W = _images(x).shape
    xp = devices.of(x).xp
    pixels = x.reshape(N, C, H * W)                                           # (N, C, HW)
    winner = pixels.argmax(2)                                                 # (N, C)

    def dx(dy):
        return ((xp.arange(H * W) == winner[:, :, None]) * dy[:, :, None]).reshape(x.shape)

    return pixels.max(2), dx


def _images(x):
    if x.ndim != 4:
        raise ValueError(f"pooling: x must have 4 axes (N, C, H, W), not {x.ndim} (shape {x.shape})")
    if x.shape[2] * x.shape[3] == 0:
        raise ValueError(f"pooling: images of {x.shape[2]}×{x.shape[3]} pixels have nothing to pool")
    return x


def _output_size(x, output_size):
    OH, OW = pair("output_size", output_size)
    _images(x)
    return OH, OW


def bounds(size, out):
    """(first row, last row + 1) of each of the `out` boxes."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _averaging(xp, size, out, dtype):
    """The matrix (out, size) whose row i holds 1/m on the m pixels of box i."""
    matrix = xp.zeros((out, size), dtype)
    for i, (start, end) in enumerate(bounds(size, out)):
        matrix[i, start:end] = 1 / (end - start)
    return matrix
