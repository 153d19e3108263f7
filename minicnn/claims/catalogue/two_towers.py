"""Two towers: AlexNet's grouped net lowers the error by 1.7 points, top-1, and 1.2, top-5, say the notes.

The notes credit the second GPU. The paper compares with a net that has half as many kernels in each convolution but
the last, so it is capacity that is compared: the same two nets, small.
"""

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def net(maps, groups, pool=lambda: MaxPool2d(3, 2, padding=1)):
    """Four convolutions, the second and the last in groups, and a linear layer; the last one always has 32 maps."""
    return Sequential(
        Conv2d(3, maps, 5, padding=2), ReLU(), pool(),                              # (N, maps, 16, 16)
        Conv2d(maps, 2 * maps, 5, padding=2, groups=groups), ReLU(), pool(),        # (N, 2·maps, 8, 8)
        Conv2d(2 * maps, 2 * maps, 3, padding=1), ReLU(),                           # (N, 2·maps, 8, 8)
        Conv2d(2 * maps, 32, 3, padding=1, groups=groups), ReLU(), pool(),          # (N, 32, 4, 4)
        Flatten(), Linear(512, 10),
    )  # fmt: skip


def half_alexnet():
    """AlexNet of 2012 in one tower with half as many kernels, except in the last convolution."""
    made = models.build("alexnet", variant="paper", groups=1, width=0.5)
    whole = models.build("alexnet", variant="paper", groups=1)
    features = list(made["features"])
    last = max(i for i, layer in enumerate(features) if isinstance(layer, Conv2d))
    features[last] = Conv2d(192, 256, 3, padding=1)
    return Sequential(*features, whole["flatten"], whole["classifier"])


CLAIM = Claim(
    name="two-towers",
    sentence="Splitting the net over two GPUs lowers the error by 1.7 points, top-1, and 1.2, top-5.",
    source="Lecture notes; Krizhevsky et al. 2012 (AlexNet), §3.2, compare with a net of half as many kernels",
    comparisons=(
        Comparison("two towers have a lower test error than one tower of half the width", ("half", "test_error"),
                   ("towers", "test_error"), at_least=0.85, published=1.7, published_where="§3.2, ImageNet, top-1"),
    ),
    small=Plan(
        arms=(Arm("towers", lambda: net(16, 2)), Arm("half", lambda: net(8, 1))),
        data="cifar-10", train=5000, validation=2000, test=5000, epochs=6, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("towers", lambda: models.build("alexnet", variant="paper")), Arm("half", half_alexnet)),
        data="folder", size=227, validation=10000, epochs=90, batch_size=128, weight_decay=5e-4, schedule="step",
        augment="scale-jitter:256:256 flip lighting", rates=(0.01,), seeds=2,
    ),
    meaning={
        "holds": "The second tower helps, by what it adds to the net. No GPU is involved here, so the gain is not one "
                 "of parallel work, but of more kernels.",
        "does not hold": "With so few images, twice as many kernels gain less than 0.85 points.",
        "this size cannot tell": "The seeds differ more than the effect. More seeds or more images would tell.",
    },
    doubt="A net of one tower and full width that is better still would show that the split itself costs accuracy.",
)  # fmt: skip
