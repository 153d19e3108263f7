"""Pooling layers.   x (N,C,H,W); sizes and padding as in ops/pool.py: floor by default, `stride=None` is the kernel's
size.
"""

from minicnn.geometry import Padding, Pair, pair, positive
from minicnn.nn import init
from minicnn.nn.module import Module, Parameter
from minicnn.ops.adaptive_pool import adaptive_avg_pool2d, adaptive_max_pool2d, global_avg_pool2d, global_max_pool2d
from minicnn.ops.pool import avg_pool1d, avg_pool2d, lp_pool2d, max_pool1d, max_pool2d, trainable_avg_pool2d
from minicnn.tensor import Tensor


class MaxPool2d(Module):
    """The largest pixel of each window. A stride below kernel_size makes windows overlap (AlexNet's 3/2)."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Padding = 0, dilation: Pair = 1,
                 ceil_mode: bool = False):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return max_pool2d(x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                          dilation=self.dilation, ceil_mode=self.ceil_mode)  # fmt: skip


class AvgPool2d(Module):
    """The mean of each window, over its pixels and padding, or (count_include_pad=False) over its pixels only."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Padding = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, dilation: Pair = 1):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.dilation = ceil_mode, count_include_pad, dilation

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return avg_pool2d(x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                          dilation=self.dilation, ceil_mode=self.ceil_mode,
                          count_include_pad=self.count_include_pad)  # fmt: skip


class MaxPool1d(Module):
    """MaxPool2d of signals.   padding: an integer, (left, right), or a name as for conv2d"""

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int | tuple[int, int] | str = 0,
                 dilation: int = 1, ceil_mode: bool = False):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,L) → (N,C,OL)"""
        return max_pool1d(x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                          dilation=self.dilation, ceil_mode=self.ceil_mode)  # fmt: skip


class AvgPool1d(Module):
    """AvgPool2d of signals.   padding: an integer, (left, right), or a name as for conv2d"""

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int | tuple[int, int] | str = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True, dilation: int = 1):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.dilation = ceil_mode, count_include_pad, dilation

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,L) → (N,C,OL)"""
        return avg_pool1d(x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                          dilation=self.dilation, ceil_mode=self.ceil_mode,
                          count_include_pad=self.count_include_pad)  # fmt: skip


class LPPool2d(Module):
    """The Lp norm of each window, (Σ |x|^p)^(1/p): LPPool2d(2, 3) is L2 pooling over 3×3."""

    def __init__(self, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False,
                 padding: Padding = 0, dilation: Pair = 1):
        self.norm_type, self.kernel_size, self.ceil_mode = norm_type, kernel_size, ceil_mode
        self.stride, self.padding, self.dilation = kernel_size if stride is None else stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return lp_pool2d(x, norm_type=self.norm_type, kernel_size=self.kernel_size, stride=self.stride,
                         padding=self.padding, dilation=self.dilation, ceil_mode=self.ceil_mode)  # fmt: skip


class TrainableAvgPool2d(Module):
    """LeNet-5's S2 and S4: y = weight[c] · Σ x over the window + bias[c], learned; 2 parameters per channel.

    weight starts as 1/(KH·KW), the plain average; bias as 0.   LeCun et al. 1998, §II.B
    """

    def __init__(self, channels: int, kernel_size: Pair = 2, stride: Pair | None = None):
        self.channels, self.kernel_size = positive("channels", channels), kernel_size
        self.stride = kernel_size if stride is None else stride
        KH, KW = pair("kernel_size", kernel_size)
        self.weight = Parameter(init.constant((channels,), 1 / (KH * KW)))
        self.bias = Parameter(init.constant((channels,), 0))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return trainable_avg_pool2d(x, self.weight, self.bias, kernel_size=self.kernel_size, stride=self.stride)


class AdaptiveAvgPool2d(Module):
    """The mean of each of OH × OW boxes that cover the image; output_size: (OH, OW) or one integer."""

    def __init__(self, output_size: Pair):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return adaptive_avg_pool2d(x, output_size=self.output_size)


class AdaptiveMaxPool2d(Module):
    """The maximum of each of OH × OW boxes that cover the image; output_size: (OH, OW) or one integer."""

    def __init__(self, output_size: Pair):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return adaptive_max_pool2d(x, output_size=self.output_size)


class GlobalAvgPool2d(Module):
    """The mean of each map: one number per channel (Lin et al. 2013)."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C)"""
        return global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest pixel of each map: one number per channel."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C)"""
        return global_max_pool2d(x)
