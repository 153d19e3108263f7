"""MobileNet: Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto & Adam 2017, "MobileNets: efficient convolutional
neural networks for mobile vision applications".

A convolution filters in space and mixes channels at the same time. Here these are two steps: a depthwise 3×3
convolution filters each channel by itself (groups = channels), then a pointwise 1×1 convolution mixes them. From C
channels to N on OH×OW pixels they need OH·OW·C·(9 + N) multiply-adds; a 3×3 convolution needs OH·OW·C·9·N:

    (9 + N) / 9N  =  1/N + 1/9,       0.113 for N = 512: almost nine times fewer.   (§3.1)
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, Module, ReLU, Sequential
from minicnn.tensor import Tensor

# Table 1, its 13 pairs of rows: channels out, stride of the depthwise convolution. (The paper prints stride 2 for the
# last one too, but the map stays 7×7, which needs stride 1; the paper's count of multiply-adds also needs it.)
TABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip


class DepthwiseSeparable(Sequential):
    """Fig. 3, right: depthwise 3×3, BN, ReLU, pointwise 1×1, BN, ReLU.   (N,C,H,W) → (N,O,H/stride,W/stride)"""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(
            Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
            BatchNorm2d(in_channels),
            ReLU(),
            Conv2d(in_channels, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
            ReLU(),
        )


class Full(Sequential):
    """Fig. 3, left: the block that DepthwiseSeparable replaces: 3×3 convolution over all channels, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(
            Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            BatchNorm2d(out_channels),
            ReLU(),
        )


class MobileNetV1(Module):
    """A full convolution, 13 blocks, the mean of each map, a linear layer."""

    def __init__(self, block, channels, table, in_channels, num_classes):
        layers = [Full(in_channels, channels, stride=2)]
        for out_channels, stride in table:
            layers.append(block(channels, out_channels, stride))
            channels = out_channels
        self.features = Sequential(*layers)
        self.pool = GlobalAvgPool2d()
        self.classifier = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,num_classes)"""
        x = self.features(x)                               # (N, 1024, H/32, W/32)
        return self.classifier(self.pool(x))


def mobilenet_v1(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0,
                 separable: bool = True) -> MobileNetV1:
    """MobileNet, depthwise separable except the first convolution.   4,231,976 parameters, 568,740,352 multiply-adds.

    width: the paper's α, which multiplies every number of channels (rounded, but at least 8), so that both
    counts fall almost as α²:
                                     α = 1        0.75         0.5        0.25
        parameters               4,231,976   2,585,560   1,331,592     470,072
        multiply-adds, 224×224 568,740,352 325,400,448 149,497,088  41,030,272

    The paper's second parameter ρ, the resolution, is the size of the input images; no weight depends on it:
    418,121,728 multiply-adds at 192×192, 290,675,200 at 160×160, 186,400,768 at 128×128 (α = 1).
    separable=False: the same net of full 3×3 convolutions, table 4: 29,294,088 parameters, 4,867,293,184 multiply-adds.

    Not specified in the paper: padding is 1 on all sides (TensorFlow's "SAME" puts it after the image where the stride
    is 2: sizes agree, trained weights would not); BN has eps 1e-5; ReLU is the paper's, the authors' code has ReLU6.
    torchvision has no such net. Names: features.0 is the first convolution (0) and its BN (1), features.1 … 13 are
    blocks of depthwise convolution (0), BN (1), pointwise convolution (3), BN (4), or, full, of convolution (0) and
    BN (1); then classifier.   Initial weights: He normal.
    """
    table = [(max(8, scaled(channels, width)), stride) for channels, stride in TABLE]
    block = DepthwiseSeparable if separable else Full
    return MobileNetV1(block, max(8, scaled(32, width)), table, in_channels, positive("num_classes", num_classes))
