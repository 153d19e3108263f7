"""Dropout prevents over-fitting: the same net has a lower test error with it.

Measured on a LeNet-5 that sees only 1,000 digits, thirty times: it learns them by heart, so there is over-fitting to
prevent. Dropout of a half stands after both hidden dense layers.
"""

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential


def lenet(p):
    """LeNet-5 of textbooks, with dropout p after its hidden dense layers.   (N,1,28,28) → (N,10)"""
    return Sequential(
        Conv2d(1, 6, 5, padding=2), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(), MaxPool2d(2), Flatten(),
        Linear(400, 120), ReLU(), Dropout(p), Linear(120, 84), ReLU(), Dropout(p), Linear(84, 10),
    )  # fmt: skip


def dense(p):
    """Three hidden layers of 1,024 units, as in table 2 of the source; there the images get dropout of 0.2."""
    hidden = [layer for i in (784, 1024, 1024) for layer in (Linear(i, 1024), ReLU(), Dropout(p))]
    return Sequential(Flatten(), Dropout(0.4 * p), *hidden, Linear(1024, 10))


CLAIM = Claim(
    name="dropout",
    sentence="Dropout prevents over-fitting: with it, the same net makes fewer mistakes on the test images.",
    source="Srivastava et al. 2014, Dropout, table 2; Krizhevsky et al. 2012 (AlexNet), §4.2; lecture notes",
    comparisons=(
        Comparison("dropout lowers the test error", ("without", "test_error"), ("dropout", "test_error"),
                   at_least=0.2, published=0.35,
                   published_where="table 2, MNIST: 1.60 % without, 1.25 % with, in nets of different shape"),
    ),
    small=Plan(
        arms=(Arm("without", lambda: lenet(0.0)), Arm("dropout", lambda: lenet(0.5))),
        data="digits", train=1000, epochs=30, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("without", lambda: dense(0.0)), Arm("dropout", lambda: dense(0.5))),
        data="mnist", train=50000, validation=10000, epochs=200, batch_size=100, rates=(0.01, 0.03, 0.1), seeds=5,
    ),
    meaning={
        "holds": "With few images, random units switched off in training are worth at least one in five hundred test "
                 "images. The effect is on this net and these digits; it says nothing about nets with batch norm.",
        "does not hold": "Even a net that knows its 1,000 images by heart gains less than 0.2 points: here the "
                         "convolutions already limit what can be over-fitted.",
        "this size cannot tell": "The seeds differ more than the effect. More seeds, or the paper's size, would tell.",
    },
    doubt="A gain that disappears when the net without dropout may stop at its best epoch, or gets weight decay of its "
          "own: both also prevent over-fitting, and neither is tried here.",
)  # fmt: skip
