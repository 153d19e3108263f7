"""Transfer learning: with few images, a net that was trained on other classes first beats one trained from scratch.

The body learns the digits 0 to 4. Then it gets a new head and ten images each of 5, 6, 7, 8 and 9; the other arm gets
the same fifty images alone.
"""

import numpy as np

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.data import Dataset
from minicnn.nn import init
from minicnn.train import build
from minicnn.train.loop import train_epoch
from minicnn.train.source import preparer


def lenet():
    """LeNet-5 of textbooks, for five classes.   (N,1,28,28) → (N,5)"""
    return models.build("lenet5", num_classes=5)


def resnet():
    """ResNet-20 for five classes.   (N,3,32,32) → (N,5)"""
    return models.build("resnet20", num_classes=5)


def pretrain(net, source, plan, seed, device):
    """Train on the classes 0 to 4, which are not those of the experiment, and draw the last layer anew."""
    others = source.train.select(np.flatnonzero(source.train.labels < 5))
    loader = source.loader(Dataset(others.images, others.labels), 32, shuffle=True, seed=seed)
    optimizer = build.optimizer("sgd", net.parameters(), 0.01, 0.9)
    schedule = build.schedule("cosine", optimizer, 5, len(loader))
    for _ in range(5):
        train_epoch(net, loader, preparer(device), optimizer, schedule, clip=plan.clip)
    head = [parameter for _, parameter in net.named_parameters()][-2:]        # weight and bias of the last layer
    head[0].data = init.he_normal(head[0].shape)
    head[1].data = init.constant(head[1].shape, 0)
    net.to(device)


NEW = (5, 6, 7, 8, 9)

CLAIM = Claim(
    name="transfer",
    sentence="With few images, training further a net that was trained on other classes beats training from scratch.",
    source="Yosinski et al. 2014, How transferable are features in deep neural networks?, §4; lecture notes: "
           "transfer learning",
    comparisons=(
        Comparison("a net trained on other classes has the lower test error", ("scratch", "test_error"),
                   ("transfer", "test_error"), at_least=2.0),
    ),
    small=Plan(
        arms=(Arm("scratch", lenet), Arm("transfer", lenet, before=pretrain)),
        data="digits", classes=NEW, train=50, epochs=40, batch_size=10, rates=(0.003, 0.01, 0.03),
    ),
    paper=Plan(
        arms=(Arm("scratch", resnet), Arm("transfer", resnet, before=pretrain)),
        data="cifar-10", classes=NEW, train=500, validation=2500, epochs=60, batch_size=32, rates=(0.01, 0.03, 0.1),
        seeds=10,
    ),
    meaning={
        "holds": "What was learnt on 0 to 4 serves for 5 to 9: strokes and arcs are the same.",
        "does not hold": "Fifty images are enough, or the old classes teach nothing about the new ones.",
        "this size cannot tell": "With fifty images the draw of the images matters more than the start of the net.",
    },
    doubt="A net trained first on random labels of the same digits that transfers as well: then the start would help "
          "by its scale alone, and not by what it knows.",
)  # fmt: skip
