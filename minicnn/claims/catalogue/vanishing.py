"""Sigmoid and tanh make gradients vanish in deep nets, say the notes; ReLU, skip connections and batch norm do not.

Twelve convolutions of one net, before any training: the norm of the gradient of each layer's weights, for 64 digits.
"""

from functools import partial

import numpy as np

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import (
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    init,
)
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor

KINDS = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}


class Block(Module):
    """One convolution, batch norm if wanted, the activation; with skip its input is added."""

    def __init__(self, kind, channels, skip, norm):
        self.conv, self.skip = Conv2d(channels, channels, 3, padding=1), skip
        if kind != "relu":                                 # He's weights are for ReLU, Glorot's for the others
            self.conv.weight.data = init.glorot_uniform(self.conv.weight.shape)
        self.norm, self.activation = BatchNorm2d(channels) if norm else None, KINDS[kind]()

    def forward(self, x):
        """x (N,C,H,W) → the same shape"""
        y = self.conv(x)
        y = self.activation(self.norm(y) if self.norm else y)
        return x + y if self.skip else y


def net(kind, skip, norm, layers, C):
    """A first convolution, blocks of 16 channels on 14×14, the mean of each map, a linear layer."""
    blocks = [Block(kind, 16, skip, norm) for _ in range(layers)]
    return Sequential(Conv2d(C, 16, 3, padding=1), MaxPool2d(2), *blocks, GlobalAvgPool2d(), Linear(16, 10))


def measure(trained):
    """‖g‖ of the weights of each block's convolution, and how much of the last layer's arrives at the first one."""
    images, labels = next(iter(trained.images.splits.loader(trained.images.train, 64)))[:2]
    model = trained.model.train()
    cross_entropy(model(Tensor(images, device=trained.device)), labels).backward()
    norms = [float(np.linalg.norm(Tensor(b.conv.weight.grad).numpy())) for b in model if isinstance(b, Block)]
    return {"gradient": norms, "first_over_last": norms[0] / norms[-1]}


def arms(layers, C):
    """All twelve: each activation plain, with batch norm, with skip connections, and with both."""
    return tuple(Arm(f"{kind}{'-skip' * skip}{'-bn' * norm}", partial(net, kind, skip, norm, layers, C))
                 for kind in KINDS for skip in (False, True) for norm in (False, True))  # fmt: skip


def more(first, second, times, words):
    """In `first`, at least `times` as large a share of the gradient reaches the first layer as in `second`."""
    return Comparison(words, (first, "first_over_last"), (second, "first_over_last"), at_least=times, ratio=True,
                      unit="times")


CLAIM = Claim(
    name="vanishing",
    sentence="In a deep net with sigmoid or tanh the gradient vanishes on its way to the first layers; ReLU, skip "
             "connections and batch norm prevent it.",
    source="Lecture notes; Glorot & Bengio 2010, §4; He et al. 2015 (ResNet), §4.1, say that batch norm keeps "
           "gradients healthy",
    comparisons=(
        more("relu", "sigmoid", 100, "ReLU lets 100 times more of the gradient through than sigmoid"),
        more("relu", "tanh", 100, "ReLU lets 100 times more of the gradient through than tanh"),
        more("sigmoid-skip", "sigmoid", 100, "skip connections let 100 times more through than sigmoid alone"),
        more("sigmoid-bn", "sigmoid", 100, "batch norm lets 100 times more through than sigmoid alone"),
    ),
    small=Plan(arms=arms(12, 1), data="digits", train=64, epochs=0, rates=(0.0,), measure=measure, seeds=10),
    paper=Plan(arms=arms(54, 3), data="cifar-10", train=64, epochs=0, rates=(0.0,), measure=measure, seeds=20),
    meaning={
        "holds": "All four are true of this net before training: each loses or keeps at least a factor of 100.",
        "does not hold": "At least one of the four is false: the table says which. A gradient that vanishes depends on "
                         "the activation's slope at the values that the weights produce, not on its name.",
        "this size cannot tell": "One of the four factors is too near to 100 to say on which side it lies.",
    },
    doubt="The same norms after some epochs of training: weights that grow could bring tanh into saturation.",
    shown="layers:gradient", shown_label="norm of the gradient of each layer's weights",
)  # fmt: skip
