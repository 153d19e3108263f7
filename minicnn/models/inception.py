"""Inception-v3: Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, "Rethinking the Inception architecture for computer
vision" (CVPR 2016), table 1 and figs. 5, 6, 7, 8 and 10.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.geometry import positive
from minicnn.models.width import scaled as scaled_to
from minicnn.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    init,
)
from minicnn.ops.shape import concat
from minicnn.tensor import Tensor

Scaled = Callable[[int], int]  # the paper's number of channels → the net's, by its width


class BasicConv2d(Module):
    """Convolution without bias, batch norm (eps 1e-3), ReLU.   x (N,C,H,W) → (N,O,OH,OW)"""

    def __init__(self, C, O, kernel_size, stride=1, padding=0, std=0.1):
        self.conv = Conv2d(C, O, kernel_size, stride, padding, bias=False)
        self.conv.weight = Parameter(init.truncated_normal(self.conv.weight.shape, std))
        self.bn = BatchNorm2d(O, eps=1e-3)
        self.relu = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        return self.relu(self.bn(self.conv(x)))


class InceptionA(Module):
    """Fig. 5, on 35×35 maps: two 3×3 convolutions have the receptive field of a 5×5, with 18/25 of the weights.

    In the figure the other branch is 1×1, 3×3; the net that Google released has 1×1, 5×5 instead.
    x (N,C,H,W) → (N, 224 + pool_features, H, W)
    """

    def __init__(self, C, pool_features, scaled: Scaled):
        w = scaled
        self.out_channels = w(64) + w(64) + w(96) + w(pool_features)
        self.branch1x1 = BasicConv2d(C, w(64), 1)
        self.branch5x5_1 = BasicConv2d(C, w(48), 1)
        self.branch5x5_2 = BasicConv2d(w(48), w(64), 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(C, w(64), 1)
        self.branch3x3dbl_2 = BasicConv2d(w(64), w(96), 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(w(96), w(96), 3, padding=1)
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(C, w(pool_features), 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,out_channels,H,W)"""
        return concat(
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(self.pool(x)),
            axis=1,
        )


class InceptionB(Module):
    """Fig. 10, 35×35 → 17×17: convolutions and a pool in parallel, all with stride 2.

    Only a pool would give only C smaller maps; more maps before the pool would cost three times as much (fig. 9).
    In the figure the branch of one 3×3 has a 1×1 before it; here it has none.   x (N,C,H,W) → (N, C + 480, H/2, W/2)
    """

    def __init__(self, C, scaled: Scaled):
        w = scaled
        self.out_channels = w(384) + w(96) + C
        self.branch3x3 = BasicConv2d(C, w(384), 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(C, w(64), 1)
        self.branch3x3dbl_2 = BasicConv2d(w(64), w(96), 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(w(96), w(96), 3, stride=2)
        self.pool = MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N, out_channels, ⌊(H−1)/2⌋, ⌊(W−1)/2⌋)"""
        return concat(
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.pool(x),
            axis=1,
        )


class InceptionC(Module):
    """Fig. 6 with n = 7, on 17×17 maps: a 7×7 convolution as 1×7 and 7×1, with 14/49 of the weights.

    In the figure both branches begin with 1×n; here the longer one begins with 7×1.
    x (N,C,H,W) → (N, 768, H, W)
    """

    def __init__(self, C, channels_7x7, scaled: Scaled):
        w, c = scaled, scaled(channels_7x7)
        self.out_channels = 4 * w(192)
        self.branch1x1 = BasicConv2d(C, w(192), 1)
        self.branch7x7_1 = BasicConv2d(C, c, 1)
        self.branch7x7_2 = BasicConv2d(c, c, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c, w(192), (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = BasicConv2d(C, c, 1)
        self.branch7x7dbl_2 = BasicConv2d(c, c, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = BasicConv2d(c, c, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = BasicConv2d(c, c, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = BasicConv2d(c, w(192), (1, 7), padding=(0, 3))
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(C, w(192), 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,out_channels,H,W)"""
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return concat(
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(self.pool(x)),
            axis=1,
        )


class InceptionD(Module):
    """Fig. 10 again, 17×17 → 8×8, with 1×7 and 7×1 (not in the figure) in one branch.

    x (N,C,H,W) → (N, C + 512, H/2, W/2)
    """

    def __init__(self, C, scaled: Scaled):
        w = scaled
        self.out_channels = w(320) + w(192) + C
        self.branch3x3_1 = BasicConv2d(C, w(192), 1)
        self.branch3x3_2 = BasicConv2d(w(192), w(320), 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(C, w(192), 1)
        self.branch7x7x3_2 = BasicConv2d(w(192), w(192), (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(w(192), w(192), (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(w(192), w(192), 3, stride=2)
        self.pool = MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N, out_channels, ⌊(H−1)/2⌋, ⌊(W−1)/2⌋)"""
        wide = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return concat(self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(wide), self.pool(x), axis=1)


class InceptionE(Module):
    """Fig. 7, on 8×8 maps: 1×3 and 3×1 in parallel, not in sequence, so that the module has many output maps.

    The pool is an average in both modules and counts padding, as in torchvision. In the graph that Google published in
    2015, which is used for FID, the last one takes the maximum and no average counts padding.
    x (N,C,H,W) → (N, 2048, H, W)
    """

    def __init__(self, C, scaled: Scaled):
        w = scaled
        self.out_channels = w(320) + 4 * w(384) + w(192)
        self.branch1x1 = BasicConv2d(C, w(320), 1)
        self.branch3x3_1 = BasicConv2d(C, w(384), 1)
        self.branch3x3_2a = BasicConv2d(w(384), w(384), (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(w(384), w(384), (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(C, w(448), 1)
        self.branch3x3dbl_2 = BasicConv2d(w(448), w(384), 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(w(384), w(384), (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(w(384), w(384), (3, 1), padding=(1, 0))
        self.pool = AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = BasicConv2d(C, w(192), 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,out_channels,H,W)"""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return concat(
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
            axis=1,
        )


class Auxiliary(Module):
    """Fig. 8: a classifier on the last 17×17 maps, in training only; §4 finds that it regularises.

    x (N,C,17,17) → (N,num_classes)
    """

    def __init__(self, C, num_classes, scaled: Scaled):
        self.pool = AvgPool2d(5, stride=3)
        self.conv0 = BasicConv2d(C, scaled(128), 1)
        self.conv1 = BasicConv2d(scaled(128), scaled(768), 5, std=0.01)
        self.avgpool = GlobalAvgPool2d()
        self.fc = _linear(scaled(768), num_classes, 0.001)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,17,17) → (N,num_classes)"""
        x = self.conv0(self.pool(x))                               # (N, 128, 5, 5)
        x = self.avgpool(self.conv1(x))                            # (N, 768)
        return self.fc(x)                                          # (N, num_classes)


class InceptionV3(Module):
    """A stem of five convolutions, then modules A A A B C C C C D E E. Names and order are torchvision's."""

    def __init__(self, num_classes: int, in_channels: int, aux: bool, width: float):
        w = partial(scaled_to, width=width)
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, w(32), 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(w(32), w(32), 3)
        self.Conv2d_2b_3x3 = BasicConv2d(w(32), w(64), 3, padding=1)
        self.maxpool1 = MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(w(64), w(80), 1)
        self.Conv2d_4a_3x3 = BasicConv2d(w(80), w(192), 3)
        self.maxpool2 = MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(w(192), 32, w)
        self.Mixed_5c = InceptionA(self.Mixed_5b.out_channels, 64, w)
        self.Mixed_5d = InceptionA(self.Mixed_5c.out_channels, 64, w)
        self.Mixed_6a = InceptionB(self.Mixed_5d.out_channels, w)
        self.Mixed_6b = InceptionC(self.Mixed_6a.out_channels, 128, w)
        self.Mixed_6c = InceptionC(self.Mixed_6b.out_channels, 160, w)
        self.Mixed_6d = InceptionC(self.Mixed_6c.out_channels, 160, w)
        self.Mixed_6e = InceptionC(self.Mixed_6d.out_channels, 192, w)
        if aux:
            self.aux_weights = (0.4,)
            self.AuxLogits = Auxiliary(self.Mixed_6e.out_channels, num_classes, w)
        self.Mixed_7a = InceptionD(self.Mixed_6e.out_channels, w)
        self.Mixed_7b = InceptionE(self.Mixed_7a.out_channels, w)
        self.Mixed_7c = InceptionE(self.Mixed_7b.out_channels, w)
        self.avgpool = GlobalAvgPool2d()
        self.dropout = Dropout(0.5)
        self.fc = _linear(self.Mixed_7c.out_channels, num_classes, 0.1)

    def forward(self, x: Tensor) -> Any:
        """x (N,C,H,W) → logits (N,num_classes); with aux, in training: (logits, auxiliary logits)"""
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))              # (N,   32, 147, 147)
        x = self.maxpool1(self.Conv2d_2b_3x3(x))                   # (N,   64,  73,  73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))              # (N,  192,  71,  71)
        x = self.Mixed_5b(self.maxpool2(x))                        # (N,  256,  35,  35)
        x = self.Mixed_5d(self.Mixed_5c(x))                        # (N,  288,  35,  35)
        x = self.Mixed_6b(self.Mixed_6a(x))                        # (N,  768,  17,  17)
        x = last = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(x)))  # (N,  768,  17,  17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))         # (N, 2048,   8,   8)
        logits = self.fc(self.dropout(self.avgpool(x)))            # (N, num_classes)
        return (logits, self.AuxLogits(last)) if self.aux_weights and self.training else logits


def inception_v3(num_classes: int = 1000, in_channels: int = 3, aux: bool = False, width: float = 1.0) -> InceptionV3:
    """Inception-v3, for 299×299 images: GoogLeNet with its wide filters split into cheaper ones.

    5×5 becomes 3×3 after 3×3, 7×7 becomes 1×7 and 7×1, and batch norm follows every convolution.
    23,834,568 parameters, 5,713,216,096 multiply-adds; aux=True: 27,161,264 parameters. (The paper: below 25 million,
    5 billion.) The receptive field of Mixed_7c is 1311 pixels: more than the image.

    aux=True adds the classifier on Mixed_6e. In training mode the net returns (logits, auxiliary logits), and
    aux_weights is (0.4,): the paper gives no weight for the second loss, Google's training code has 0.4. In eval mode
    the net returns only the logits. The classifier's 5×5 convolution needs 17×17 maps, so training needs images of at
    least 299 pixels, and its batch norm needs more than one image.

    This is the net of Google's code, the usual meaning of "Inception-v3"; torchvision's state dicts load. It
    differs from the paper. After the first pool it has 1×1 (80), 3×3 (192) and a pool, where table 1 has three 3×3
    convolutions (80; 192, stride 2; 288). Table 1 lists 3, 5 and 2 modules of figs. 5, 6 and 7; here are 3, 4 and 2
    and the two reductions of fig. 10. The paper counts 42 layers; the longest path here has 48. Each block's docstring
    says how it differs from its figure.

    Initial weights: N(0, 0.1²) (auxiliary classifier: 0.01 for its 5×5, 0.001 for its linear layer), drawn again beyond
    two deviations as in TensorFlow. width: multiplies every number of channels. Smallest image: 75 pixels.
    """
    return InceptionV3(positive("num_classes", num_classes), positive("in_channels", in_channels), aux, width)


def _linear(I, O, std):
    layer = Linear(I, O)
    layer.weight = Parameter(init.truncated_normal(layer.weight.shape, std))
    return layer
