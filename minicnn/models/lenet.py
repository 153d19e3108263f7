"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", fig. 2."""

from minicnn.contract import positive
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def lenet5(num_classes: int = 10, in_channels: int = 1) -> Sequential:
    """LeNet-5 as it is taught today, for 28×28 images.   61,706 parameters, 416,520 multiply-adds.

    Layers, maps and sizes are the paper's. The five departures: the image is padded to 32×32 inside C1; ReLU for the
    scaled tanh; max pooling for trainable averages; C3 connected to all six maps of S2, not by the paper's table; and
    a softmax over a linear layer for the distances to drawn digits. C5 is a convolution in the paper; on 5×5 maps that
    is a linear layer.
    """
    K = positive("num_classes", num_classes)
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
