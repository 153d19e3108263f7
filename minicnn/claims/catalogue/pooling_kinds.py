"""Max pooling is the best way to pool: better than average, L2 and trainable average pooling.

Measured on LeNet-5, whose two pooling layers are replaced; all else is the same. Each kind has its own learning rate.
"""

from functools import partial

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import AvgPool2d, Conv2d, Flatten, Linear, LPPool2d, MaxPool2d, ReLU, Sequential, TrainableAvgPool2d

KINDS = {
    "max": lambda channels: MaxPool2d(2), "average": lambda channels: AvgPool2d(2),
    "l2": lambda channels: LPPool2d(2, 2), "trainable": lambda channels: TrainableAvgPool2d(channels, 2),
}  # fmt: skip


def lenet(pool, C=1, side=28):
    """LeNet-5 with its pooling layers made by pool(channels).   (N,C,side,side) → (N,10)"""
    rest = ((side // 2) - 4) // 2
    return Sequential(
        Conv2d(C, 6, 5, padding=2), ReLU(), pool(6), Conv2d(6, 16, 5), ReLU(), pool(16), Flatten(),
        Linear(16 * rest * rest, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10),
    )  # fmt: skip


def against(kind, words):
    """Max pooling has a lower test error than this kind."""
    return Comparison(f"max pooling is better than {words}", (kind, "test_error"), ("max", "test_error"), at_least=0.2)


CLAIM = Claim(
    name="pooling-kinds",
    sentence="Max pooling is better than average, L2 and trainable average pooling.",
    source="Scherer, Müller & Behnke 2010, Evaluation of pooling operations, §5: max pooling significantly outperforms "
           "subsampling; lecture notes list the four kinds",
    comparisons=(
        against("average", "average pooling"), against("l2", "L2 pooling"),
        against("trainable", "trainable average pooling"),
    ),
    small=Plan(
        arms=tuple(Arm(kind, partial(lenet, pool)) for kind, pool in KINDS.items()),
        data="digits", train=1000, epochs=15, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=tuple(Arm(kind, partial(lenet, pool, 3, 32)) for kind, pool in KINDS.items()),
        data="cifar-10", train=45000, validation=5000, epochs=30, rates=(0.003, 0.01, 0.03), seeds=5,
    ),
    meaning={
        "holds": "In a net of this kind the strongest response of a window says more than its mean.",
        "does not hold": "At least one other kind is as good within 0.2 points: which one is in the table.",
        "this size cannot tell": "The kinds differ by less than the seeds do. On digits the choice hardly matters.",
    },
    doubt="Data in which the share of a texture counts and not whether it occurs: there the average should win.",
)  # fmt: skip
