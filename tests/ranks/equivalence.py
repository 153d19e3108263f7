"""mpiexec -n K python -m tests.ranks.equivalence [float32]: K ranks have the gradients of one process, in float64.

Each case is one step of train_epoch. Rank 0 prints a line of JSON for each: the largest difference of a gradient,
relative to the largest gradient of the net, and of the loss and the running statistics.
"""

import json
import sys

import numpy as np

from minicnn import models, nn, ranks, rng
from minicnn.data import Dataset, Loader, Preprocessing, Transform
from minicnn.optim import Optimizer
from minicnn.tensor import Tensor
from minicnn.train.loop import train_epoch
from minicnn.train.shared import Shared

DTYPE = sys.argv[1] if len(sys.argv) > 1 else "float64"
EVERYTHING = "flip pad-crop:2 jitter:0.3 lighting cutout:3 mixup:0.4"


class Keep(Optimizer):
    """Changes nothing."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)

    def step(self):
        self.kept = [p.grad.copy() for group in self.param_groups for p in group["params"]]


class Constant:
    t = 0

    def step(self):
        pass


class Residual(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.StochasticDepth(0.3))

    def forward(self, x):
        return nn.ReLU()(self.body(x) + x)


def dropping(channels):
    """Every kind of dropout, a branch that is skipped for some images, and batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2), Residual(),
        nn.MaxPool2d(4), nn.Flatten(), nn.Dropout(0.4), nn.Linear(8 * 16, 7), nn.BatchNorm2d(7), nn.Dropout(0.1),
        nn.Linear(7, 10),
    )  # fmt: skip


def build(name, side):
    rng.seed(1)
    net = dropping(3) if name == "dropping" else models.build(name, num_classes=10, in_channels=1 if side == 28 else 3)
    return net.astype(DTYPE)


def epoch(name, side, size, words, weight, accumulate, shared_with=None):
    """(gradients, loss, accuracy, running statistics) of one step on `size` images a batch."""
    net, draws = build(name, side), np.random.default_rng([size, accumulate, 7])
    channels, count = 1 if side == 28 else 3, size * accumulate
    pictures = Dataset(draws.integers(0, 256, (count, channels, side, side), dtype=np.uint8),
                       draws.integers(0, 10, count))  # fmt: skip
    prepare = Preprocessing((side, side), (0.5,) * channels, (0.25,) * channels, channels=channels)
    shared = Shared(net, shared_with) if shared_with else None
    loader = Loader(pictures, size, transform=Transform(prepare, words), shuffle=True, seed=3,
                    part=shared_with.part if shared_with else (0, 1))  # fmt: skip
    optimizer = Keep(net.parameters())
    rng.seed(5)
    loss, accuracy = train_epoch(net, loader, lambda images: Tensor(images.astype(DTYPE)), optimizer, Constant(),
                                 weight=weight, accumulate=accumulate, shared=shared)  # fmt: skip
    return optimizer.kept, loss, accuracy, [b.numpy() for _, b in net.named_buffers()]


def cases(ranks_):
    weight = [0.5 + k for k in range(10)]
    for size in (12, 13, max(1, ranks_ - 1)):
        for name, side, words in (("lenet5", 28, "pad-crop:2"), ("resnet20", 8, EVERYTHING)):
            for classes, accumulate in ((None, 1), (weight, 3)):
                yield name, side, size, words, classes, accumulate
        if size > 4:                                       # a vector's batch norm: with two images, x̂ is ±1 and dx 0
            yield "dropping", 16, size, EVERYTHING, weight, 2


def main():
    with ranks.joined(30) as team:
        for name, side, size, words, weight, accumulate in cases(team.size):
            alone = epoch(name, side, size, words, weight, accumulate)
            many = epoch(name, side, size, words, weight, accumulate, team)
            scale = max(abs(g).max() for g in alone[0])
            line = {"case": f"{name} {size}*{accumulate} {words if weight else 'no weights'}",
                    "gradients": max(abs(a - b).max() / scale for a, b in zip(alone[0], many[0])),
                    "loss": abs(alone[1] - many[1]), "accuracy": abs(alone[2] - many[2]),
                    "statistics": max((abs(a - b).max() for a, b in zip(alone[3], many[3])), default=0)}  # fmt: skip
            team.in_step("gradients", many[0])
            if team.rank == 0:
                print(json.dumps({key: v if key == "case" else float(v) for key, v in line.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
