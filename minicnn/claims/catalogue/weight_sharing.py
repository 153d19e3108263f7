"""A convolution uses the neighbourhood of pixels: shuffle all pixels by one fixed permutation, and its lead is gone.

The permutation is the same for every image of a seed, so no information is lost: a dense net does not notice it.
"""

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Flatten, Linear, ReLU, Sequential


def lenet():
    """LeNet-5 of textbooks, 61,706 parameters.   (N,1,28,28) → (N,10)"""
    return models.build("lenet5")


def dense():
    """A dense net with nearly as many parameters: 60,430.   (N,1,28,28) → (N,10)"""
    return Sequential(Flatten(), Linear(784, 76), ReLU(), Linear(76, 10))


def permuted(images, labels, split, rng):
    """Every image with its pixels in the same new order; rng starts equally for all splits."""
    order = rng.permutation(images[0].size)
    return images.reshape(len(images), -1)[:, order].reshape(images.shape), labels


ARMS = (Arm("conv", lenet), Arm("conv-permuted", lenet, permuted), Arm("dense", dense),
        Arm("dense-permuted", dense, permuted))  # fmt: skip

CLAIM = Claim(
    name="weight-sharing",
    sentence="Convolutions use that neighbouring pixels belong together and that a pattern may be anywhere; dense "
             "layers do not.",
    source="LeCun et al. 1998, §II; lecture notes: local connectivity and shared weights. The permuted pixels are our "
           "control",
    comparisons=(
        Comparison("permuted pixels cost LeNet-5 accuracy", ("conv-permuted", "test_error"), ("conv", "test_error"),
                   at_least=2.0),
        Comparison("permuted pixels cost a dense net nothing", ("dense-permuted", "test_error"),
                   ("dense", "test_error"), at_most=1.0),
    ),
    small=Plan(arms=ARMS, data="digits", train=4000, epochs=6, rates=(0.01, 0.03, 0.1), seeds=10),
    paper=Plan(arms=ARMS, data="mnist", train=50000, validation=10000, epochs=20, rates=(0.01, 0.03, 0.1), seeds=5),
    meaning={
        "holds": "LeNet-5 needs the order of the pixels, and a dense net does not: convolutions with small windows and "
                 "shared weights only help where neighbouring pixels belong together.",
        "does not hold": "Either LeNet-5 did not need the order of the pixels, or the dense net did: then the "
                         "permutation is no test of weight sharing.",
        "this size cannot tell": "The seeds differ too much for one of the two questions. More seeds would tell.",
    },
    doubt="A LeNet-5 that loses as much when only far pixels are exchanged, and each small window stays whole.",
)  # fmt: skip
