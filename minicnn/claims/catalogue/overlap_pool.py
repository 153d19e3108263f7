"""Overlapping pooling (3×3 windows, 2 apart) has a slightly lower error than windows that only touch (2×2).

The maps have the same sizes in both nets. Tenths of a point are claimed, and few seeds can show those.
"""

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def net(pool):
    """Three convolutions, each pooled, and two dense layers.   (N,3,32,32) → (N,10)"""
    return Sequential(
        Conv2d(3, 16, 5, padding=2), ReLU(), pool(),       # (N, 16, 16, 16)
        Conv2d(16, 16, 5, padding=2), ReLU(), pool(),      # (N, 16,  8,  8)
        Conv2d(16, 32, 5, padding=2), ReLU(), pool(),      # (N, 32,  4,  4)
        Flatten(), Linear(512, 64), ReLU(), Linear(64, 10),
    )


def alexnet(pool):
    """The net of 2012; its maps of 55, 27 and 13 pixels give 27, 13 and 6 with either kind of window."""
    made = models.build("alexnet", variant="paper")
    features = [pool() if isinstance(layer, MaxPool2d) else layer for layer in made["features"]]
    return Sequential(*features, made["flatten"], made["classifier"])


CLAIM = Claim(
    name="overlap-pool",
    sentence="Overlapping pooling lowers the error by 0.4 points, top-1, and 0.3, top-5.",
    source="Krizhevsky et al. 2012 (AlexNet), §3.4; lecture notes",
    comparisons=(
        Comparison("overlapping windows lower the test error", ("touching", "test_error"),
                   ("overlapping", "test_error"), at_least=0.2, published=0.4,
                   published_where="§3.4, ImageNet, top-1"),
    ),
    small=Plan(
        arms=(Arm("touching", lambda: net(lambda: MaxPool2d(2))),
              Arm("overlapping", lambda: net(lambda: MaxPool2d(3, 2, padding=1)))),
        data="cifar-10", train=5000, validation=2000, test=5000, epochs=5, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("touching", lambda: alexnet(lambda: MaxPool2d(2))),
              Arm("overlapping", lambda: alexnet(lambda: MaxPool2d(3, 2)))),
        data="folder", size=227, validation=10000, epochs=90, batch_size=128, weight_decay=5e-4, schedule="step",
        augment="scale-jitter:256:256 flip lighting", rates=(0.01,), seeds=2,
    ),
    meaning={
        "holds": "Overlapping windows gain at least 0.2 points in this net too.",
        "does not hold": "They gain less than 0.2 points here.",
        "this size cannot tell": "A few tenths of a point are smaller than what the seeds make. Nobody should choose "
                                 "between the two kinds by one training each.",
    },
    doubt="The paper's own net and images, with many seeds and a gain of 0.2 points or more.",
)  # fmt: skip
