"""VGG: Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", table 1.

Two differences. Before the dense layers, adaptive average pooling makes the maps 7×7: it changes nothing at 224×224
and allows other image sizes. Weights are drawn with he_normal; the paper draws net A's from N(0, 0.1²) and starts the
deeper nets from a trained A. `width` multiplies the channels of every layer, including the 4096 units.
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.alexnet import response_norm
from minicnn.models.width import scaled
from minicnn.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)

# The columns of table 1. 3-64 is the paper's conv3-64: 3×3 filters, 64 output channels, ReLU; | is 2×2 max pooling.
# Between poolings the maps are 224×224, 112×112, 56×56, 28×28, 14×14 and 7×7; then come 4096, 4096, classes.
TABLE = {
    "A":     "3-64      | 3-128       | 3-256 3-256             | 3-512 3-512             | 3-512 3-512             |",
    "A-LRN": "3-64 LRN  | 3-128       | 3-256 3-256             | 3-512 3-512             | 3-512 3-512             |",
    "B":     "3-64 3-64 | 3-128 3-128 | 3-256 3-256             | 3-512 3-512             | 3-512 3-512             |",
    "C":     "3-64 3-64 | 3-128 3-128 | 3-256 3-256 1-256       | 3-512 3-512 1-512       | 3-512 3-512 1-512       |",
    "D":     "3-64 3-64 | 3-128 3-128 | 3-256 3-256 3-256       | 3-512 3-512 3-512       | 3-512 3-512 3-512       |",
    "E":     "3-64 3-64 | 3-128 3-128 | 3-256 3-256 3-256 3-256 | 3-512 3-512 3-512 3-512 | 3-512 3-512 3-512 3-512 |",
}  # fmt: skip


def vgg(column: str, num_classes: int, in_channels: int, dropout: float, width: float, batch_norm: bool) -> Sequential:
    """The net in one column of the table, with or without batch norm between convolution and ReLU."""
    K = positive("num_classes", num_classes)
    layers: list[Module] = []
    C = in_channels
    for word in TABLE[column].split():
        if word == "|":
            layers += [MaxPool2d(2)]
        elif word == "LRN":
            layers += [response_norm()]
        else:
            kernel_size, channels = map(int, word.split("-"))
            O = scaled(channels, width)
            layers += [Conv2d(C, O, kernel_size, padding=kernel_size // 2)]
            layers += [BatchNorm2d(O), ReLU()] if batch_norm else [ReLU()]
            C = O
    D = scaled(4096, width)
    classifier = Sequential(                                  # (N, 25088)
        Linear(C * 7 * 7, D), ReLU(), Dropout(dropout),       # (N,  4096)
        Linear(D, D), ReLU(), Dropout(dropout),               # (N,  4096)
        Linear(D, K),                                         # (N,     K)
    )  # fmt: skip
    return Sequential({"features": Sequential(*layers), "avgpool": AdaptiveAvgPool2d(7), "flatten": Flatten(),
                       "classifier": classifier})  # fmt: skip


def vgg11(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """The shallowest VGG: only 3×3 filters, whose stacks have the receptive field of large filters with fewer weights.

    Column A of the table.   132,863,336 parameters, 7,609,090,048 multiply-adds at 224×224.
    """
    return vgg("A", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg11_lrn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-11 with AlexNet's response normalisation after the first layer, which did not help in the paper.

    Column A-LRN of the table.   132,863,336 parameters, 7,609,090,048 multiply-adds at 224×224.
    """
    return vgg("A-LRN", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg13(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-11 with a second convolution before each of the first two poolings.

    Column B of the table.   133,047,848 parameters, 11,308,466,176 multiply-adds at 224×224.
    """
    return vgg("B", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg16_c(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-13 with one more 1×1 convolution in each of the last three stages: more ReLUs, the same receptive field.

    Column C of the table.   133,638,952 parameters, 11,770,888,192 multiply-adds at 224×224.
    """
    return vgg("C", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg16(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """The best known VGG: C with 3×3 instead of 1×1. It is better than C, so the receptive field matters too.

    Column D of the table.   138,357,544 parameters, 15,470,264,320 multiply-adds at 224×224.
    """
    return vgg("D", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg19(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """The deepest VGG: four convolutions in each of the last three stages.

    Column E of the table.   143,667,240 parameters, 19,632,062,464 multiply-adds at 224×224.
    """
    return vgg("E", num_classes, in_channels, dropout, width, batch_norm=False)


def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-11 with batch normalisation, which is newer than the paper, before each ReLU of a convolution.

    Column A of the table.   132,868,840 parameters, 7,609,090,048 multiply-adds at 224×224.
    """
    return vgg("A", num_classes, in_channels, dropout, width, batch_norm=True)


def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-13 with batch normalisation, which is newer than the paper, before each ReLU of a convolution.

    Column B of the table.   133,053,736 parameters, 11,308,466,176 multiply-adds at 224×224.
    """
    return vgg("B", num_classes, in_channels, dropout, width, batch_norm=True)


def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-16 with batch normalisation, which is newer than the paper, before each ReLU of a convolution.

    Column D of the table.   138,365,992 parameters, 15,470,264,320 multiply-adds at 224×224.
    """
    return vgg("D", num_classes, in_channels, dropout, width, batch_norm=True)


def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """VGG-19 with batch normalisation, which is newer than the paper, before each ReLU of a convolution.

    Column E of the table.   143,678,248 parameters, 19,632,062,464 multiply-adds at 224×224.
    """
    return vgg("E", num_classes, in_channels, dropout, width, batch_norm=True)
