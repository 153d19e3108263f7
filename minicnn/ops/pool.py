"""Pooling: one number for each window of each map.

All take x (N,C,H,W) and return y (N,C,OH,OW). kernel_size, stride (by default the kernel's) and dilation are an integer
or (down, across); padding is given as for conv2d, and every window must reach at least one pixel of the image.
OH = ⌊(H + P + P' − D(K−1) − 1)/S⌋ + 1; ceil_mode rounds up instead, but no window may start beyond the image. A stride
below the kernel's size makes the windows overlap (Krizhevsky et al. 2012, §3.4).
"""

from typing import Any

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import Padding, Pair, Pool2dGeometry
from minicnn.op_checks import flag, number
from minicnn.ops.shape import reshape, squeeze
from minicnn.tensor import Tensor, op


@op
def max_pool2d(x: Array, *, kernel_size: Pair, stride: Pair | None = None, padding: Padding = 0, dilation: Pair = 1,
               ceil_mode: bool = False):
    """y = the largest pixel of the window. Padding never wins, not even over −∞; a NaN wins over every number.

    dx: dy goes to the largest pixel (of equals the first in reading order, of NaNs the last, as in PyTorch);
    contributions of several windows add up.
    `aux` is (winner,): the index p·KW + q of the largest pixel's tap (the "switches" of Zeiler & Fergus 2013, §2.1).
    Kept for backward: the winners.   Ranzato et al. 2007.
    """
    device, g = devices.of(x), Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y, winner = device.max_pool2d(x, g)                                       # both (N, C, OH, OW)
    return y, lambda dy: device.max_pool2d_dx(dy, winner, g), (winner,)


@op
def avg_pool2d(x: Array, *, kernel_size: Pair, stride: Pair | None = None, padding: Padding = 0, dilation: Pair = 1,
               ceil_mode: bool = False, count_include_pad: bool = True):
    """y = Σ x / m over the window, m counts its pixels and padding, or (count_include_pad=False) only its pixels.

    PyTorch counts the padding unless told otherwise; TensorFlow and ONNX do not.
    dx = dy/m to every pixel of the window. Kept for backward: nothing.
    """
    device, g = devices.of(x), Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    count_include_pad = flag("avg_pool2d", "count_include_pad", count_include_pad)
    y = device.avg_pool2d(x, g, count_include_pad)                            # (N, C, OH, OW)
    return y, lambda dy: device.avg_pool2d_dx(dy, g, count_include_pad)


@op
def lp_pool2d(x: Array, *, norm_type: float = 2.0, kernel_size: Pair, stride: Pair | None = None, padding: Padding = 0,
              dilation: Pair = 1, ceil_mode: bool = False):
    """y = (Σ |x|^p)^(1/p) over the window, p = norm_type ≥ 1: p = 2 is L2-norm pooling, p → ∞ max pooling of |x|.

    Padding adds nothing to the sum.
    dx = dy · sign(x) · (|x|/y)^(p−1), and 0 where y is 0. Kept for backward: x and y.
    PyTorch uses x^p without the absolute value, which differs for odd p, and scales windows that extend over the edge
    (ceil_mode) up to a full window; here they sum only the pixels inside.   Sermanet et al. 2012.
    """
    norm_type = number("lp_pool2d", "norm_type", norm_type, least=1)
    device, g = devices.of(x), Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y = device.lp_pool2d(x, norm_type, g)                                     # (N, C, OH, OW)
    return y, lambda dy: device.lp_pool2d_dx(dy, x, y, norm_type, g)


@op
def trainable_avg_pool2d(x: Array, a: Array, b: Array, *, kernel_size: Pair = 2, stride: Pair | None = None):
    """LeNet-5's subsampling: y[n,c,i,j] = a[c] · Σ x over the window + b[c]

    x (N,C,H,W)   a (C,)   b (C,)   →   y (N,C,OH,OW). A sum, not a mean: a = 1/(KH·KW) makes it the average.
    Kept for backward: the sums and a.   LeCun et al. 1998, §II.B, layers S2 and S4.
    """
    device, g = devices.of(x), Pool2dGeometry.of(x.shape, kernel_size, stride)
    if a.shape != (g.C,) or b.shape != (g.C,):
        raise ValueError(f"trainable_avg_pool2d: a {a.shape} and b {b.shape} must both have shape ({g.C},), "
                         "a coefficient and a bias for each map")
    taps = g.KH * g.KW
    total = device.avg_pool2d(x, g, True) * taps                              # (N, C, OH, OW)
    scale = a.reshape(1, g.C, 1, 1)

    def dx(dy): return device.avg_pool2d_dx(dy * scale, g, True) * taps
    def da(dy): return device.channel_sums(dy * total)
    def db(dy): return device.channel_sums(dy)

    return total * scale + b.reshape(1, g.C, 1, 1), (dx, da, db)


# ------------------------------------------------------------------------------- signals (N,C,L): images of height 1


def max_pool1d(x: Tensor | Array, *, kernel_size: int, stride: int | None = None,
               padding: int | tuple[int, int] | str = 0, dilation: int = 1, ceil_mode: bool = False) -> Tensor:
    """max_pool2d of signals: x (N,C,L) → y (N,C,OL).   padding: an integer, (left, right), or a name as for conv2d"""
    return _of_signals(max_pool2d, x, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)


def avg_pool1d(x: Tensor | Array, *, kernel_size: int, stride: int | None = None,
               padding: int | tuple[int, int] | str = 0, dilation: int = 1, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:
    """avg_pool2d of signals: x (N,C,L) → y (N,C,OL).   padding: an integer, (left, right), or a name as for conv2d"""
    return _of_signals(avg_pool2d, x, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode,
                       count_include_pad=count_include_pad)


def _of_signals(pool: Any, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, **more: Any) -> Tensor:
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if len(shape) != 3:
        raise ValueError(f"pooling: a signal must have 3 axes (N, C, L), not {len(shape)} (shape {shape})")
    N, C, L = shape
    padding = padding if isinstance(padding, str) else (0, padding)
    y = pool(reshape(x, shape=(N, C, 1, L)), kernel_size=(1, kernel_size), padding=padding, dilation=(1, dilation),
             stride=None if stride is None else (1, stride), **more)
    return squeeze(y, axis=2)
