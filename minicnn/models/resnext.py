"""ResNeXt: Xie, Girshick, Dollár, Tu & He 2016, "Aggregated Residual Transformations for Deep Neural Networks".

The bottleneck is split into many narrow paths of the same form, which are summed: y = x + Σ T_i(x), i = 1 … C (eq. 3).
C, the "cardinality", can be increased like depth and width, at the same cost. The C paths equal one bottleneck whose
3×3 convolution has C groups (fig. 3(c)), which is how it is written here.
"""

from __future__ import annotations

from collections.abc import Callable

from minicnn.models.resnet import BLOCKS, Bottleneck, imagenet_channels, imagenet_resnet
from minicnn.models.resnet_cifar import blocks_per_stage, cifar_resnet
from minicnn.models.width import scaled
from minicnn.nn import Sequential


def aggregated(cardinality: int, d: int) -> Callable:
    """The function that makes the bottlenecks of a C×d net: C groups, each d channels wide in a block of 256."""

    def block(in_channels, out_channels, stride):
        inner = cardinality * max(1, d * out_channels // 256)
        return Bottleneck(in_channels, out_channels, stride, inner=inner, groups=cardinality)

    return block


def _resnext(depth, cardinality, d, num_classes, in_channels, width):
    channels = imagenet_channels(width, 4)
    return imagenet_resnet(aggregated(cardinality, d), BLOCKS[depth], channels, num_classes, in_channels)


def resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNeXt-50 (32×4d): ResNet-50 with 32 paths, 4 wide in the first stage.   25,028,904 parameters.

    4,230,479,872 multiply-adds at 224×224: about as many as ResNet-50 has (table 1). As in the authors' code and
    in torchvision the 3×3 strides. Initial weights: He normal, as in the paper.
    """
    return _resnext(50, 32, 4, num_classes, in_channels, width)


def resnext101_32x8d(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNeXt-101 with 32 paths, 8 wide in the first stage: torchvision's, not in the paper.   88,791,336 parameters.

    16,414,015,488 multiply-adds at 224×224.
    """
    return _resnext(101, 32, 8, num_classes, in_channels, width)


def resnext101_64x4d(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNeXt-101 (64×4d), twice the cost of ResNet-101 spent on cardinality (table 4).   83,455,272 parameters.

    15,460,270,080 multiply-adds at 224×224.
    """
    return _resnext(101, 64, 4, num_classes, in_channels, width)


def resnext_cifar(cardinality: int, d: int, depth: int = 29, num_classes: int = 10, in_channels: int = 3,
                  width: float = 1.0) -> Sequential:  # fmt: skip
    """§5.3's nets for 32×32 images: 9n + 2 layers, stages of 256, 512 and 1024 channels behind a 3×3 with 64.

    Shortcuts are projections where the shape changes. Initial weights: He normal, as in the paper.
    """
    n = blocks_per_stage(depth, layers=3, others=2)
    channels = [scaled(64, width), *(4 * scaled(c, width) for c in (64, 128, 256))]
    return cifar_resnet(aggregated(cardinality, d), n, channels, num_classes, in_channels)


def resnext29_8x64d(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNeXt-29 (8×64d) for 32×32 images.   34,426,698 parameters, 5,387,266,048 multiply-adds."""
    return resnext_cifar(8, 64, 29, num_classes, in_channels, width)


def resnext29_16x64d(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """ResNeXt-29 (16×64d) for 32×32 images.   68,155,210 parameters, 10,688,866,304 multiply-adds."""
    return resnext_cifar(16, 64, 29, num_classes, in_channels, width)
