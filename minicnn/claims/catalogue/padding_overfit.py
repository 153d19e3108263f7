"""Padding prevents over-fitting by diluting the features, say the notes. They give no source.

Two nets with as many parameters, one with zero padding and one without, on 1,000 images that both learn by heart.
"""

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def net(padded):
    """Two convolutions, the mean of 4×4 parts of their maps, two dense layers.   (N,3,32,32) → (N,10)"""
    return Sequential(
        Conv2d(3, 16, 5, padding=2 * padded), ReLU(), MaxPool2d(2),
        Conv2d(16, 32, 5, padding=2 * padded), ReLU(), MaxPool2d(2),
        AdaptiveAvgPool2d(4), Flatten(), Linear(512, 64), ReLU(), Linear(64, 10),
    )


ARMS = (Arm("without", lambda: net(False)), Arm("padded", lambda: net(True)))

CLAIM = Claim(
    name="padding-overfit",
    sentence="Zero padding prevents over-fitting, because it dilutes the features.",
    source="Lecture notes, without a source; textbooks say that padding keeps the size of the maps and the edges",
    comparisons=(
        Comparison("padding makes the gap between test and training error smaller", ("without", "gap"),
                   ("padded", "gap"), at_least=1.0),
        Comparison("and the test error too", ("without", "test_error"), ("padded", "test_error"), at_least=0.5),
    ),
    small=Plan(arms=ARMS, data="cifar-10", train=1000, validation=2000, test=5000, epochs=20, rates=(0.01, 0.03, 0.1),
               seeds=10),
    paper=Plan(arms=ARMS, data="cifar-10", train=45000, validation=5000, epochs=60, batch_size=128,
               rates=(0.003, 0.01, 0.03), seeds=5),
    meaning={
        "holds": "With padding the net over-fits less. Why is another question: it also sees the edges more often.",
        "does not hold": "Padding lowers the gap by less than a point, or the test error by less than half a point: "
                         "it is no means against over-fitting.",
        "this size cannot tell": "One of the two differences is too near to its threshold. More seeds would tell.",
    },
    doubt="A gap that shrinks the more, the more zeros are added.",
    shown="gap", shown_label="test error − training error, points",
)  # fmt: skip
