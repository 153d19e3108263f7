"""Initial weights decide whether a deep ReLU net trains: He's do, Xavier's are too small, N(0, 0.01²) much too small.

A net of 30 convolutions without batch norm, each kind of weights at its own best learning rate. From the third on the
windows are 1×1: a 3×3 window reaches beyond a 7×7 map at its border, and the zeros there take a fifth of the variance
from each layer, whatever the weights. Then He's net would stand still, too.
"""

from functools import partial

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Flatten, Linear, ReLU, Sequential, init

DRAWN = {
    "he": init.he_normal,                                               # variance 2/fan_in
    "xavier": lambda shape: init.he_normal(shape, gain=1.0),            # 1/fan_in, as fan_in = fan_out in most layers
    "small": lambda shape: init.normal(shape, 0.01),                    # AlexNet's and VGG's
}  # fmt: skip


def net(kind, layers=30, width=16, C=1):
    """Convolutions of 5×5 and 3×3 with stride 2, then `layers` − 2 of 1×1 on maps of 7×7 or 8×8, a linear layer."""
    side = 7 if C == 1 else 8                              # of a digit, and of a photo of CIFAR-10
    convs = [Conv2d(C, width, 5, stride=2, padding=2), Conv2d(width, width, 3, stride=2, padding=1),
             *(Conv2d(width, width, 1) for _ in range(layers - 2))]  # fmt: skip
    for conv in convs:
        conv.weight.data = DRAWN[kind](conv.weight.shape)
    return Sequential(*(layer for conv in convs for layer in (conv, ReLU())), Flatten(), Linear(width * side**2, 10))


def worse(kind, words):
    """A net with these weights has a larger training error than one with He's."""
    return Comparison(words, (kind, "train_error"), ("he", "train_error"), at_least=10.0)


CLAIM = Claim(
    name="init",
    sentence="A deep net of ReLUs trains with He's initial weights, but hardly with Xavier's or with small ones.",
    source="He et al. 2015 (PReLU), §2.2 and fig. 3: a net of 30 layers converges with their weights and stalls with "
           "Xavier's",
    comparisons=(
        worse("xavier", "with Xavier's weights the training error stays larger"),
        worse("small", "with N(0, 0.01²) the training error stays larger"),
    ),
    small=Plan(
        arms=tuple(Arm(kind, partial(net, kind)) for kind in DRAWN),
        data="digits", train=1000, epochs=8, rates=(0.01, 0.03, 0.1), pilot_by="train_loss", seeds=10,
    ),
    paper=Plan(
        arms=tuple(Arm(kind, partial(net, kind, width=64, C=3)) for kind in DRAWN),
        data="cifar-10", train=45000, validation=5000, epochs=20, batch_size=128, augment="pad-crop:4 flip",
        rates=(0.003, 0.01, 0.03), pilot_by="train_loss", seeds=5,
    ),
    meaning={
        "holds": "A factor of two in the variance, thirty times over, is the difference between learning and standing "
                 "still.",
        "does not hold": "At least one of the other weights trains as well, with a learning rate of its own.",
        "this size cannot tell": "The difference is uncertain: in some seeds one net learns and in others it does not, "
                                 "or none of them learns.",
    },
    doubt="Longer training in which Xavier's net catches up: the claim is about the first epochs.",
    shown="train_error", shown_label="training error, %",
)  # fmt: skip
