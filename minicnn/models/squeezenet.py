"""SqueezeNet: Iandola, Han, Moskewicz, Ashraf, Dally & Keutzer 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer
parameters and <0.5MB model size", fig. 1 and table 1.

Version 1.1 is the authors' own, of the same year, in their repository.
"""

from __future__ import annotations

from collections.abc import Iterable

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.nn import Conv2d, Dropout, GlobalAvgPool2d, MaxPool2d, Module, ReLU, Sequential, init
from minicnn.ops.shape import concat
from minicnn.tensor import Tensor


class Fire(Module):
    """Squeeze to a few maps with 1×1 filters, then expand with 1×1 and 3×3 filters in parallel (fig. 1).

    x (N,C,H,W) → y (N, 2·expand, H, W).   Parameters: S·(C + 1) + E·(S + 1) + E·(9S + 1), S and E the two widths.
    """

    def __init__(self, in_channels, squeeze, expand):
        self.squeeze, self.squeeze_activation = Conv2d(in_channels, squeeze, 1), ReLU()
        self.expand1x1, self.expand1x1_activation = Conv2d(squeeze, expand, 1), ReLU()
        self.expand3x3, self.expand3x3_activation = Conv2d(squeeze, expand, 3, padding=1), ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,2·expand,H,W)"""
        x = self.squeeze_activation(self.squeeze(x))                                    # (N, squeeze, H, W)
        one = self.expand1x1_activation(self.expand1x1(x))                              # (N, expand, H, W)
        three = self.expand3x3_activation(self.expand3x3(x))                            # (N, expand, H, W)
        return concat(one, three, axis=1)                                               # (N, 2·expand, H, W)


class SqueezeNet(Sequential):
    """Features, then the classifier. It also loads weights with the authors' name for a Fire's squeeze, squeeze1x1."""

    def current_names(self, names: Iterable[str]) -> dict[str, str]:
        """As in Module; the authors' squeeze1x1 is loaded as squeeze."""
        return {name: name.replace(".squeeze1x1.", ".squeeze.") for name in names}


def squeezenet1_0(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5,
                  width: float = 1.0) -> Sequential:
    """SqueezeNet as in table 1: Fire blocks make an AlexNet-like net 49 times smaller.

    1,248,424 parameters, 818,924,576 multiply-adds at 224×224. The table's 111×111 maps after conv1 need 227×227
    images, or padding 2; on 224×224 without padding, as in torchvision, they are 109×109.
    Weights are drawn with he_normal, the last layer's from N(0, 0.01²) (the paper: Glorot's uniform, and the same).
    Its biases start at 1, not 0: the scores are outputs of a ReLU, so a class whose map is negative everywhere would
    never get a gradient. The softmax does not depend on a shift that all classes share.
    width: multiplies the channels of every layer.
    """
    def fire(C, S, E): return Fire(scaled(C, width), scaled(S, width), scaled(E, width))

    return _squeezenet(num_classes, dropout, width, Sequential(                         # (N,   3, 224, 224)
        Conv2d(in_channels, scaled(96, width), 7, stride=2), ReLU(),                    # (N,  96, 109, 109)  conv1
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N,  96,  54,  54)
        fire(96, 16, 64),                                                               # (N, 128,  54,  54)  fire2
        fire(128, 16, 64),                                                              # (N, 128,  54,  54)  fire3
        fire(128, 32, 128),                                                             # (N, 256,  54,  54)  fire4
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N, 256,  27,  27)
        fire(256, 32, 128),                                                             # (N, 256,  27,  27)  fire5
        fire(256, 48, 192),                                                             # (N, 384,  27,  27)  fire6
        fire(384, 48, 192),                                                             # (N, 384,  27,  27)  fire7
        fire(384, 64, 256),                                                             # (N, 512,  27,  27)  fire8
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N, 512,  13,  13)
        fire(512, 64, 256),                                                             # (N, 512,  13,  13)  fire9
    ))  # fmt: skip


def squeezenet1_1(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5,
                  width: float = 1.0) -> Sequential:
    """SqueezeNet with a 3×3 first layer and earlier pooling: 2.3 times fewer multiply-adds, as accurate.

    1,235,496 parameters, 349,151,936 multiply-adds at 224×224. Otherwise as squeezenet1_0.
    """
    def fire(C, S, E): return Fire(scaled(C, width), scaled(S, width), scaled(E, width))

    return _squeezenet(num_classes, dropout, width, Sequential(                         # (N,   3, 224, 224)
        Conv2d(in_channels, scaled(64, width), 3, stride=2), ReLU(),                    # (N,  64, 111, 111)  conv1
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N,  64,  55,  55)
        fire(64, 16, 64),                                                               # (N, 128,  55,  55)  fire2
        fire(128, 16, 64),                                                              # (N, 128,  55,  55)  fire3
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N, 128,  27,  27)
        fire(128, 32, 128),                                                             # (N, 256,  27,  27)  fire4
        fire(256, 32, 128),                                                             # (N, 256,  27,  27)  fire5
        MaxPool2d(3, stride=2, ceil_mode=True),                                         # (N, 256,  13,  13)
        fire(256, 48, 192),                                                             # (N, 384,  13,  13)  fire6
        fire(384, 48, 192),                                                             # (N, 384,  13,  13)  fire7
        fire(384, 64, 256),                                                             # (N, 512,  13,  13)  fire8
        fire(512, 64, 256),                                                             # (N, 512,  13,  13)  fire9
    ))  # fmt: skip


def _squeezenet(num_classes, dropout, width, features):
    K = positive("num_classes", num_classes)
    conv10 = Conv2d(scaled(512, width), K, 1)
    conv10.weight.data, conv10.bias.data = init.normal(conv10.weight.shape, 0.01), init.constant((K,), 1)
    classifier = Sequential(Dropout(dropout), conv10, ReLU(), GlobalAvgPool2d())        # (N, K): one map a class
    return SqueezeNet({"features": features, "classifier": classifier})
