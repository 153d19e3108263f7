"""ZFNet: Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", fig. 3 and §4.1."""

from __future__ import annotations

from minicnn.geometry import positive
from minicnn.models.alexnet import draw_normal, response_norm
from minicnn.models.width import scaled
from minicnn.names import unknown
from minicnn.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential

VARIANTS = {"standard": (384, 384, 256), "wide": (512, 1024, 512)}
"""Maps of conv3, conv4 and conv5: in fig. 3, and in the last row of table 3."""


def zfnet(num_classes: int = 1000, in_channels: int = 3, variant: str = "standard", dropout: float = 0.5,
          width: float = 1.0) -> Sequential:
    """AlexNet with a finer conv1: its 11×11/4 filters missed middle frequencies and caused aliasing in conv2.

    So conv1 is 7×7/2, conv2 has stride 2, and nothing is split over two GPUs. For 224×224 images.
    variant="standard": fig. 3.   62,357,608 parameters, 1,168,032,896 multiply-adds.
    variant="wide": table 3's 512, 1024, 512 maps in conv3 to 5.   107,627,624 parameters, 2,476,704,896 multiply-adds.
    width: multiplies the channels of every layer, including the 4096 units.

    Weights are drawn from N(0, 0.01²), biases 0. Fig. 3 does not give the padding; its sizes 110, 55, 26, 13, 6 need
    padding 1 in conv1, 0 in conv2, and pooling that rounds up. The "contrast normalisation across feature maps" after
    the first two poolings is AlexNet's response normalisation here, with its constants. Not included: in training, the
    paper rescales filters of conv1 whose root mean square is above 0.1.
    """
    K = positive("num_classes", num_classes)

    def w(channels): return scaled(channels, width)

    if variant not in VARIANTS:
        raise ValueError(unknown("variant of zfnet", variant, VARIANTS))
    C3, C4, C5 = (w(c) for c in VARIANTS[variant])
    features = Sequential(                                                         # (N,   3, 224, 224)
        Conv2d(in_channels, w(96), 7, stride=2, padding=1), ReLU(),                # (N,  96, 110, 110)  conv1
        MaxPool2d(3, stride=2, ceil_mode=True), response_norm(),                  # (N,  96,  55,  55)
        Conv2d(w(96), w(256), 5, stride=2), ReLU(),                                # (N, 256,  26,  26)  conv2
        MaxPool2d(3, stride=2, ceil_mode=True), response_norm(),                  # (N, 256,  13,  13)
        Conv2d(w(256), C3, 3, padding=1), ReLU(),                                  # (N, 384,  13,  13)  conv3
        Conv2d(C3, C4, 3, padding=1), ReLU(),                                      # (N, 384,  13,  13)  conv4
        Conv2d(C4, C5, 3, padding=1), ReLU(),                                      # (N, 256,  13,  13)  conv5
        MaxPool2d(3, stride=2),                                                    # (N, 256,   6,   6)
    )  # fmt: skip
    classifier = Sequential(                                                       # (N, 9216)
        Linear(C5 * 6 * 6, w(4096)), ReLU(), Dropout(dropout),                     # (N, 4096)           fc6
        Linear(w(4096), w(4096)), ReLU(), Dropout(dropout),                        # (N, 4096)           fc7
        Linear(w(4096), K),                                                        # (N,    K)           fc8
    )  # fmt: skip
    return draw_normal(Sequential({"features": features, "flatten": Flatten(), "classifier": classifier}), std=0.01)
