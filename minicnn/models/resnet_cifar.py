"""Plain nets and ResNets for CIFAR-10: He, Zhang, Ren & Sun 2015, "Deep Residual Learning for Image Recognition", §4.2.

The paper's main experiment: plain-56 ends with a larger error than plain-20 on the training data too, so the cause is
not over-fitting; with shortcuts the order is reversed. Both nets are three stages of n blocks of two 3×3 convolutions
on 32×32, 16×16 and 8×8 pixels with 16, 32 and 64 channels: 6n + 2 layers. Shortcuts of option A have no parameters, so
plain-20 and ResNet-20 have the same weights: the state of one loads into the other.
"""

from __future__ import annotations

from collections.abc import Callable

from minicnn import devices
from minicnn.geometry import positive
from minicnn.models.resnet import BasicBlock, PlainBlock, projection, stage
from minicnn.models.width import scaled
from minicnn.names import unknown
from minicnn.nn import AvgPool2d, BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, Module, ReLU, Sequential
from minicnn.ops.shape import concat
from minicnn.tensor import Tensor


class ZeroChannels(Module):
    """x (N,C,H,W) → (N,C+count,H,W): `count` maps of zeros are added after the others."""

    def __init__(self, count: int):
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C+count,H,W)"""
        N, _, H, W = x.shape
        return concat(x, devices.of(x.data).xp.zeros((N, self.count, H, W), x.dtype), axis=1)


def subsample_and_pad(in_channels: int, out_channels: int, stride: int) -> Sequential:
    """The shortcut if a block changes the shape, option A of §3.3: every S-th pixel, and zeros for new channels."""
    return Sequential(
        AvgPool2d(1, stride),  # the mean of 1×1 windows, S apart: the pixels themselves
        ZeroChannels(out_channels - in_channels),
    )


def cifar_resnet(block: Callable, count: int, channels: list[int], num_classes, in_channels) -> Sequential:
    """3×3 convolution, three stages of `count` blocks made by block(in_channels, out_channels, stride), mean, linear.

    channels: of conv1, then of each stage's output. At each line's end: the shape for 16, 16, 32, 64.
    """
    c1, c2, c3, c4 = channels
    return Sequential({                                                # (N,  C, 32, 32)
        "conv1": Conv2d(in_channels, c1, 3, padding=1, bias=False),    # (N, 16, 32, 32)
        "bn1": BatchNorm2d(c1), "relu": ReLU(),                        # (N, 16, 32, 32)
        "layer1": stage(block, c1, c2, count, 1),                      # (N, 16, 32, 32)
        "layer2": stage(block, c2, c3, count, 2),                      # (N, 32, 16, 16)
        "layer3": stage(block, c3, c4, count, 2),                      # (N, 64,  8,  8)
        "avgpool": GlobalAvgPool2d(),                                  # (N, 64)
        "fc": Linear(c4, positive("num_classes", num_classes)),        # (N,  K)
    })  # fmt: skip


def cifar_channels(width: float) -> list[int]:
    """Channels of conv1 and of the three stages."""
    return [scaled(c, width) for c in (16, 16, 32, 64)]


def blocks_per_stage(depth: int, layers: int, others: int) -> int:
    """n, where depth = 3 stages · n blocks · the layers of a block + `others`."""
    n, rest = divmod(positive("depth", depth) - others, 3 * layers)
    if rest or n < 1:
        near = [3 * layers * m + others for m in (max(n, 1), max(n, 1) + 1)]
        raise ValueError(f"depth (={depth}) must be {3 * layers}n + {others}, with n blocks in each of the 3 stages: "
                         f"use {near[0]} or {near[1]}")
    return n


def plain_cifar(depth: int, num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """The paper's plain net of 6n + 2 layers, the baseline of its ResNets. Parameters: see resnet_cifar.

    Initial weights: He normal, as in the paper. Beyond 50 layers it trains badly, as the paper shows.
    """
    n = blocks_per_stage(depth, layers=2, others=2)
    return cifar_resnet(PlainBlock, n, cifar_channels(width), num_classes, in_channels)


def resnet_cifar(depth: int, shortcut: str = "A", num_classes: int = 10, in_channels: int = 3,
                 width: float = 1.0) -> Sequential:
    """The paper's ResNet of 6n + 2 layers for 32×32 images: n BasicBlocks in each of three stages.

    shortcut="A", the paper's choice here: subsampled identities, no parameters. "B": projections where the shape
    changes, 2,752 parameters and 262,144 multiply-adds more. The paper doesn't say where the zeros of option A go; here
    they are the last channels. Initial weights: He normal, as in the paper.

        depth         20          32          44           56          110          1202
        parameters    269,722     464,154     658,586      853,018     1,727,962    19,421,274   (option A)
        multiply-adds 40,551,040  68,862,592  97,174,144  125,485,696  252,887,680  2,829,238,912
    """
    shortcuts = {"A": subsample_and_pad, "B": projection}
    if shortcut not in shortcuts:
        raise ValueError(unknown("shortcut", shortcut, shortcuts))

    def block(in_channels, out_channels, stride):
        return BasicBlock(in_channels, out_channels, stride, shortcut=shortcuts[shortcut])

    n = blocks_per_stage(depth, layers=2, others=2)
    return cifar_resnet(block, n, cifar_channels(width), num_classes, in_channels)


def plain20(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """plain-20 for 32×32 images.   269,722 parameters, 40,551,040 multiply-adds; see plain_cifar."""
    return plain_cifar(20, num_classes, in_channels, width)


def plain32(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """plain-32 for 32×32 images.   464,154 parameters, 68,862,592 multiply-adds; see plain_cifar."""
    return plain_cifar(32, num_classes, in_channels, width)


def plain44(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """plain-44 for 32×32 images.   658,586 parameters, 97,174,144 multiply-adds; see plain_cifar."""
    return plain_cifar(44, num_classes, in_channels, width)


def plain56(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """plain-56 for 32×32 images.   853,018 parameters, 125,485,696 multiply-adds; see plain_cifar."""
    return plain_cifar(56, num_classes, in_channels, width)


def plain110(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """plain-110 for 32×32 images.   1,727,962 parameters, 252,887,680 multiply-adds; see plain_cifar."""
    return plain_cifar(110, num_classes, in_channels, width)


def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-20 for 32×32 images.   269,722 parameters, 40,551,040 multiply-adds; see resnet_cifar."""
    return resnet_cifar(20, shortcut, num_classes, in_channels, width)


def resnet32(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-32 for 32×32 images.   464,154 parameters, 68,862,592 multiply-adds; see resnet_cifar."""
    return resnet_cifar(32, shortcut, num_classes, in_channels, width)


def resnet44(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-44 for 32×32 images.   658,586 parameters, 97,174,144 multiply-adds; see resnet_cifar."""
    return resnet_cifar(44, shortcut, num_classes, in_channels, width)


def resnet56(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-56 for 32×32 images.   853,018 parameters, 125,485,696 multiply-adds; see resnet_cifar."""
    return resnet_cifar(56, shortcut, num_classes, in_channels, width)


def resnet110(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-110 for 32×32 images.   1,727,962 parameters, 252,887,680 multiply-adds; see resnet_cifar."""
    return resnet_cifar(110, shortcut, num_classes, in_channels, width)


def resnet1202(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", width: float = 1.0) -> Sequential:
    """ResNet-1202 for 32×32 images.   19,421,274 parameters, 2,829,238,912 multiply-adds; see resnet_cifar.

    In the paper it fits the training data as well as ResNet-110 and over-fits.
    """
    return resnet_cifar(1202, shortcut, num_classes, in_channels, width)
