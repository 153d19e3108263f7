"""MobileNetV3: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le & Adam 2019, "Searching for
MobileNetV3".

MobileNetV2's inverted residuals, with three changes. A search chose every block's kernel, width and extras (the tables
below). Some blocks scale their maps by squeeze-and-excitation (Hu et al. 2017). And the deeper half uses h-swish,
x·relu6(x + 3)/6: swish without an exponential, which is worth its cost for small maps with many channels.
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.mobilenet_v2 import make_divisible
from minicnn.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Hardsigmoid,
    Hardswish,
    Linear,
    Module,
    ReLU,
    Sequential,
)
from minicnn.tensor import Tensor

# Tables 1 and 2, the rows "bneck": kernel, expanded channels, channels out, squeeze-and-excitation, activation, stride.
LARGE = (
    (3, 16, 16, False, ReLU, 1),
    (3, 64, 24, False, ReLU, 2),
    (3, 72, 24, False, ReLU, 1),
    (5, 72, 40, True, ReLU, 2),
    (5, 120, 40, True, ReLU, 1),
    (5, 120, 40, True, ReLU, 1),
    (3, 240, 80, False, Hardswish, 2),
    (3, 200, 80, False, Hardswish, 1),
    (3, 184, 80, False, Hardswish, 1),
    (3, 184, 80, False, Hardswish, 1),
    (3, 480, 112, True, Hardswish, 1),
    (3, 672, 112, True, Hardswish, 1),
    (5, 672, 160, True, Hardswish, 2),
    (5, 960, 160, True, Hardswish, 1),
    (5, 960, 160, True, Hardswish, 1),
)
SMALL = (
    (3, 16, 16, True, ReLU, 2),
    (3, 72, 24, False, ReLU, 2),
    (3, 88, 24, False, ReLU, 1),
    (5, 96, 40, True, Hardswish, 2),
    (5, 240, 40, True, Hardswish, 1),
    (5, 240, 40, True, Hardswish, 1),
    (5, 120, 48, True, Hardswish, 1),
    (5, 144, 48, True, Hardswish, 1),
    (5, 288, 96, True, Hardswish, 2),
    (5, 576, 96, True, Hardswish, 1),
    (5, 576, 96, True, Hardswish, 1),
)


def conv_norm(in_channels, out_channels, kernel_size, activation, stride=1, groups=1) -> Sequential:
    """Convolution, BN with the authors' eps and momentum, activation (None: linear)."""
    return Sequential(
        Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False),
        BatchNorm2d(out_channels, eps=1e-3, momentum=0.01),
        *([activation()] if activation else []),
    )


class SqueezeExcitation(Module):
    """Each map times a number in [0, 1] that is computed from the means of all maps.   x (N,C,H,W) → (N,C,H,W)   §5.3

    y = x · hardsigmoid(fc2(relu(fc1(mean of x)))); fc1 maps to a quarter of C (a multiple of 8), fc2 back. Both are 1×1
    convolutions on 1×1 pixels: linear layers that keep the axes.
    """

    def __init__(self, channels):
        squeezed = make_divisible(channels / 4)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(channels, squeezed, 1)
        self.relu = ReLU()
        self.fc2 = Conv2d(squeezed, channels, 1)
        self.hardsigmoid = Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,H,W)"""
        s = self.relu(self.fc1(self.avgpool(x)))           # (N, C/4, 1, 1)
        s = self.hardsigmoid(self.fc2(s))                  # (N, C, 1, 1)
        return x * s


class InvertedResidual(Module):
    """Fig. 4, MobileNetV2's block with squeeze-and-excitation between the depthwise and the last convolution.

    (N,C,H,W) → (N,O,H/stride,W/stride). Without expansion there is no first convolution.
    """

    def __init__(self, in_channels, kernel_size, hidden, out_channels, squeeze, activation, stride):
        self.shortcut = stride == 1 and in_channels == out_channels
        up = [conv_norm(in_channels, hidden, 1, activation)] if hidden != in_channels else []
        self.block = Sequential(
            *up,                                                              # (N, hidden, H, W)
            conv_norm(hidden, hidden, kernel_size, activation, stride, groups=hidden),       # (N, hidden, H/s, W/s)
            *([SqueezeExcitation(hidden)] if squeeze else []),
            conv_norm(hidden, out_channels, 1, None),                         # (N, O, H/s, W/s)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/stride,W/stride)"""
        return x + self.block(x) if self.shortcut else self.block(x)


class MobileNetV3(Module):
    """A convolution, the table's blocks, a 1×1 convolution to six times the maps, their means, two linear layers."""

    def __init__(self, table, last, width, in_channels, num_classes):
        channels = make_divisible(16 * width)
        layers = [conv_norm(in_channels, channels, 3, Hardswish, stride=2)]
        for kernel_size, hidden, out, squeeze, activation, stride in table:
            hidden, out = make_divisible(hidden * width), make_divisible(out * width)
            layers.append(InvertedResidual(channels, kernel_size, hidden, out, squeeze, activation, stride))
            channels = out
        layers.append(conv_norm(channels, 6 * channels, 1, Hardswish))
        last = make_divisible(last * width)
        self.features = Sequential(*layers)
        self.pool = GlobalAvgPool2d()
        self.classifier = Sequential(
            Linear(6 * channels, last),
            Hardswish(),
            Dropout(0.2),
            Linear(last, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,num_classes)"""
        x = self.features(x)                               # (N, 960, H/32, W/32), small (N, 576, …)
        return self.classifier(self.pool(x))


def mobilenet_v3_large(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> MobileNetV3:
    """MobileNetV3-Large, 15 blocks.   5,483,032 parameters, 216,589,760 multiply-adds at 224×224.

    width: multiplies every number of channels, rounded by MobileNetV2's `make_divisible`.

    Differences: the last two 1×1 convolutions in the table come after the pooling, and are linear layers here,
    as in torchvision. Dropout of 0.2 is the paper's 0.8, which is the probability of keeping. A quarter of the channels
    in squeeze-and-excitation is rounded to a multiple of 8, as in the authors' code. BN has their eps 0.001 and
    momentum 0.01: such slow running statistics suit long training, but after 100 steps they still hold 37 % of their
    initial values, and eval mode is wrong; for short training set `momentum` of the BatchNorm2d layers to 0.1.
    Initial weights: He normal.
    """
    return _mobilenet_v3(LARGE, 1280, num_classes, in_channels, width)


def mobilenet_v3_small(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> MobileNetV3:
    """MobileNetV3-Small, 11 blocks.   2,542,856 parameters, 56,510,400 multiply-adds at 224×224.

    As mobilenet_v3_large. One more difference: table 2 has squeeze-and-excitation in the last convolution before the
    pooling too. Neither torchvision nor the paper's 2.5 M parameters include it (it would add 166,608).
    """
    return _mobilenet_v3(SMALL, 1024, num_classes, in_channels, width)


def _mobilenet_v3(table, last, num_classes, in_channels, width):
    if not 0 < width < float("inf"):
        raise ValueError(f"width (={width}) must be above 0: it multiplies the numbers of channels")
    return MobileNetV3(table, last, width, in_channels, positive("num_classes", num_classes))
