"""The convolutional layers, and the transposed one."""

import math
from typing import Any

from minicnn.geometry import LARGEST, Padding, Pair, pair, positive, sides
from minicnn.nn import init
from minicnn.nn.module import Module, Parameter
from minicnn.op_checks import flag
from minicnn.ops.conv import conv1d, conv2d, conv_transpose2d
from minicnn.tensor import Tensor


class _Convolution(Module):
    """What both layers have: channels, groups, learned filters."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, ...], groups: int, bias: bool,
                 flip: bool):
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.groups, self.flip = positive("groups", groups), flag(type(self).__name__, "flip", flip)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} (={channels}) must be divisible by groups (={groups})")
        self.weight = Parameter(init.he_normal((out_channels, in_channels // groups, *kernel)))
        self.bias = Parameter(init.constant((out_channels,), 0)) if bias else None

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """One product for each output and each weight of its filter: O·OH·OW · C/G·KH·KW"""
        return math.prod(output_shape) * math.prod(self.weight.shape[1:])


class Conv2d(_Convolution):
    """ops.conv2d with learned filters.   x (N,C,H,W) → y (N,O,OH,OW),   OH = ⌊(H + P + P' − D(KH−1) − 1)/S⌋ + 1

    weight (O,C/G,KH,KW), initialised with he_normal;   bias (O,), zeros, or None.   Parameters: O·C/G·KH·KW (+ O).
    kernel_size, stride, dilation: an integer or (down, across).   flip: turn the filters by 180°.
    padding: an integer, (down, across), ((top, bottom), (left, right)), "valid", "same": OH = ⌈H/S⌉, or "same_lower".
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1,
                 padding: Padding = 0, dilation: Pair = 1, groups: int = 1, bias: bool = True, flip: bool = False):
        self.kernel_size, self.stride = pair("kernel_size", kernel_size), pair("stride", stride)
        self.padding, self.dilation = _spelled(padding), pair("dilation", dilation)
        super().__init__(in_channels, out_channels, self.kernel_size, groups, bias, flip)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        return conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                      dilation=self.dilation, groups=self.groups, flip=self.flip)  # fmt: skip


class Conv1d(_Convolution):
    """ops.conv1d with learned filters.   x (N,C,L) → y (N,O,OL),   OL = ⌊(L + P + P' − D(K−1) − 1)/S⌋ + 1

    weight (O,C/G,K), initialised with he_normal;   bias (O,), zeros, or None.   Parameters: O·C/G·K (+ O).
    padding: an integer, (left, right), "valid", "same": OL = ⌈L/S⌉, or "same_lower".   flip: turn the filters around.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1,
                 padding: int | tuple[int, int] | str = 0, dilation: int = 1, groups: int = 1, bias: bool = True,
                 flip: bool = False):
        self.kernel_size = positive("kernel_size", kernel_size, 1, LARGEST)
        self.stride, self.dilation = positive("stride", stride, 1, LARGEST), positive("dilation", dilation, 1, LARGEST)
        self.padding = _spelled(padding) if isinstance(padding, str) else sides((0, padding))[1]       # (left, right)
        super().__init__(in_channels, out_channels, (self.kernel_size,), groups, bias, flip)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,L) → (N,O,OL)"""
        return conv1d(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                      dilation=self.dilation, groups=self.groups, flip=self.flip)  # fmt: skip


class ConvTranspose2d(Module):
    """ops.conv_transpose2d with learned filters.   x (N,C,H,W) → y (N,O,OH,OW)

    OH = (H − 1)·S + D(KH−1) + 1 − P − P' + output_padding
    weight (C,O/G,KH,KW), initialised with he_normal of the products that an output sums;   bias (O,), zeros, or None.
    padding: pixels cut off the border: an integer, (down, across) or ((top, bottom), (left, right)).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1, padding: Padding = 0,
                 output_padding: Pair = 0, groups: int = 1, bias: bool = True, dilation: Pair = 1):
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.kernel_size, self.stride = pair("kernel_size", kernel_size), pair("stride", stride)
        self.padding, self.output_padding = _spelled(padding), pair("output_padding", output_padding, 0)
        self.groups, self.dilation = positive("groups", groups), pair("dilation", dilation)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} (={channels}) must be divisible by groups (={groups})")
        KH, KW = self.kernel_size
        fan_in = in_channels // groups * math.ceil(KH / self.stride[0]) * math.ceil(KW / self.stride[1])
        self.weight = Parameter(init.normal((in_channels, out_channels // groups, KH, KW), math.sqrt(2 / fan_in)))
        self.bias = Parameter(init.constant((out_channels,), 0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        return conv_transpose2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                                output_padding=self.output_padding, groups=self.groups,
                                dilation=self.dilation)  # fmt: skip

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """One product for each input and each weight of its filters: C·H·W · O/G·KH·KW"""
        ends = sides(self.padding)
        assert not isinstance(ends, str)
        H, W = ((out + sum(p) - d * (k - 1) - 1 - more) // s + 1 for out, p, d, k, more, s in zip(
            output_shape[1:], ends, self.dilation, self.kernel_size, self.output_padding, self.stride))
        return H * W * self.weight.size


def _spelled(padding: Padding) -> Any:
    """The padding, checked: a name, (down, across), or ((top, bottom), (left, right)) if two sides differ."""
    found = sides(padding)
    if isinstance(padding, str) or isinstance(found, str):
        return padding
    (top, bottom), (left, right) = found
    return (top, left) if top == bottom and left == right else found
