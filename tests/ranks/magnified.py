"""mpiexec -n K python -m tests.ranks.magnified [DTYPE] [BATCH]: how far training carries the last digit of a number.

ResNet-20 on digits, three epochs of a few batches. Rank 0 prints a row for each way to train: the largest relative
difference of an epoch's loss (a) between K ranks and one process, (b) between one process and one process again, whose
input is multiplied by 1 + ε, one unit in the last place of its dtype. (b) is what the training makes of any rounding
error: no order of sums gives a smaller (a) but by chance.
"""

import sys

import numpy as np

from minicnn import data, models, optim, ranks, rng, train

IMAGES = 96
"""Images of an epoch."""
WAYS = [(dtype, batch, how) for dtype in ("float32", "float64") for batch in (8, 32) for how in ("sgd", "adamw")]


def losses(dtype, batch, how, team, factor=1.0):
    """The losses of three epochs."""
    digits = data.load("digits", validation=0)
    images = digits.preprocessing.normalise(digits.train.images[:IMAGES]).astype(dtype) * np.asarray(factor, dtype)
    rng.seed(3)
    net = models.build("resnet20", num_classes=10, in_channels=1).astype(dtype)
    optimizer = optim.SGD(net.parameters(), 0.02, momentum=0.9) if how == "sgd" else optim.AdamW(net.parameters(), 1e-3)
    history = train.fit(net, (images, digits.train.labels[:IMAGES]), epochs=3, batch_size=batch, optimizer=optimizer,
                        validation=None, verbose=False, team=team)  # fmt: skip
    return np.array(history["loss"])


def rows(team):
    """(dtype, batch, optimiser, losses of one process, (a), (b)) of each way."""
    for dtype, batch, how in (way for way in WAYS if set(sys.argv[1:]) <= set(map(str, way))):
        alone = losses(dtype, batch, how, ranks.Alone())
        many = losses(dtype, batch, how, team)
        again = losses(dtype, batch, how, ranks.Alone(), 1 + np.finfo(dtype).eps)
        yield dtype, batch, how, alone, abs(many / alone - 1), abs(again / alone - 1)


def main():
    with ranks.joined(300) as team:
        if team.rank == 0:
            print(f"| dtype | batch | optimiser | {team.size} ranks | last digit of the input |\n"
                  "| --- | ---: | --- | ---: | ---: |")  # fmt: skip
        for dtype, batch, how, _, ours, digit in rows(team):
            if team.rank == 0:
                print(f"| {dtype} | {batch} | {how} | {ours.max():.0e} | {digit.max():.0e} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
