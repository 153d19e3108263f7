"""Batch norm makes nets train faster, and at learning rates that ruin the same net without it.

LeNet-5 with and without batch norm after its convolutions, at three fixed rates, for three epochs of 2,000 digits. A
training that diverges counts with the error of guessing.
"""

from functools import partial

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import BatchNorm2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Sequential, Sigmoid

RATES = {"low": 0.01, "middle": 0.03, "high": 0.1}


def lenet(norm):
    """LeNet-5 of textbooks; norm: with batch norm after each convolution.   (N,1,28,28) → (N,10)"""
    bn = BatchNorm2d if norm else lambda channels: Identity()
    return Sequential(
        Conv2d(1, 6, 5, padding=2), bn(6), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), bn(16), ReLU(), MaxPool2d(2),
        Flatten(), Linear(400, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10),
    )  # fmt: skip


def dense(norm):
    """Fig. 1 of the source: three hidden layers of 100 sigmoids, each normalised, as 1×1 convolutions of one pixel."""
    hidden = [layer for C in (784, 100, 100)
              for layer in (Conv2d(C, 100, 28 if C == 784 else 1), BatchNorm2d(100) if norm else Identity(), Sigmoid())]
    hidden[0] = Conv2d(1, 100, 28)                         # one window: the whole image
    return Sequential(*hidden, Flatten(), Linear(100, 10))


def arms(net):
    """Both nets at each of the rates."""
    return tuple(Arm(f"{name}-{speed}", partial(net, norm), settings={"rates": (rate,)})
                 for speed, rate in RATES.items() for name, norm in (("plain", False), ("bn", True)))  # fmt: skip


CLAIM = Claim(
    name="batch-norm",
    sentence="With batch norm a net learns faster, at small learning rates and at large ones.",
    source="Ioffe & Szegedy 2015, Batch normalization, §4: fig. 1 on MNIST, and 14 times fewer steps on ImageNet",
    comparisons=tuple(
        Comparison(f"after three epochs, batch norm has the lower test error at rate {rate:g}",
                   (f"plain-{speed}", "test_error"), (f"bn-{speed}", "test_error"), at_least=0.5)
        for speed, rate in RATES.items()
    ),
    small=Plan(arms=arms(lenet), data="digits", train=2000, epochs=3, schedule="constant", clip=0.0, seeds=10),
    paper=Plan(arms=arms(dense), data="mnist", train=60000, validation=0, epochs=50, batch_size=60, momentum=0.0,
               clip=0.0, schedule="constant", seeds=5),
    meaning={
        "holds": "At every rate, batch norm is ahead after the same number of steps.",
        "does not hold": "At one of the rates at least, the net without batch norm is as good: the table says which.",
        "this size cannot tell": "At one of the rates the difference is smaller than the seeds' own.",
    },
    doubt="A net without batch norm whose initial weights and rate are tuned together, and which is then as fast.",
)  # fmt: skip
