"""The convolutional layer."""

import math

from minicnn.geometry import Pair, pair, positive
from minicnn.nn import init
from minicnn.nn.module import Module, Parameter
from minicnn.ops.conv import conv2d
from minicnn.tensor import Tensor


class Conv2d(Module):
    """ops.conv2d with learned filters.   x (N,C,H,W) → y (N,O,OH,OW),   OH = ⌊(H + 2P − D(KH−1) − 1)/S⌋ + 1

    weight (O,C/G,KH,KW), initialised with he_normal;   bias (O,), zeros, or None.   Parameters: O·C/G·KH·KW (+ O).
    kernel_size, stride, padding, dilation: an integer or (down, across); padding="same" keeps the size at stride 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1,
                 padding: Pair | str = 0, dilation: Pair = 1, groups: int = 1, bias: bool = True):
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.kernel_size, self.stride = pair("kernel_size", kernel_size), pair("stride", stride)
        self.padding = padding if isinstance(padding, str) else pair("padding", padding, least=0)
        self.dilation, self.groups = pair("dilation", dilation), positive("groups", groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} (={channels}) must be divisible by groups (={groups})")
        self.weight = Parameter(init.he_normal((out_channels, in_channels // groups, *self.kernel_size)))
        self.bias = Parameter(init.constant((out_channels,), 0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        return conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                      dilation=self.dilation, groups=self.groups)  # fmt: skip

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """O·OH·OW outputs, each of C/G·KH·KW products"""
        return math.prod(output_shape) * math.prod(self.weight.shape[1:])
