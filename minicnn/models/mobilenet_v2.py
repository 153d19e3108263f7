"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov & Chen 2018, "MobileNetV2: inverted residuals and linear bottlenecks".

ResNet's bottleneck inverted: few maps between blocks, t times as many inside a block, where a depthwise convolution is
cheap. The shortcut connects the narrow ends, and only batch norm follows the last 1×1 convolution: ReLU on few channels
would remove what the other channels can't replace (§3.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from minicnn.geometry import positive
from minicnn.nn import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, Module, ReLU6, Sequential
from minicnn.tensor import Tensor

# Table 2: expansion t, channels out c, number of blocks n, stride s of the first of them (the others have 1).
TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of 8 nearest to `channels`, halves up, at least 8; the next one if more than 10 % would be lost.

    Multiples of eight are efficient on vector units. 0.75·24 = 18 would become 16, a loss of 11 %, so it becomes 24.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def conv_norm_relu6(in_channels, out_channels, kernel_size, stride=1, groups=1) -> Sequential:
    """Convolution, BN, ReLU6."""
    return Sequential(
        Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False),
        BatchNorm2d(out_channels),
        ReLU6(),
    )


class InvertedResidual(Module):
    """Table 1: 1×1 up to t·C channels, depthwise 3×3, 1×1 down to O, linear.   (N,C,H,W) → (N,O,H/stride,W/stride)

    With stride 1 and O = C the input is added. With t = 1 there is no first convolution.
    """

    def __init__(self, in_channels, out_channels, stride, expansion):
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        up = [conv_norm_relu6(in_channels, hidden, 1)] if expansion > 1 else []
        self.conv = Sequential(
            *up,                                                              # (N, t·C, H, W)
            conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden),        # (N, t·C, H/s, W/s)
            Conv2d(hidden, out_channels, 1, bias=False),                      # (N, O, H/s, W/s)
            BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/stride,W/stride)"""
        return x + self.conv(x) if self.shortcut else self.conv(x)


class Features(Sequential):
    """The net without its classifier. It also loads checkpoints with the whole net's names or with flat names."""

    def current_names(self, names: Iterable[str]) -> dict[str, str]:
        """As in Module; the prefix "features." is optional."""
        own = {name: name.removeprefix("features.") for name in names}
        nested = nested_names(own.values())
        return {name: nested[here] for name, here in own.items()}


class MobileNetV2(Module):
    """A convolution, the table's blocks, a 1×1 convolution, the mean of each map, dropout and a linear layer."""

    def __init__(self, width, in_channels, num_classes):
        channels, last = make_divisible(32 * width), make_divisible(1280 * max(1.0, width))
        layers = [conv_norm_relu6(in_channels, channels, 3, stride=2)]
        for t, c, n, s in TABLE:
            for i in range(n):
                out_channels = make_divisible(c * width)
                layers.append(InvertedResidual(channels, out_channels, s if i == 0 else 1, t))
                channels = out_channels
        layers.append(conv_norm_relu6(channels, last, 1))
        self.features = Features(*layers)
        self.pool = GlobalAvgPool2d()
        self.classifier = Sequential(Dropout(0.2), Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,num_classes)"""
        x = self.features(x)                               # (N, 1280, H/32, W/32)
        return self.classifier(self.pool(x))

    def current_names(self, names: Iterable[str]) -> dict[str, str]:
        """As in Module; the flat names of older checkpoints are accepted too: see `nested_names`."""
        return nested_names(names)


def nested_names(names: Iterable[str]) -> dict[str, str]:
    """{name: torchvision's name}, also of PyTorch checkpoints that are older than torchvision's net.

    Old checkpoints number all layers of a block in sequence; here convolution, BN and activation are a group:
        features.2.conv. 0 1 2  3 4 5  6 7   →   features.2.conv. 0.0 0.1 0.2  1.0 1.1 1.2  2 3
    A block that has conv.0.weight is flat: in the nested names conv.0 is a group of three layers.
    """
    known = set(names)
    flat = {name.removesuffix("0.weight") for name in known if re.search(r"\d+\.conv\.0\.weight$", name)}

    def rename(name):
        block, layer, rest = re.fullmatch(r"(?:(.*\d+\.conv\.)(\d+)\.)?(.*)", name).groups()
        if block not in flat:
            return name
        threes = 2 if f"{block}6.weight" in known else 1   # up and depthwise, or only depthwise
        i = int(layer)
        return f"{block}{i // 3}.{i % 3}.{rest}" if i < 3 * threes else f"{block}{i - 2 * threes}.{rest}"

    return {name: rename(name) for name in names}


def mobilenet_v2(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> MobileNetV2:
    """MobileNetV2, 17 inverted residual blocks.   3,504,872 parameters, 300,774,272 multiply-adds at 224×224.

    width: the paper's α. It multiplies every number of channels, rounded by `make_divisible`, except the last
    convolution's 1280 if α < 1 (§5, "trade-off hyper parameters"):
                                   α = 1.4        0.75         0.5        0.35
        parameters               6,108,776   2,636,424   1,968,680   1,677,128
        multiply-adds, 224×224 582,195,824 209,069,792  97,131,840  59,285,808

    Differences: the paper's text counts 19 blocks, its table 17. With t = 1 the first block needs no expansion and has
    none, as in the authors' code; dropout of 0.2 before the linear layer (in the table a 1×1 convolution on 1×1 pixels,
    which is the same) is from that code too, BN's eps 1e-5 and momentum 0.1 from torchvision.
    Initial weights: He normal.
    """
    if not 0 < width < float("inf"):
        raise ValueError(f"width (={width}) must be above 0: it multiplies the numbers of channels")
    return MobileNetV2(width, in_channels, positive("num_classes", num_classes))
