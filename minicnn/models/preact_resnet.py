"""Pre-activation ResNet: He, Zhang, Ren & Sun 2016, "Identity Mappings in Deep Residual Networks", fig. 4(e).

In resnet.py a ReLU follows every sum, so each block clips the signal on the shortcuts. Here batch norm and ReLU come
before the convolutions, inside the branch, and nothing follows the sum: x_L = x_l + Σ F(x_i). So each block's gradient
is the last block's gradient plus a term (eq. 5), and even 1001 layers can be trained.
"""

from __future__ import annotations

from collections.abc import Callable

from minicnn.geometry import positive
from minicnn.models.resnet import BLOCKS as RESNET_BLOCKS
from minicnn.models.resnet import imagenet_channels, stage
from minicnn.models.resnet_cifar import blocks_per_stage, cifar_channels, subsample_and_pad
from minicnn.names import unknown
from minicnn.nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, ReLU, Sequential
from minicnn.tensor import Tensor

BLOCKS = {**RESNET_BLOCKS, 200: (3, 24, 36, 3)}
"""Depth → the number of units in each stage; 200 is from this paper."""


def convolution(in_channels: int, out_channels: int, stride: int) -> Conv2d:
    """The shortcut if a unit changes the shape: a 1×1 convolution, without batch norm since x is already normalised."""
    return Conv2d(in_channels, out_channels, 1, stride, bias=False)


class PreActUnit(Module):
    """y = F(x) + x, with nothing after the sum.   x (N,C,H,W) → y (N,O,H/S,W/S)

    F = branch(relu(bn(x))). If the shape changes, the shortcut also starts from relu(bn(x)). activate=False
    omits the first bn and relu: for the net's first unit they are directly after conv1 (the paper's appendix).
    """

    def __init__(self, in_channels, out_channels, stride, activate, shortcut):
        self.bn1 = BatchNorm2d(in_channels) if activate else None
        self.relu1 = ReLU() if activate else None
        same_shape = stride == 1 and in_channels == out_channels
        self.downsample = None if same_shape else shortcut(in_channels, out_channels, stride)

    def branch(self, a: Tensor) -> Tensor:
        """The rest of F, different in each kind of unit: a (N,C,H,W) → (N,O,H/S,W/S)"""
        raise NotImplementedError(f"{type(self).__name__} has no branch method")

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/S,W/S)"""
        a = x if self.bn1 is None else self.relu1(self.bn1(x))
        return self.branch(a) + (x if self.downsample is None else self.downsample(a))


class PreActBlock(PreActUnit):
    """A PreActUnit of two 3×3 convolutions."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, activate=True, shortcut=convolution):
        super().__init__(in_channels, out_channels, stride, activate, shortcut)
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.relu2 = ReLU()
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)

    def branch(self, a: Tensor) -> Tensor:
        """The rest of F: a (N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.conv1(a)
        return self.conv2(self.relu2(self.bn2(y)))


class PreActBottleneck(PreActUnit):
    """A PreActUnit of 1×1, 3×3 and 1×1 convolutions, O/4 channels inside; it strides in the first."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, activate=True, shortcut=convolution):
        super().__init__(in_channels, out_channels, stride, activate, shortcut)
        inner = out_channels // 4
        self.conv1 = Conv2d(in_channels, inner, 1, stride, bias=False)
        self.bn2 = BatchNorm2d(inner)
        self.relu2 = ReLU()
        self.conv2 = Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn3 = BatchNorm2d(inner)
        self.relu3 = ReLU()
        self.conv3 = Conv2d(inner, out_channels, 1, bias=False)

    def branch(self, a: Tensor) -> Tensor:
        """The rest of F: a (N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.conv1(a)
        y = self.conv2(self.relu2(self.bn2(y)))
        return self.conv3(self.relu3(self.bn3(y)))


def cifar_preact(block: Callable, count: int, channels: list[int], num_classes, in_channels) -> Sequential:
    """Three stages of `count` units made by block(in_channels, out_channels, stride, activate).

    channels: of conv1, then of each stage's output. At each line's end: the shape for 16, 64, 128, 256 (ResNet-164).
    """
    c1, c2, c3, c4 = channels
    return Sequential({                                                # (N,   C, 32, 32)
        "conv1": Conv2d(in_channels, c1, 3, padding=1, bias=False),    # (N,  16, 32, 32)
        "bn1": BatchNorm2d(c1), "relu1": ReLU(),                       # (N,  16, 32, 32)  the first unit's
        "layer1": stage(block, c1, c2, count, 1, activate=False),      # (N,  64, 32, 32)
        "layer2": stage(block, c2, c3, count, 2),                      # (N, 128, 16, 16)
        "layer3": stage(block, c3, c4, count, 2),                      # (N, 256,  8,  8)
        "bn2": BatchNorm2d(c4), "relu2": ReLU(),                       # (N, 256,  8,  8)  after the last sum
        "avgpool": GlobalAvgPool2d(),                                  # (N, 256)
        "fc": Linear(c4, positive("num_classes", num_classes)),        # (N,   K)
    })  # fmt: skip


def imagenet_preact(block: Callable, blocks: tuple[int, ...], channels: list[int], num_classes,
                    in_channels) -> Sequential:
    """Four stages of units behind a 7×7 convolution. At each line's end: the shape for bottlenecks at width 1."""
    (c1, c2, c3, c4, c5), (n2, n3, n4, n5) = channels, blocks
    return Sequential({                                                        # (N,    C, 224, 224)
        "conv1": Conv2d(in_channels, c1, 7, 2, padding=3, bias=False),         # (N,   64, 112, 112)
        "bn1": BatchNorm2d(c1), "relu1": ReLU(),                               # (N,   64, 112, 112)  the first unit's
        "maxpool": MaxPool2d(3, 2, padding=1),                                 # (N,   64,  56,  56)
        "layer1": stage(block, c1, c2, n2, 1, activate=False),                 # (N,  256,  56,  56)
        "layer2": stage(block, c2, c3, n3, 2),                                 # (N,  512,  28,  28)
        "layer3": stage(block, c3, c4, n4, 2),                                 # (N, 1024,  14,  14)
        "layer4": stage(block, c4, c5, n5, 2),                                 # (N, 2048,   7,   7)
        "bn2": BatchNorm2d(c5), "relu2": ReLU(),                               # (N, 2048,   7,   7)  after the last sum
        "avgpool": GlobalAvgPool2d(),                                          # (N, 2048)
        "fc": Linear(c5, positive("num_classes", num_classes)),                # (N,    K)
    })  # fmt: skip


def preact_resnet_cifar(depth: int, block: str = "bottleneck", num_classes: int = 10, in_channels: int = 3,
                        width: float = 1.0) -> Sequential:  # fmt: skip
    """The paper's nets for 32×32 images: n units in each of three stages.

    block="bottleneck": 9n + 2 layers (164 and 1001), projections where the shape changes, as in the authors' code;
    "basic": 6n + 2 layers (110), subsampled and zero-padded shortcuts as in resnet_cifar.py (that they also start
    from relu(bn(x)) is our reading). Initial weights: He normal, as in the paper.
    """
    if block == "basic":
        def unit(in_channels, out_channels, stride, activate=True):
            return PreActBlock(in_channels, out_channels, stride, activate, shortcut=subsample_and_pad)

        n = blocks_per_stage(depth, layers=2, others=2)
        return cifar_preact(unit, n, cifar_channels(width), num_classes, in_channels)
    if block == "bottleneck":
        stem, *inner = cifar_channels(width)
        n = blocks_per_stage(depth, layers=3, others=2)
        return cifar_preact(PreActBottleneck, n, [stem, *(4 * c for c in inner)], num_classes, in_channels)
    raise ValueError(unknown("block", block, ("basic", "bottleneck")))


def preact_resnet110(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-110 for 32×32 images, of basic units.

    1,727,962 parameters, 252,887,680 multiply-adds, as ResNet-110 has; see preact_resnet_cifar.
    """
    return preact_resnet_cifar(110, "basic", num_classes, in_channels, width)


def preact_resnet164(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-164 for 32×32 images, of bottlenecks.

    1,703,258 parameters, 244,500,992 multiply-adds; see preact_resnet_cifar.
    """
    return preact_resnet_cifar(164, "bottleneck", num_classes, in_channels, width)


def preact_resnet1001(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-1001 for 32×32 images, of bottlenecks.

    10,327,706 parameters, 1,487,849,984 multiply-adds; see preact_resnet_cifar.
    """
    return preact_resnet_cifar(1001, "bottleneck", num_classes, in_channels, width)


def _preact_resnet(depth, num_classes, in_channels, width):
    block, expansion = (PreActBlock, 1) if depth < 50 else (PreActBottleneck, 4)
    return imagenet_preact(block, BLOCKS[depth], imagenet_channels(width, expansion), num_classes, in_channels)


def preact_resnet18(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-18 for ImageNet.   11,687,720 parameters, 1,814,073,344 multiply-adds.

    152 and 200 layers are in the paper's table 5; the other depths consist of the same units. As in the paper of 2015,
    bottlenecks stride in their first 1×1 (not specified here). Initial weights: He normal, as in the paper.
    """
    return _preact_resnet(18, num_classes, in_channels, width)


def preact_resnet34(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-34.   21,795,880 parameters, 3,663,761,408 multiply-adds; see preact_resnet18."""
    return _preact_resnet(34, num_classes, in_channels, width)


def preact_resnet50(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-50.   25,549,352 parameters, 3,857,973,248 multiply-adds; see preact_resnet18."""
    return _preact_resnet(50, num_classes, in_channels, width)


def preact_resnet101(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-101.   44,541,480 parameters, 7,570,194,432 multiply-adds; see preact_resnet18."""
    return _preact_resnet(101, num_classes, in_channels, width)


def preact_resnet152(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-152.   60,185,128 parameters, 11,282,415,616 multiply-adds; see preact_resnet18."""
    return _preact_resnet(152, num_classes, in_channels, width)


def preact_resnet200(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Pre-activation ResNet-200 for ImageNet.   64,666,152 parameters, 14,776,270,848 multiply-adds.

    From this paper: of its 66 units 24 work on 28×28 and 36 on 14×14 pixels; see preact_resnet18.
    """
    return _preact_resnet(200, num_classes, in_channels, width)
