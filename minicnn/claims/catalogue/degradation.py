"""Deeper plain nets get worse, even on the training images; with shortcuts they do not.

The plain nets and ResNets of the paper with a quarter of the width, on 1,000 images. It is the *training* error that
matters: over-fitting would lower it.
"""

from functools import partial

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan

NETS = {"plain-20": "plain20", "plain-56": "plain56", "residual-20": "resnet20", "residual-56": "resnet56"}


def arms(width):
    """The four nets."""
    return tuple(Arm(name, partial(models.build, net, width=width)) for name, net in NETS.items())


CLAIM = Claim(
    name="degradation",
    sentence="A plain net of 56 layers has a larger training error than one of 20; with shortcuts the error is not "
             "larger.",
    source="He et al. 2015 (ResNet), §1, §4.2, fig. 1 and 6; lecture notes",
    comparisons=(
        Comparison("56 plain layers have a larger training error than 20", ("plain-56", "train_error"),
                   ("plain-20", "train_error"), at_least=1.0),
        Comparison("with shortcuts, 56 layers are at most a point worse than 20", ("residual-56", "train_error"),
                   ("residual-20", "train_error"), at_most=1.0),
    ),
    small=Plan(
        arms=arms(0.25), data="cifar-10", train=1000, test=1000, epochs=8, rates=(0.03, 0.1, 0.3),
        pilot_by="train_loss", seeds=4,
    ),
    paper=Plan(
        arms=arms(1.0), data="cifar-10", train=45000, validation=5000, epochs=182, batch_size=128, weight_decay=1e-4,
        schedule="multistep", milestones=(91, 137), augment="pad-crop:4 flip", rates=(0.1,), seeds=5,
    ),
    meaning={
        "holds": "More layers hurt a plain net where more layers could not hurt in principle, and shortcuts repair it.",
        "does not hold": "One of the two is false at this size: the table says which. A short training of a narrow net "
                         "may still be in the phase in which every deep net is behind.",
        "this size cannot tell": "One of the two differences is too near to its threshold. Four seeds are few.",
    },
    doubt="Plain nets that catch up when they are trained ten times longer.",
    shown="train_error", shown_label="training error, %",
)  # fmt: skip
