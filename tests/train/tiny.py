"""A few digits to learn from, and small folders of pictures."""

import numpy as np
from PIL import Image

from minicnn import data
from minicnn.data import Dataset, Splits

DIGITS = data.load("digits")


def part(dataset, per_class):
    chosen = np.concatenate([np.flatnonzero(dataset.labels == k)[:per_class] for k in range(10)])
    return Dataset(dataset.images[chosen], dataset.labels[chosen])


TINY = Splits.of_arrays("digits", part(DIGITS.train, 12), part(DIGITS.test, 4), DIGITS.classes, DIGITS.mean, DIGITS.std)


def folder_of_pictures(where, rng, per_class=8, classes=("discs", "stripes"), size=(40, 30)):
    """PNG files that a small net can tell apart, even by its first, random filters: a red disc, or green stripes."""
    y, x = np.mgrid[: size[1], : size[0]]
    for name in classes:
        (where / name).mkdir(parents=True)
        for i in range(per_class):
            image = rng.integers(0, 60, (size[1], size[0], 3))
            if name == "discs":
                image[(y - 15) ** 2 + (x - 20) ** 2 < rng.integers(50, 120)] += (150, 0, 0)
            else:
                image[:, (x[0] + rng.integers(0, 6)) % 6 < 3] += (0, 150, 0)
            Image.fromarray(image.astype(np.uint8)).save(where / name / f"{i:02}.png")
    return where
