"""Local response normalisation makes a net generalise better: on CIFAR-10 from 13 % to 11 % test error.

Three convolutions, each followed by ReLU and, in one arm, by normalisation over five neighbouring maps with the
paper's constants.
"""

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Flatten, Identity, Linear, LocalResponseNorm, MaxPool2d, ReLU, Sequential


def lrn():
    """k = 2, n = 5, α = 10⁻⁴, β = 0.75: §3.3"""
    return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, variant="paper")


def net(norm, width=16):
    """Three convolutions, each normalised and pooled, and a linear layer.   (N,3,32,32) → (N,10)"""
    return Sequential(
        Conv2d(3, width, 5, padding=2), ReLU(), norm(), MaxPool2d(3, 2, padding=1),            # (N, width, 16, 16)
        Conv2d(width, width, 5, padding=2), ReLU(), norm(), MaxPool2d(3, 2, padding=1),        # (N, width,  8,  8)
        Conv2d(width, 2 * width, 5, padding=2), ReLU(), norm(), MaxPool2d(3, 2, padding=1),    # (N, 2·width, 4, 4)
        Flatten(), Linear(32 * width, 10),
    )  # fmt: skip


CLAIM = Claim(
    name="lrn",
    sentence="Local response normalisation helps a net to generalise.",
    source="Krizhevsky et al. 2012 (AlexNet), §3.3; VGG (2014), §4.1, found that it does not; lecture notes",
    comparisons=(
        Comparison("normalisation lowers the test error", ("without", "test_error"), ("lrn", "test_error"),
                   at_least=1.0, published=2.0,
                   published_where="§3.3, a four-layer net on CIFAR-10: 13 % without, 11 % with"),
    ),
    small=Plan(
        arms=(Arm("without", lambda: net(Identity)), Arm("lrn", lambda: net(lrn))),
        data="cifar-10", train=5000, validation=2000, test=5000, epochs=5, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("without", lambda: net(Identity, 64)), Arm("lrn", lambda: net(lrn, 64))),
        data="cifar-10", train=45000, validation=5000, epochs=120, batch_size=128, weight_decay=1e-3,
        augment="pad-crop:4 flip", rates=(0.003, 0.01, 0.03), seeds=5,
    ),
    meaning={
        "holds": "Competition between neighbouring maps gains at least a point here.",
        "does not hold": "It gains less than a point here. With α = 10⁻⁴ and values of this size the normaliser is "
                         "nearly a constant factor.",
        "this size cannot tell": "The seeds differ more than the effect. More seeds or more images would tell.",
    },
    doubt="The paper's own net, which is larger, with a gain of a point or more.",
)  # fmt: skip
