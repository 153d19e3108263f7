"""GoogLeNet: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke & Rabinovich 2014,
"Going deeper with convolutions" (CVPR 2015), table 1 and figs. 2b and 3.
"""

from functools import partial
from typing import Any

from minicnn.geometry import positive
from minicnn.models.width import scaled as scaled_to
from minicnn.names import unknown
from minicnn.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Sequential,
    init,
)
from minicnn.ops.shape import concat
from minicnn.tensor import Tensor

VARIANTS = ("paper", "torchvision")

# The paper's table 1: channels of the
#      1×1  3×3 reduce  3×3  5×5 reduce  5×5  pool proj
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),       # 256 in all
    "3b": (128, 128, 192, 32, 96, 64),     # 480
    "4a": (192, 96, 208, 16, 48, 64),      # 512
    "4b": (160, 112, 224, 24, 64, 64),     # 512
    "4c": (128, 128, 256, 24, 64, 64),     # 512
    "4d": (112, 144, 288, 32, 64, 64),     # 528
    "4e": (256, 160, 320, 32, 128, 128),   # 832
    "5a": (256, 160, 320, 32, 128, 128),   # 832
    "5b": (384, 192, 384, 48, 128, 128),   # 1024
}  # fmt: skip


class BasicConv2d(Module):
    """Convolution and ReLU: in the paper with biases, in the torchvision variant with batch norm between the two.

    With batch norm there is no bias: subtracting each map's mean would remove it.
    """

    def __init__(self, C, O, kernel_size, stride=1, padding=0, variant="torchvision"):
        self.conv = Conv2d(C, O, kernel_size, stride, padding, bias=variant == "paper")
        if variant == "torchvision":
            self.conv.weight = Parameter(init.truncated_normal(self.conv.weight.shape, 0.01))
            self.bn = BatchNorm2d(O, eps=1e-3)
        self.relu = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        x = self.conv(x)
        return self.relu(self.bn(x) if hasattr(self, "bn") else x)


class Inception(Module):
    """Fig. 2b: four branches read the same maps at four scales; their outputs are concatenated.

    The 1×1 convolutions before the 3×3 and the 5×5 reduce the number of maps that the costly filters read; the one
    after the pool keeps the stack from growing by C in every module.   x (N,C,H,W) → (N,out_channels,H,W)
    """

    def __init__(self, C, ch1x1, ch3x3_reduce, ch3x3, ch5x5_reduce, ch5x5, pool_proj, variant="torchvision"):
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
        K = 5 if variant == "paper" else 3  # torchvision's trained weights are 3×3 here
        self.branch1 = BasicConv2d(C, ch1x1, 1, variant=variant)
        self.branch2 = Sequential(
            BasicConv2d(C, ch3x3_reduce, 1, variant=variant),
            BasicConv2d(ch3x3_reduce, ch3x3, 3, padding=1, variant=variant),
        )
        self.branch3 = Sequential(
            BasicConv2d(C, ch5x5_reduce, 1, variant=variant),
            BasicConv2d(ch5x5_reduce, ch5x5, K, padding=K // 2, variant=variant),
        )
        self.branch4 = Sequential(MaxPool2d(3, stride=1, padding=1), BasicConv2d(C, pool_proj, 1, variant=variant))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,out_channels,H,W)"""
        return concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x), axis=1)


class Auxiliary(Module):
    """§5: a small classifier in the middle of the net, only for training: its gradient reaches lower layers directly.

    x (N,C,14,14) → (N,num_classes)
    """

    def __init__(self, C, num_classes, scaled, variant="torchvision"):
        maps, hidden = scaled(128), scaled(1024)
        self.pool = AvgPool2d(5, stride=3) if variant == "paper" else AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(C, maps, 1, variant=variant)
        self.flatten = Flatten()
        self.fc1 = _linear(maps * 4 * 4, hidden, variant)
        self.relu = ReLU()
        self.dropout = Dropout(0.7)
        self.fc2 = _linear(hidden, num_classes, variant)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,14,14) → (N,num_classes)"""
        x = self.conv(self.pool(x))                                # (N, 128, 4, 4)
        x = self.relu(self.fc1(self.flatten(x)))                   # (N, 1024)
        return self.fc2(self.dropout(x))                           # (N, num_classes)


class GoogLeNet(Module):
    """Nine Inception modules on a stem of three convolutions. The attributes are in torchvision's order."""

    def __init__(self, num_classes: int, in_channels: int, variant: str, aux: bool, width: float):
        scaled = partial(scaled_to, width=width)
        C = scaled(192)

        def inception(row):
            nonlocal C
            module = Inception(C, *map(scaled, TABLE_1[row]), variant=variant)
            C = module.out_channels
            return module

        # The paper gives no constants for its normalisation: these are from Krizhevsky et al. 2012
        norms = [LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, variant="paper") if variant == "paper" else Identity()
                 for _ in range(2)]
        self.conv1 = BasicConv2d(in_channels, scaled(64), 7, stride=2, padding=3, variant=variant)
        self.maxpool1 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = norms[0]
        self.conv2 = BasicConv2d(scaled(64), scaled(64), 1, variant=variant)
        self.conv3 = BasicConv2d(scaled(64), C, 3, padding=1, variant=variant)
        self.norm2 = norms[1]
        self.maxpool2 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception("3a")
        self.inception3b = inception("3b")
        self.maxpool3 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception("4a")
        self.inception4b = inception("4b")
        self.inception4c = inception("4c")
        self.inception4d = inception("4d")
        self.inception4e = inception("4e")
        self.maxpool4 = MaxPool2d(3 if variant == "paper" else 2, stride=2, ceil_mode=True)
        self.inception5a = inception("5a")
        self.inception5b = inception("5b")
        if aux:
            self.aux_weights = (0.3, 0.3)                          # §5
            self.aux1 = Auxiliary(self.inception4a.out_channels, num_classes, scaled, variant)
            self.aux2 = Auxiliary(self.inception4d.out_channels, num_classes, scaled, variant)
        self.avgpool = GlobalAvgPool2d()
        self.dropout = Dropout(0.4 if variant == "paper" else 0.2)
        self.fc = _linear(C, num_classes, variant)

    def forward(self, x: Tensor) -> Any:
        """x (N,C,H,W) → logits (N,num_classes); with aux, in training: (logits, logits of aux1, logits of aux2)"""
        x = self.norm1(self.maxpool1(self.conv1(x)))               # (N,   64, 56, 56)
        x = self.norm2(self.conv3(self.conv2(x)))                  # (N,  192, 56, 56)
        x = self.inception3b(self.inception3a(self.maxpool2(x)))   # (N,  480, 28, 28)
        x = low = self.inception4a(self.maxpool3(x))               # (N,  512, 14, 14)
        x = self.inception4c(self.inception4b(x))                  # (N,  512, 14, 14)
        x = high = self.inception4d(x)                             # (N,  528, 14, 14)
        x = self.maxpool4(self.inception4e(x))                     # (N,  832,  7,  7)
        x = self.inception5b(self.inception5a(x))                  # (N, 1024,  7,  7)
        logits = self.fc(self.dropout(self.avgpool(x)))            # (N, num_classes)
        return (logits, self.aux1(low), self.aux2(high)) if self.aux_weights and self.training else logits


def googlenet(
    num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision", aux: bool = False, width: float = 1.0
) -> GoogLeNet:
    """GoogLeNet, the winner of ILSVRC 2014, for 224×224 images: modules with parallel convolutions at several scales.

    1×1 convolutions before the wide filters keep it cheap. A mean over each map replaces AlexNet's large dense layers;
    one, 1024 → num_classes, remains.

        variant                   parameters      multiply-adds
        torchvision                6,624,904      1,498,376,192
        torchvision, aux=True     13,004,888      1,506,748,416 in training
        paper                      6,998,552      1,582,671,872
        paper, aux=True           13,378,280      1,591,044,096 in training

    variant="paper": convolutions with biases and no batch norm, 5×5 filters as in table 1, local response normalisation
        as in fig. 3, 3×3 pools with stride 2, dropout of 40 %. The paper does not give the constants of the
        normalisation (here AlexNet's) or the initial weights (here he_normal, biases 0).
    variant="torchvision": torchvision's state dicts load. Batch norm (eps 1e-3) after each convolution, no response
        normalisation, 3×3 filters in the branch that is called 5×5 (a mistake that its trained weights depend on), a
        2×2 pool before 5a, dropout of 20 %, weights from N(0, 0.01²), drawn again beyond two deviations.
    aux=True: the paper's two classifiers, on 4a and on 4d. In training mode the net returns (logits, logits of 4a,
        logits of 4d), and aux_weights is (0.3, 0.3): §5 adds their losses times 0.3. (torchvision returns 4d before
        4a.) In eval mode it returns only the logits. The paper's classifiers need images of 223 to 270 pixels;
        torchvision's take any size.
    width: multiplies every number of channels. Smallest image: 15 pixels (paper: 31).

    Why sources say 5, 6.8, 7 or 13 million parameters: docs/models/inception.md.
    """
    if variant not in VARIANTS:
        raise ValueError(unknown("variant of googlenet", variant, VARIANTS))
    return GoogLeNet(positive("num_classes", num_classes), positive("in_channels", in_channels), variant, aux, width)


def _linear(I, O, variant):
    layer = Linear(I, O)
    if variant == "torchvision":
        layer.weight = Parameter(init.truncated_normal(layer.weight.shape, 0.01))
    return layer
