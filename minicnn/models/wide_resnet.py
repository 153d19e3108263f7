"""Wide ResNet: Zagoruyko & Komodakis 2016, "Wide Residual Networks", table 1.

A thousand thin layers are slow, because they must be computed one after the other, and each adds little. Sixteen to
forty layers with k times the channels learn as much or more, in convolutions that are large enough to run fast.
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.preact_resnet import PreActBlock, cifar_preact
from minicnn.models.resnet import BLOCKS, Bottleneck, imagenet_channels, imagenet_resnet
from minicnn.models.resnet_cifar import blocks_per_stage
from minicnn.nn import Dropout, Sequential
from minicnn.tensor import Tensor


class WideBlock(PreActBlock):
    """A pre-activation unit of two 3×3 convolutions with dropout between them (fig. 1(d))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, activate=True, dropout=0.0):
        super().__init__(in_channels, out_channels, stride, activate)
        self.dropout = Dropout(dropout)

    def branch(self, a: Tensor) -> Tensor:
        """The rest of F: a (N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.relu2(self.bn2(self.conv1(a)))
        return self.conv2(self.dropout(y))


def wrn(depth: int, k: int, dropout: float = 0.0, num_classes: int = 10, in_channels: int = 3) -> Sequential:
    """WRN-depth-k for 32×32 images: three stages of n pre-activation units, with 16k, 32k and 64k channels.

    depth = 6n + 4 counts convolutions: the first one, two in each unit, three projections (with k = 1 the first stage
    needs none). dropout: the probability between a unit's convolutions; the paper uses 0 or, on CIFAR,
    0.3. Initial weights: He normal, as in the paper.
    """
    k = positive("k", k)

    def block(in_channels, out_channels, stride, activate=True):
        return WideBlock(in_channels, out_channels, stride, activate, dropout)

    n = blocks_per_stage(depth, layers=2, others=4)
    return cifar_preact(block, n, [16, 16 * k, 32 * k, 64 * k], num_classes, in_channels)


def wrn_40_1(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-40-1 for 32×32 images.   563,930 parameters, 83,280,512 multiply-adds; see wrn."""
    return wrn(40, 1, dropout, num_classes, in_channels)


def wrn_40_2(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-40-2 for 32×32 images.   2,243,546 parameters, 327,599,360 multiply-adds; see wrn."""
    return wrn(40, 2, dropout, num_classes, in_channels)


def wrn_40_4(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-40-4 for 32×32 images.   8,949,210 parameters, 1,298,582,016 multiply-adds; see wrn."""
    return wrn(40, 4, dropout, num_classes, in_channels)


def wrn_16_4(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-16-4 for 32×32 images.   2,748,890 parameters, 392,612,352 multiply-adds; see wrn."""
    return wrn(16, 4, dropout, num_classes, in_channels)


def wrn_16_8(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-16-8 for 32×32 images.   10,961,370 parameters, 1,548,145,664 multiply-adds; see wrn."""
    return wrn(16, 8, dropout, num_classes, in_channels)


def wrn_22_8(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-22-8 for 32×32 images.   17,158,106 parameters, 2,454,115,328 multiply-adds; see wrn."""
    return wrn(22, 8, dropout, num_classes, in_channels)


def wrn_28_10(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-28-10 for 32×32 images.   36,479,194 parameters, 5,243,328,768 multiply-adds; see wrn.

    The paper's best known net: 4.00 % error on CIFAR-10, 3.89 % with dropout=0.3.
    """
    return wrn(28, 10, dropout, num_classes, in_channels)


def wrn_28_12(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Sequential:
    """WRN-28-12 for 32×32 images.   52,517,850 parameters, 7,543,905,792 multiply-adds; see wrn."""
    return wrn(28, 12, dropout, num_classes, in_channels)


def _wide_bottlenecks(depth, num_classes, in_channels, width):
    def block(in_channels, out_channels, stride):
        return Bottleneck(in_channels, out_channels, stride, inner=out_channels // 4 * 2)

    return imagenet_resnet(block, BLOCKS[depth], imagenet_channels(width, 4), num_classes, in_channels)


def wide_resnet50_2(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNet-50 with twice the width, for ImageNet.   68,883,240 parameters, 11,398,021,120 multiply-adds.

    Twice the channels inside each bottleneck of resnet.py, as many as before between them: WRN-50-2-bottleneck of the
    paper's table 8, more accurate and faster than ResNet-152. It has no pre-activation. Initial weights: He normal.
    """
    return _wide_bottlenecks(50, num_classes, in_channels, width)


def wide_resnet101_2(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNet-101 with twice the width, for ImageNet.   126,886,696 parameters, 22,753,050,624 multiply-adds.

    torchvision's; the paper stops at 50 layers. See wide_resnet50_2.
    """
    return _wide_bottlenecks(101, num_classes, in_channels, width)
