"""AlexNet: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks".

Also Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", whose narrower net is the one
in torchvision.
"""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.width import scaled
from minicnn.names import unknown
from minicnn.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
    init,
)


def alexnet(num_classes: int = 1000, in_channels: int = 3, variant: str = "torchvision", groups: int | None = None,
            dropout: float = 0.5, width: float = 1.0, lrn_per_tower: bool = False) -> Sequential:
    """AlexNet: five convolutions and three dense layers, with ReLU and dropout.

    variant="torchvision": the net of 2014, for 224×224 images.   61,100,840 parameters, 714,188,480 multiply-adds.
        One tower, no response normalisation. Differences from the paper of 2014: dropout comes before the dense
        layers, not after; pooling to 6×6 before them allows other image sizes; weights are drawn with he_normal.
    variant="paper": the net of 2012, for 227×227 images.   60,965,224 parameters, 724,406,816 multiply-adds.
        Two towers, because the net needed two GPUs: groups=2 in conv2, conv4 and conv5, so the towers
        are connected in conv3 and in the dense layers. Response normalisation reads both towers, as in §3.3's formula;
        lrn_per_tower=True keeps it within each tower, as two GPUs compute it. Weights are drawn from N(0, 0.01²);
        biases are 1 in conv2, conv4, conv5 and the hidden dense layers, else 0. One difference: the paper says
        224×224, but conv1's 55×55 windows need 227×227.
    groups: of conv2, conv4 and conv5, instead of the variant's groups. With the paper's widths, groups=1 (one tower)
        has 62,378,344 parameters and 1,135,256,096 multiply-adds.
    width: multiplies the channels of every layer, including the 4096 units.
    """
    K = positive("num_classes", num_classes)
    if variant not in VARIANTS:
        raise ValueError(unknown("variant of alexnet", variant, VARIANTS))
    G = {"torchvision": 1, "paper": 2}[variant] if groups is None else positive("groups", groups)
    if lrn_per_tower and variant != "paper":
        raise ValueError(f"lrn_per_tower=True needs variant='paper': {variant!r} has no response "
                         "normalisation")
    towers = G if lrn_per_tower else 1
    return VARIANTS[variant](K, in_channels, G, dropout, lambda channels: scaled(channels, width, G), towers)


def _2014(K, in_channels, G, p, w, _):
    features = Sequential(                                                         # (N,   3, 224, 224)
        Conv2d(in_channels, w(64), 11, stride=4, padding=2), ReLU(),               # (N,  64,  55,  55)  conv1
        MaxPool2d(3, stride=2),                                                    # (N,  64,  27,  27)
        Conv2d(w(64), w(192), 5, padding=2, groups=G), ReLU(),                     # (N, 192,  27,  27)  conv2
        MaxPool2d(3, stride=2),                                                    # (N, 192,  13,  13)
        Conv2d(w(192), w(384), 3, padding=1), ReLU(),                              # (N, 384,  13,  13)  conv3
        Conv2d(w(384), w(256), 3, padding=1, groups=G), ReLU(),                    # (N, 256,  13,  13)  conv4
        Conv2d(w(256), w(256), 3, padding=1, groups=G), ReLU(),                    # (N, 256,  13,  13)  conv5
        MaxPool2d(3, stride=2),                                                    # (N, 256,   6,   6)
    )  # fmt: skip
    classifier = Sequential(                                                       # (N, 9216)
        Dropout(p), Linear(w(256) * 6 * 6, w(4096)), ReLU(),                       # (N, 4096)           fc6
        Dropout(p), Linear(w(4096), w(4096)), ReLU(),                              # (N, 4096)           fc7
        Linear(w(4096), K),                                                        # (N,    K)           fc8
    )  # fmt: skip
    return Sequential({"features": features, "avgpool": AdaptiveAvgPool2d(6), "flatten": Flatten(),
                       "classifier": classifier})  # fmt: skip


def _2012(K, in_channels, G, p, w, towers):
    features = Sequential(                                                         # (N,   3, 227, 227)
        Conv2d(in_channels, w(96), 11, stride=4), ReLU(), response_norm(towers),  # (N,  96,  55,  55)  conv1
        MaxPool2d(3, stride=2),                                                    # (N,  96,  27,  27)
        Conv2d(w(96), w(256), 5, padding=2, groups=G), ReLU(), response_norm(towers), # (N, 256,  27,  27)  conv2
        MaxPool2d(3, stride=2),                                                    # (N, 256,  13,  13)
        Conv2d(w(256), w(384), 3, padding=1), ReLU(),                              # (N, 384,  13,  13)  conv3
        Conv2d(w(384), w(384), 3, padding=1, groups=G), ReLU(),                    # (N, 384,  13,  13)  conv4
        Conv2d(w(384), w(256), 3, padding=1, groups=G), ReLU(),                    # (N, 256,  13,  13)  conv5
        MaxPool2d(3, stride=2),                                                    # (N, 256,   6,   6)
    )  # fmt: skip
    classifier = Sequential(                                                       # (N, 9216)
        Linear(w(256) * 6 * 6, w(4096)), ReLU(), Dropout(p),                       # (N, 4096)           fc6
        Linear(w(4096), w(4096)), ReLU(), Dropout(p),                              # (N, 4096)           fc7
        Linear(w(4096), K),                                                        # (N,    K)           fc8
    )  # fmt: skip
    net = Sequential({"features": features, "flatten": Flatten(), "classifier": classifier})
    return draw_normal(net, std=0.01, ones=(2, 4, 5, 6, 7))


VARIANTS = {"torchvision": _2014, "paper": _2012}


def response_norm(towers: int = 1) -> LocalResponseNorm:
    """Response normalisation of §3.3, with the paper's constants, within each of the towers."""
    return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, variant="paper", groups=towers)


def draw_normal(net: Sequential, std: float, ones: tuple[int, ...] = ()) -> Sequential:
    """Draw all weights of `net` from N(0, std²). Biases are 1 in the layers numbered `ones` (from 1 on), else 0."""
    layers = [module for _, module in net.named_modules() if isinstance(module, (Conv2d, Linear))]
    for number, layer in enumerate(layers, 1):
        layer.weight.data = init.normal(layer.weight.shape, std)
        if layer.bias is not None:
            layer.bias.data = init.constant(layer.bias.shape, 1 if number in ones else 0)
    return net
