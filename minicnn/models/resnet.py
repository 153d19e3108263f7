"""ResNet: He, Zhang, Ren & Sun 2015, "Deep Residual Learning for Image Recognition", for ImageNet (table 1).

A deeper net without shortcuts fits even its training data worse, although it could copy the shallower net and set the
other layers to the identity. The identity is hard to learn for a stack of convolutions, so each block adds its input to
its output and learns only the difference: H(x) = F(x) + x. The nets for CIFAR are in resnet_cifar.py.
"""

from __future__ import annotations

from collections.abc import Callable

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.names import unknown
from minicnn.nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, ReLU, Sequential
from minicnn.tensor import Tensor

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Table 1: depth → the number of blocks in conv2_x, conv3_x, conv4_x and conv5_x."""


def projection(in_channels: int, out_channels: int, stride: int) -> Sequential:
    """The shortcut if a block changes the shape, option B of §3.3: a 1×1 convolution changes x to F's shape."""
    return Sequential(Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels))


class BasicBlock(Module):
    """y = relu(F(x) + x), F two 3×3 convolutions (fig. 5, left).   x (N,C,H,W) → y (N,O,H/S,W/S)

    Where O ≠ C or S ≠ 1, x does not have F's shape, and shortcut(C, O, S) makes the module that changes it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, shortcut=projection):
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(out_channels)
        self.relu1 = ReLU()
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.relu2 = ReLU()
        same_shape = stride == 1 and in_channels == out_channels
        self.downsample = None if same_shape else shortcut(in_channels, out_channels, stride)

    def branch(self, x: Tensor) -> Tensor:
        """F: x (N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(y))

    def shortcut(self, x: Tensor) -> Tensor:
        """x itself, or its projection: (N,C,H,W) → (N,O,H/S,W/S)"""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/S,W/S)"""
        return self.relu2(self.branch(x) + self.shortcut(x))


class PlainBlock(BasicBlock):
    """y = relu(F(x)): the two layers of a BasicBlock, without its shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(in_channels, out_channels, stride, shortcut=lambda *shape: None)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/S,W/S)"""
        return self.relu2(self.branch(x))


class Bottleneck(Module):
    """y = relu(F(x) + x), F a 1×1 convolution to fewer channels, a 3×3, and a 1×1 back (fig. 5, right).

    x (N,C,H,W) → y (N,O,H/S,W/S); `inner` channels, O/4 by default, inside. The paper strides in the first 1×1, which
    ignores three pixels in four; variant="torchvision" strides in the 3×3. Later papers change `inner`
    (wide_resnet.py) and divide the 3×3 into `groups` (resnext.py).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, inner: int | None = None,
                 groups: int = 1, variant: str = "torchvision"):
        inner = out_channels // 4 if inner is None else inner
        first, second = (stride, 1) if variant == "paper" else (1, stride)
        self.conv1 = Conv2d(in_channels, inner, 1, first, bias=False)
        self.bn1 = BatchNorm2d(inner)
        self.relu1 = ReLU()
        self.conv2 = Conv2d(inner, inner, 3, second, padding=1, groups=groups, bias=False)
        self.bn2 = BatchNorm2d(inner)
        self.relu2 = ReLU()
        self.conv3 = Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(out_channels)
        self.relu3 = ReLU()
        same_shape = stride == 1 and in_channels == out_channels
        self.downsample = None if same_shape else projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.downsample is None else self.downsample(x)))


def stage(block: Callable[..., Module], in_channels: int, out_channels: int, count: int, stride: int,
          **first) -> Sequential:
    """`count` blocks; only the first changes the channels, strides, and gets the options `first`."""
    blocks = [block(in_channels, out_channels, stride, **first)]
    blocks += [block(out_channels, out_channels, 1) for _ in range(count - 1)]
    return Sequential(*blocks)


def imagenet_resnet(block: Callable[..., Module], blocks: tuple[int, ...], channels: list[int], num_classes,
                    in_channels) -> Sequential:
    """One column of table 1, with blocks made by block(in_channels, out_channels, stride).

    channels: of conv1, then of each stage's output. At each line's end: the shape for bottlenecks at width 1.
    """
    (c1, c2, c3, c4, c5), (n2, n3, n4, n5) = channels, blocks
    return Sequential({                                                        # (N,    C, 224, 224)
        "conv1": Conv2d(in_channels, c1, 7, 2, padding=3, bias=False),         # (N,   64, 112, 112)
        "bn1": BatchNorm2d(c1), "relu": ReLU(),                                # (N,   64, 112, 112)
        "maxpool": MaxPool2d(3, 2, padding=1),                                 # (N,   64,  56,  56)
        "layer1": stage(block, c1, c2, n2, 1),                                 # (N,  256,  56,  56)  conv2_x
        "layer2": stage(block, c2, c3, n3, 2),                                 # (N,  512,  28,  28)  conv3_x
        "layer3": stage(block, c3, c4, n4, 2),                                 # (N, 1024,  14,  14)  conv4_x
        "layer4": stage(block, c4, c5, n5, 2),                                 # (N, 2048,   7,   7)  conv5_x
        "avgpool": GlobalAvgPool2d(),                                          # (N, 2048)
        "fc": Linear(c5, positive("num_classes", num_classes)),                # (N,    K)
    })  # fmt: skip


def imagenet_channels(width: float, expansion: int) -> list[int]:
    """Channels of conv1 and of the four stages: 64, then 64, 128, 256, 512 times `expansion`."""
    return [scaled(64, width), *(expansion * scaled(64 * 2**i, width) for i in range(4))]


VARIANTS = ("torchvision", "paper")


def _resnet(depth, num_classes, in_channels, variant, width):
    if variant not in VARIANTS:
        raise ValueError(unknown(f"variant of resnet{depth}", variant, VARIANTS))
    if depth < 50:
        return imagenet_resnet(BasicBlock, BLOCKS[depth], imagenet_channels(width, 1), num_classes, in_channels)

    def block(in_channels, out_channels, stride):
        return Bottleneck(in_channels, out_channels, stride, variant=variant)

    return imagenet_resnet(block, BLOCKS[depth], imagenet_channels(width, 4), num_classes, in_channels)


def plain18(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Plain-18 for ImageNet: ResNet-18 without its shortcuts.   11,515,688 parameters, 1,794,805,760 multiply-adds.

    §4.1's plain nets have the layers of table 1 and no shortcut, so no projections either: 173,824 parameters and
    19,267,584 multiply-adds fewer than the residual net. Initial weights: He normal, as in the paper.
    """
    return imagenet_resnet(PlainBlock, BLOCKS[18], imagenet_channels(width, 1), num_classes, in_channels)


def plain34(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Sequential:
    """Plain-34 for ImageNet: ResNet-34 without its shortcuts.   21,623,848 parameters, 3,644,493,824 multiply-adds.

    Deeper than plain-18 and worse, on the training images too (fig. 4, left; table 2); see plain18.
    """
    return imagenet_resnet(PlainBlock, BLOCKS[34], imagenet_channels(width, 1), num_classes, in_channels)


def resnet18(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision",
             width: float = 1.0) -> Sequential:
    """ResNet-18: eight basic blocks.   11,689,512 parameters, 1,814,073,344 multiply-adds at 224×224.

    A basic block can stride in one place only, so variant="paper" is the same net. Shortcuts that change the shape are
    projections, option B of table 3; figure 4's curves are option A's, which is in resnet_cifar.py.
    Initial weights: He normal, as in the paper.
    """
    return _resnet(18, num_classes, in_channels, variant, width)


def resnet34(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision",
             width: float = 1.0) -> Sequential:
    """ResNet-34: sixteen basic blocks.   21,797,672 parameters, 3,663,761,408 multiply-adds at 224×224.

    Both variants are the same net, the paper's "ResNet-34 B" of table 3 (see resnet18).
    """
    return _resnet(34, num_classes, in_channels, variant, width)


def resnet50(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision",
             width: float = 1.0) -> Sequential:
    """ResNet-50: each two-layer block of ResNet-34 becomes a three-layer bottleneck.   25,557,032 parameters.

    variant="torchvision" ("v1.5") strides in the 3×3: 4,089,184,256 multiply-adds at 224×224. variant="paper" ("v1")
    strides in the first 1×1: 3,857,973,248, the paper's 3.8·10⁹. The weights have the same names and shapes in both,
    but trained weights belong to the variant they were trained in. Initial weights: He normal, as in the paper.
    """
    return _resnet(50, num_classes, in_channels, variant, width)


def resnet101(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision",
              width: float = 1.0) -> Sequential:
    """ResNet-101: 33 bottlenecks, 23 of them at 14×14.   44,549,160 parameters.

    Multiply-adds at 224×224: 7,801,405,440 with variant="torchvision", 7,570,194,432 with "paper" (see resnet50).
    """
    return _resnet(101, num_classes, in_channels, variant, width)


def resnet152(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision",
              width: float = 1.0) -> Sequential:
    """ResNet-152: 50 bottlenecks, and still fewer multiply-adds than VGG-16.   60,192,808 parameters.

    An ensemble of six nets, two of this depth, won ILSVRC 2015 with a top-5 error of 3.57 %.

    Multiply-adds at 224×224: 11,513,626,624 with variant="torchvision", 11,282,415,616 with "paper" (see resnet50).
    """
    return _resnet(152, num_classes, in_channels, variant, width)
