"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", §II.B.

Three nets have this name: the paper's ("1998"), the one in textbooks ("modern"), and Caffe's ("caffe").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn import devices
from minicnn.geometry import positive
from minicnn.names import unknown
from minicnn.nn import (
    Buffer,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Sequential,
    TrainableAvgPool2d,
    init,
)
from minicnn.ops.activation import tanh
from minicnn.ops.conv import conv2d
from minicnn.ops.shape import concat
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor


def lenet5(num_classes: int = 10, in_channels: int = 1, variant: str = "modern", rbf: bool = True) -> Sequential:
    """LeNet-5: two convolutions, each followed by subsampling, and three dense layers that classify digits.

    variant="modern": as it is taught today, for 28×28 images.   61,706 parameters, 416,520 multiply-adds.
        Layers, maps and sizes are the paper's. Five differences: the image is padded to 32×32 inside C1; ReLU instead
        of the scaled tanh; max pooling instead of trainable averages; C3 connected to all six maps of S2, not by the
        paper's table; and a linear layer with softmax instead of distances to drawn digits. C5 is a convolution in the
        paper; on 5×5 maps that is a linear layer.
    variant="1998": as published, for 32×32 images.   60,000 parameters, 326,520 multiply-adds, 340,908 connections.
        The output is minus the distance to each drawn digit, so the largest output is the prediction; `loss` is the
        paper's eq. 9. Two differences: the ten drawings are ours, in the style of fig. 3; S2 and S4 start as plain
        averages, where the paper draws their coefficients too. rbf=False replaces the drawings by a linear layer and
        eq. 9 by cross-entropy, a third difference: 60,850 parameters, and any number of classes. In the paper's images
        white is −0.1 and black is 1.175.
    variant="caffe": Caffe's example, for 28×28 images: wider, and no activation after the convolutions.
        431,080 parameters, 2,293,000 multiply-adds.

    Weights are drawn with he_normal; in "1998" from U(−2.4/F, 2.4/F), F a unit's inputs, as in the paper's appendix A.
    """
    K = positive("num_classes", num_classes)
    if variant not in VARIANTS:
        raise ValueError(unknown("variant of lenet5", variant, VARIANTS))
    return VARIANTS[variant](K, in_channels, rbf)


def _modern(K, in_channels, _):
    features = Sequential(                                 # (N,   C, 28, 28)
        Conv2d(in_channels, 6, 5, padding=2), ReLU(),      # (N,   6, 28, 28)  C1
        MaxPool2d(2),                                      # (N,   6, 14, 14)  S2
        Conv2d(6, 16, 5), ReLU(),                          # (N,  16, 10, 10)  C3
        MaxPool2d(2),                                      # (N,  16,  5,  5)  S4
    )  # fmt: skip
    classifier = Sequential(
        Flatten(),                                         # (N, 400)
        Linear(400, 120), ReLU(),                          # (N, 120)          C5
        Linear(120, 84), ReLU(),                           # (N,  84)          F6
        Linear(84, K),                                     # (N,   K)          output
    )  # fmt: skip
    return Sequential({"features": features, "classifier": classifier})


def _caffe(K, in_channels, _):
    features = Sequential(                                 # (N,   C, 28, 28)
        Conv2d(in_channels, 20, 5),                        # (N,  20, 24, 24)
        MaxPool2d(2),                                      # (N,  20, 12, 12)
        Conv2d(20, 50, 5),                                 # (N,  50,  8,  8)
        MaxPool2d(2),                                      # (N,  50,  4,  4)
    )  # fmt: skip
    classifier = Sequential(
        Flatten(),                                         # (N, 800)
        Linear(800, 500), ReLU(),                          # (N, 500)
        Linear(500, K),                                    # (N,   K)
    )  # fmt: skip
    return Sequential({"features": features, "classifier": classifier})


def _published(K, in_channels, rbf):
    net = (DistanceNet if rbf else Sequential)({                                   # (N,   C, 32, 32)
        "C1": Conv2d(in_channels, 6, 5), "C1_squash": Squash(),                    # (N,   6, 28, 28)
        "S2": TrainableAvgPool2d(6, 2), "S2_squash": Squash(),                     # (N,   6, 14, 14)
        "C3": PartialConv2d(TABLE_I, 6, 5), "C3_squash": Squash(),                 # (N,  16, 10, 10)
        "S4": TrainableAvgPool2d(16, 2), "S4_squash": Squash(),                    # (N,  16,  5,  5)
        "C5": Conv2d(16, 120, 5), "C5_squash": Squash(), "flatten": Flatten(),     # (N, 120)
        "F6": Linear(120, 84), "F6_squash": Squash(),                              # (N,  84)
        "output": RBF(K) if rbf else Linear(84, K),                                # (N,   K)
    })  # fmt: skip
    for layer in net:
        if isinstance(layer, (Conv2d, Linear)):
            layer.weight.data = init.lecun_uniform(layer.weight.shape)
    return net


VARIANTS = {"modern": _modern, "1998": _published, "caffe": _caffe}


# ---------------------------------------------------------------------- layers that only the variant "1998" has

# Table I: the maps of S2 that each map of C3 is connected to. Different inputs force the maps to differ.
TABLE_I = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),                            # three in a row
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),          # four in a row
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),                                                    # two and two
    (0, 1, 2, 3, 4, 5),                                                                          # all
)  # fmt: skip


class DistanceNet(Sequential):
    """A net whose outputs are minus distances y[k], with the loss of the paper's eq. 9."""

    def loss(self, logits: Tensor, labels: Any) -> Tensor:
        """Mean of y[label] + log(e^−j + Σ_k e^−y[k]), where y = −logits (N,K) are the distances.   Eq. 9, §II.C

        This is cross-entropy with one more class, "rubbish", at the constant distance j: it hardly increases distances
        that are above j. The paper does not give j; here it is 1.
        """
        rubbish = devices.of(logits.data).xp.full((len(logits), 1), -1, logits.dtype)           # −j
        return cross_entropy(concat(logits, rubbish, axis=1), labels)                           # (N, K+1)


class PartialConv2d(Module):
    """A convolution whose filter o reads only the maps table[o].   x (N,C,H,W) → y (N,O,OH,OW)

    weight (L,KH,KW), one kernel for each of the L entries of the table, in order;   bias (O,), zeros.
    """

    def __init__(self, table: tuple[tuple[int, ...], ...], in_channels: int, kernel_size: int):
        KH = KW = kernel_size
        self.in_channels, self.kernel_size, self.links = in_channels, kernel_size, sum(len(maps) for maps in table)
        kernels = [init.lecun_uniform((1, len(maps), KH, KW))[0] for maps in table]             # (|maps|, KH, KW) each
        self.weight = Parameter(devices.of(kernels[0]).xp.concatenate(kernels, 0))              # (L, KH, KW)
        self.bias = Parameter(init.constant((len(table),), 0))
        self.kernel_of = np.full((len(table), in_channels), self.links)     # (O, C): L where there is no entry
        link = 0
        for o, maps in enumerate(table):
            for c in maps:
                self.kernel_of[o, c], link = link, link + 1

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,OH,OW)"""
        device = devices.of(self.weight.data)
        nothing = device.xp.zeros((1, *self.weight.shape[1:]), self.weight.dtype)
        kernels = concat(self.weight, nothing, axis=0)                                          # (L+1, KH, KW)
        return conv2d(x, kernels[device.asarray(self.kernel_of)], self.bias)                    # w (O, C, KH, KW)

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """L kernels, each at OH·OW positions"""
        return math.prod(output_shape[1:]) * self.weight.size


class Squash(Module):
    """y = 1.7159 · tanh(2x/3), which maps ±1 to ±1: targets of ±1 can be reached without saturation (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return 1.7159 * tanh(x * (2 / 3))


class RBF(Module):
    """y[k] = −Σ_i (x[i] − code[k,i])²: minus the squared distance of the 84 features to the drawing of digit k.

    (N,84) → (N,K).   code (K,84), ±1, the first K drawings below, row by row: a Buffer, since the paper keeps it fixed.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        if num_classes > 10:
            raise ValueError(f"num_classes (={num_classes}) must be at most 10, the number of drawn digits: "
                             "for more classes use rbf=False, which makes the output a linear layer")
        ink = np.array([*"".join(DRAWINGS.split())]) == "#"                                     # (840,)
        ink = ink.reshape(2, 12, 5, 7).transpose(0, 2, 1, 3).reshape(10, 84)                    # digit by digit
        self.code = Buffer(np.where(ink[:num_classes], 1, -1).astype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,84) → (N,K)"""
        away = x.reshape(len(x), 1, 84) - self.code                                             # (N, K, 84)
        return -(away * away).sum(2)

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """K outputs, each of 84 squares"""
        return self.code.size


# 7×12 pixels each; first row 0 to 4, second row 5 to 9; # is ink.
DRAWINGS = """
..###.. ...##.. .#####. .#####. .....##
.##.##. ..###.. ##...## ##...## ....###
##...## .####.. ##...## .....## ...####
##...## ...##.. .....## .....## ..##.##
##...## ...##.. .....## .....## .##..##
##...## ...##.. ....##. ..####. ##...##
##...## ...##.. ...##.. .....## ##...##
##...## ...##.. ..##... .....## #######
##...## ...##.. .##.... .....## #######
##...## ...##.. ##..... .....## .....##
.##.##. ...##.. ##..... ##...## .....##
..###.. .###### ####### .#####. .....##

####### ..####. ####### .#####. .#####.
##..... .##.... ####### ##...## ##...##
##..... ##..... .....## ##...## ##...##
##..... ##..... .....## ##...## ##...##
######. ##..... ....##. ##...## ##...##
##...## ######. ....##. .#####. ##...##
.....## ##...## ...##.. ##...## .######
.....## ##...## ...##.. ##...## .....##
.....## ##...## ..##... ##...## .....##
.....## ##...## ..##... ##...## .....##
##...## ##...## ..##... ##...## ....##.
.#####. .#####. ..##... .#####. .####..
"""
