"""Augmentation prevents over-fitting: training images that are shifted at random lower the test error.

Measured on a LeNet-5 with 500 digits, forty times over; in one arm each of them is moved by up to two pixels each time.
"""

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan

ALEXNET = "scale-jitter:256:256 flip lighting"


def lenet():
    """LeNet-5 of textbooks.   (N,1,28,28) → (N,10)"""
    return models.build("lenet5")


def alexnet():
    """The net of 2012.   (N,3,227,227) → (N,1000)"""
    return models.build("alexnet", variant="paper")


CLAIM = Claim(
    name="augmentation",
    sentence="Data augmentation prevents over-fitting: random changes that keep the label lower the test error.",
    source="Krizhevsky et al. 2012 (AlexNet), §4.1: without it the net suffers from substantial over-fitting; "
           "lecture notes",
    comparisons=(
        Comparison("random shifts lower the test error", ("none", "test_error"), ("augmented", "test_error"),
                   at_least=1.0, published=1.0,
                   published_where="§4.1: changed colours alone lower the top-1 error by over 1 point on ImageNet"),
    ),
    small=Plan(
        arms=(Arm("none", lenet), Arm("augmented", lenet, settings={"augment": "pad-crop:2"})),
        data="digits", train=500, epochs=40, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("none", alexnet), Arm("augmented", alexnet, settings={"augment": ALEXNET})),
        data="folder", size=227, validation=10000, epochs=90, batch_size=128, weight_decay=5e-4, schedule="step",
        rates=(0.01,), seeds=2,
    ),
    meaning={
        "holds": "Where images are few, moving them by two pixels is worth at least one point: it tells the net a fact "
                 "about digits that 500 of them do not show.",
        "does not hold": "The net gains less than a point: two layers of pooling already allow for such shifts.",
        "this size cannot tell": "The seeds differ more than the effect. More seeds would tell.",
    },
    doubt="A change that does not keep the label, such as the mirror image of a 3, should raise the error. If it "
          "lowered it too, the effect would be one of noise in general and not of what the shifts tell.",
)  # fmt: skip
