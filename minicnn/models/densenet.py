"""DenseNet: Huang, Liu, van der Maaten & Weinberger 2016, "Densely connected convolutional networks".

In a dense block every layer reads the maps of all layers before it, back to the block's input (not the image), and adds
k new ones; k is the "growth rate". x_l = H_l([x_0, x_1, …, x_{l−1}]), where [ ] concatenates channels.
No layer has to pass on earlier maps, so k can be as small as 12, and the parameters are few.

The cost is memory. `concat` copies its inputs: a block of L layers that starts with C maps copies about C·L + k·L²/2
maps to make k·L new ones, and batch norm and ReLU make as many again. Training stores all of them for the backward
pass: for one image of 224×224, densenet121's layers make 4.3 MB of new maps, concat copies 41 MB, and 195 MB are stored
in total (float32). Pleiss et al. 2017, "Memory-efficient implementation of DenseNets", compute them again instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from minicnn.ops.shape import concat
from minicnn.tensor import Tensor

# Table 1: the number of layers in each of the four dense blocks; growth rate k.
IMAGENET = {
    121: ((6, 12, 24, 16), 32),
    161: ((6, 12, 36, 24), 48),
    169: ((6, 12, 32, 32), 32),
    201: ((6, 12, 48, 32), 32),
}


class DenseLayer(Sequential):
    """H_l, §3: BN, ReLU, 3×3 convolution; with `bottleneck` a BN, ReLU, 1×1 convolution to 4k maps before it.

    x (N, in_channels, H, W) → the k new maps (N, k, H, W).   `dropout` follows each convolution, as in §4.2.
    """

    def __init__(self, in_channels, growth_rate, bottleneck=True, dropout=0.0):
        convs = [(4 * growth_rate, 1), (growth_rate, 3)] if bottleneck else [(growth_rate, 3)]
        layers = {}
        for i, (out_channels, size) in enumerate(convs, 1):
            layers[f"norm{i}"] = BatchNorm2d(in_channels)
            layers[f"relu{i}"] = ReLU()
            layers[f"conv{i}"] = Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
            if dropout:
                layers[f"dropout{i}"] = Dropout(dropout)
            in_channels = out_channels
        super().__init__(layers)


class DenseBlock(Sequential):
    """`depth` dense layers: x (N, C, H, W) → (N, C + depth·k, H, W)."""

    def __init__(self, depth, in_channels, growth_rate, bottleneck=True, dropout=0.0):
        inputs = [in_channels + i * growth_rate for i in range(depth)]
        super().__init__({f"denselayer{i}": DenseLayer(channels, growth_rate, bottleneck, dropout)
                          for i, channels in enumerate(inputs, 1)})

    def forward(self, x: Tensor) -> Tensor:
        """Each layer appends its maps to x = [x_0, …, x_{l−1}]."""
        for layer in self:
            x = concat(x, layer(x), axis=1)                # (N, C + l·k, H, W)
        return x


class Transition(Sequential):
    """Between two blocks, §3: BN, ReLU, 1×1 convolution, then means over 2×2.   (N,C,H,W) → (N,O,H/2,W/2)"""

    def __init__(self, in_channels, out_channels, dropout=0.0):
        super().__init__({
            "norm": BatchNorm2d(in_channels),
            "relu": ReLU(),
            "conv": Conv2d(in_channels, out_channels, 1, bias=False),
            **({"dropout": Dropout(dropout)} if dropout else {}),
            "pool": AvgPool2d(2),
        })  # fmt: skip


class DenseNet(Module):
    """`stem` (a dict of layers, with `channels` output maps), dense blocks with transitions between them, the head.

    The last norm is always called norm5, as in torchvision.
    """

    def __init__(self, stem, channels, growth_rate, depths, num_classes, bottleneck=True, compression=0.5, dropout=0.0):
        layers = dict(stem)
        for i, depth in enumerate(depths, 1):
            layers[f"denseblock{i}"] = DenseBlock(depth, channels, growth_rate, bottleneck, dropout)
            channels += depth * growth_rate
            if i < len(depths):
                layers[f"transition{i}"] = Transition(channels, int(channels * compression), dropout)
                channels = int(channels * compression)     # ⌊θ·m⌋
        layers |= {"norm5": BatchNorm2d(channels), "relu5": ReLU()}
        self.features = Sequential(layers)
        self.pool = GlobalAvgPool2d()
        self.classifier = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,num_classes)"""
        x = self.features(x)                               # (N, channels, H/32, W/32), for CIFAR H/4, W/4
        return self.classifier(self.pool(x))

    def current_names(self, names: Iterable[str]) -> dict[str, str]:
        """As in Module; the dotted names of older checkpoints (`denselayer1.norm.1.weight`) are accepted too."""
        return {name: current_name(name) for name in names}


def current_name(name: str) -> str:
    """denselayer1.norm.1.weight → denselayer1.norm1.weight: torchvision's own weight files have the dotted spelling."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def densenet121(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """DenseNet-BC with 6, 12, 24 and 16 layers, k = 32.   7,978,856 parameters, 2,834,161,664 multiply-adds at 224×224.

    Four dense blocks of bottlenecked layers, transitions that halve the maps (θ = 0.5), a stem of 2k maps. As in the
    authors' code and torchvision a BN and ReLU follow the stem's convolution and the last block; table 1 doesn't
    show them. Initial weights: He normal, as in the paper. `width` multiplies k.
    """
    return _imagenet(121, num_classes, in_channels, width, dropout)


def densenet161(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """densenet121 with 6, 12, 36 and 24 layers, k = 48.   28,681,000 parameters, 7,727,907,072 multiply-adds."""
    return _imagenet(161, num_classes, in_channels, width, dropout)


def densenet169(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """densenet121 with 6, 12, 32 and 32 layers, k = 32.   14,149,480 parameters, 3,359,843,328 multiply-adds."""
    return _imagenet(169, num_classes, in_channels, width, dropout)


def densenet201(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """densenet121 with 6, 12, 48 and 32 layers, k = 32.   20,013,928 parameters, 4,291,365,888 multiply-adds."""
    return _imagenet(201, num_classes, in_channels, width, dropout)


def densenet_cifar(depth: int, growth_rate: int, bottleneck: bool = False, compression: float = 1.0,
                   num_classes: int = 10, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """The paper's nets for 32×32 images: three equally deep blocks behind a single 3×3 convolution (§3, §4).

    depth L = 3n + 4 for n layers per block, 6n + 4 with `bottleneck` (a layer then has two convolutions): the other
    four are the stem, the two transitions and the linear layer.   compression θ: a transition reduces m maps to ⌊θ·m⌋;
    with bottleneck and θ = 0.5 the net is a "DenseNet-BC", whose stem has 2k maps; the stem of the others has 16.
    dropout: 0.2 in the paper without data augmentation.   `width` multiplies k, and the stem's 16.
    """
    step = 6 if bottleneck else 3
    if positive("depth", depth) < step + 4 or (depth - 4) % step:
        near = step * max(1, round((depth - 4) / step)) + 4
        raise ValueError(f"depth (={depth}) must be {step}n + 4, for three blocks of n layers with {step // 3} "
                         f"convolution(s) each, such as {near}")
    if not 0 < compression <= 1:
        raise ValueError(f"compression (={compression}) must be above 0 and at most 1: it is the fraction of maps kept")
    k = scaled(positive("growth_rate", growth_rate), width)
    channels = 2 * k if bottleneck and compression < 1 else scaled(16, width)
    stem = {"conv0": Conv2d(in_channels, channels, 3, padding=1, bias=False)}
    return DenseNet(stem, channels, k, 3 * [(depth - 4) // step], positive("num_classes", num_classes),
                    bottleneck, compression, dropout)


def densenet40_12(num_classes: int = 10, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """DenseNet, L = 40, k = 12.   1,019,722 parameters, 264,812,928 multiply-adds at 32×32."""
    return densenet_cifar(40, 12, False, 1.0, num_classes, in_channels, width, dropout)


def densenet100_12(num_classes: int = 10, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """DenseNet, L = 100, k = 12.   6,979,642 parameters, 1,769,516,448 multiply-adds at 32×32."""
    return densenet_cifar(100, 12, False, 1.0, num_classes, in_channels, width, dropout)


def densenet100_24(num_classes: int = 10, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> DenseNet:
    """DenseNet, L = 100, k = 24.   27,249,082 parameters, 6,889,347,744 multiply-adds at 32×32."""
    return densenet_cifar(100, 24, False, 1.0, num_classes, in_channels, width, dropout)


def densenet_bc100_12(num_classes: int = 10, in_channels: int = 3, width: float = 1.0,
                      dropout: float = 0.0) -> DenseNet:
    """DenseNet-BC, L = 100, k = 12.   769,162 parameters, 287,929,692 multiply-adds at 32×32."""
    return densenet_cifar(100, 12, True, 0.5, num_classes, in_channels, width, dropout)


def densenet_bc250_24(num_classes: int = 10, in_channels: int = 3, width: float = 1.0,
                      dropout: float = 0.0) -> DenseNet:
    """DenseNet-BC, L = 250, k = 24.   15,324,406 parameters, 5,418,785,724 multiply-adds at 32×32."""
    return densenet_cifar(250, 24, True, 0.5, num_classes, in_channels, width, dropout)


def densenet_bc190_40(num_classes: int = 10, in_channels: int = 3, width: float = 1.0,
                      dropout: float = 0.0) -> DenseNet:
    """DenseNet-BC, L = 190, k = 40.   25,624,430 parameters, 9,301,945,740 multiply-adds at 32×32."""
    return densenet_cifar(190, 40, True, 0.5, num_classes, in_channels, width, dropout)


def _imagenet(depth, num_classes, in_channels, width, dropout):
    depths, growth_rate = IMAGENET[depth]
    k = scaled(growth_rate, width)
    stem = {                                               # (N, C, 224, 224)
        "conv0": Conv2d(in_channels, 2 * k, 7, stride=2, padding=3, bias=False),
        "norm0": BatchNorm2d(2 * k),
        "relu0": ReLU(),                                   # (N, 2k, 112, 112)
        "pool0": MaxPool2d(3, stride=2, padding=1),        # (N, 2k, 56, 56)
    }  # fmt: skip
    return DenseNet(stem, 2 * k, k, depths, positive("num_classes", num_classes), dropout=dropout)

