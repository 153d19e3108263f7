"""Network in Network: Lin, Chen & Yan 2013.

The scores of the classes are outputs of a ReLU, as in the paper, so a class whose map is negative everywhere would
never get a gradient. Therefore the last layer's weights are drawn small and its biases start at 1; the softmax does not
depend on a shift that all classes share.
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.nn import AvgPool2d, Conv2d, Dropout, GlobalAvgPool2d, MaxPool2d, Module, ReLU, Sequential, init
from minicnn.tensor import Tensor


class MLPConv(Module):
    """A small dense net slides over the image instead of a filter: a convolution, then two 1×1 convolutions.

    x (N,C,H,W) → y (N,last,OH,OW): in each window, C·K·K values → first → middle → last, each through a ReLU.
    """

    def __init__(self, in_channels, first, middle, last, kernel_size, stride=1, padding=0):
        self.conv, self.relu1 = Conv2d(in_channels, first, kernel_size, stride, padding), ReLU()
        self.mlp1, self.relu2 = Conv2d(first, middle, 1), ReLU()
        self.mlp2, self.relu3 = Conv2d(middle, last, 1), ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,last,OH,OW)"""
        x = self.relu1(self.conv(x))                                       # (N, first,  OH, OW)
        x = self.relu2(self.mlp1(x))                                       # (N, middle, OH, OW)
        return self.relu3(self.mlp2(x))                                    # (N, last,   OH, OW)


def nin_cifar(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> Sequential:
    """Network in Network for 32×32 images.   966,986 parameters, 222,486,528 multiply-adds.

    1×1 convolutions mix the maps after each filter bank, and global average pooling turns one map per class into
    scores: no layer is fully connected. The paper draws three MLPConv blocks without widths; these widths are from the
    authors' Caffe models, whose second pooling is an average, in the paper's text a maximum. Pooling rounds up.
    Weights are drawn with he_normal (theirs: N(0, 0.05²)), except the last layer's.
    width: multiplies the channels of every layer.
    """
    K = positive("num_classes", num_classes)

    def w(channels): return scaled(channels, width)

    return _prevent_dead_classes({                                                                # (N,   3, 32, 32)
        "mlpconv1": MLPConv(in_channels, w(192), w(160), w(96), 5, padding=2),     # (N,  96, 32, 32)
        "pool1": MaxPool2d(3, stride=2, ceil_mode=True),                           # (N,  96, 16, 16)
        "dropout1": Dropout(dropout),
        "mlpconv2": MLPConv(w(96), w(192), w(192), w(192), 5, padding=2),          # (N, 192, 16, 16)
        "pool2": AvgPool2d(3, stride=2, ceil_mode=True),                           # (N, 192,  8,  8)
        "dropout2": Dropout(dropout),
        "mlpconv3": MLPConv(w(192), w(192), w(192), K, 3, padding=1),              # (N,   K,  8,  8)
        "pool3": GlobalAvgPool2d(),                                                # (N,   K)
    })  # fmt: skip


def nin_imagenet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5,
                 width: float = 1.0) -> Sequential:
    """Network in Network for 227×227 images, four blocks.   7,595,176 parameters, 1,105,996,320 multiply-adds.

    (On 224×224 images, whose first maps are 54×54 and not AlexNet's 55×55, 1,100,188,800.)

    AlexNet's convolutions with 1×1 convolutions after each filter bank, and the mean of one map per class instead of
    58 million dense weights. The paper has no ImageNet net: widths, strides and dropout are from the authors' Caffe
    models. Pooling rounds up. Weights are drawn with he_normal (theirs: N(0, 0.01²), N(0, 0.05²)), except the last.
    width: multiplies the channels of every layer.
    """
    K = positive("num_classes", num_classes)

    def w(channels): return scaled(channels, width)

    return _prevent_dead_classes({                                                                # (N,    3, 227, 227)
        "mlpconv1": MLPConv(in_channels, w(96), w(96), w(96), 11, stride=4),       # (N,   96,  55,  55)
        "pool1": MaxPool2d(3, stride=2, ceil_mode=True),                           # (N,   96,  27,  27)
        "mlpconv2": MLPConv(w(96), w(256), w(256), w(256), 5, padding=2),          # (N,  256,  27,  27)
        "pool2": MaxPool2d(3, stride=2, ceil_mode=True),                           # (N,  256,  13,  13)
        "mlpconv3": MLPConv(w(256), w(384), w(384), w(384), 3, padding=1),         # (N,  384,  13,  13)
        "pool3": MaxPool2d(3, stride=2, ceil_mode=True),                           # (N,  384,   6,   6)
        "dropout1": Dropout(dropout),
        "mlpconv4": MLPConv(w(384), w(1024), w(1024), K, 3, padding=1),            # (N,    K,   6,   6)
        "pool4": GlobalAvgPool2d(),                                                # (N,    K)
    })  # fmt: skip


def _prevent_dead_classes(layers):
    last = [layer for layer in layers.values() if isinstance(layer, MLPConv)][-1].mlp2
    last.weight.data, last.bias.data = init.normal(last.weight.shape, 0.01), init.constant(last.bias.shape, 1)
    return Sequential(layers)
