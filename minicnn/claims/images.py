"""The images of one training: drawn with its seed, and a test split that stays sealed until the training is over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import data
from minicnn.claims.claim import Arm, Plan
from minicnn.data import NORMALISATIONS, Dataset, Preprocessing, Splits
from minicnn.names import quoted


class SealedError(RuntimeError):
    """The test images were asked for before the training was over, or by a pilot."""


class Sealed:
    """Test images that can be had once the training is over: `open()`; a pilot has none."""

    def __init__(self, images: Any, pilot: bool):
        self._images, self._pilot, self._over = images, pilot, False

    def training_is_over(self) -> None:
        """From now on the images may be used."""
        self._over = True

    def open(self) -> Any:
        """The images. SealedError before the end of the training, and always in a pilot."""
        if self._pilot:
            raise SealedError("a pilot chooses a learning rate, and may not see the test images")
        if not self._over:
            raise SealedError("the test images are sealed until the training is over")
        return self._images


@lru_cache(maxsize=2)
def source(plan_data: str, folder: str, size: int) -> Splits:
    """The dataset of a plan. FileNotFoundError, one sentence that says how to get it, where it is missing."""
    if plan_data != "folder":
        missing = data.registry.info(plan_data).missing
        if missing:
            raise FileNotFoundError(f"this claim needs {plan_data}, which is not on this machine ({missing[0]} is "
                                    f"missing): `minicnn data get {plan_data}` downloads it")  # fmt: skip
        return data.load(plan_data)
    if not folder:
        raise FileNotFoundError("this size needs pictures of your own, such as ILSVRC 2012: name their folder, with "
                                "train/ and val/ in it, by --data FOLDER")  # fmt: skip
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"--data {quoted(folder)} is not a folder")
    splits = data.load(folder, validation=0, test=0)
    if splits.test is None and splits.validation is None:
        raise ValueError(f"--data {quoted(folder)} has no test pictures: it needs train/ and val/, each with a folder "
                         "for each class")  # fmt: skip
    splits.test = splits.test or splits.validation
    return splits.with_preprocessing(Preprocessing((size, size), *NORMALISATIONS["imagenet"], resize=size * 8 // 7))


class Images:
    """What one training may use: `train`, `validation` and, sealed, `test`; `splits` knows how to read them.

    most_frequent: the share of the training images that the most frequent class has.
    """

    def __init__(self, plan: Plan, arm: Arm, seed: int, pilot: bool, folder: str = ""):
        splits = source(plan.data, folder, plan.size)
        rng = np.random.default_rng([seed, arm.stream, 1])
        train, test = (_of_classes(split, plan.classes) for split in (splits.train, splits.test))
        order = rng.permutation(len(train))
        count = plan.train or len(train) - plan.validation
        if count + plan.validation > len(train):
            raise ValueError(f"{plan.data} has {len(train):,} training images, but the plan needs {plan.train:,} and "
                             f"{plan.validation:,} for validation")  # fmt: skip
        parts = {"train": train.select(order[:count]), "test": test[: plan.test or len(test)]}
        if plan.validation:
            parts["validation"] = train.select(order[count : count + plan.validation])
        if arm.change is not None:
            parts = {name: changed(arm, part, name, seed) for name, part in parts.items()}
        self.splits, self.classes = splits, len(plan.classes) or len(splits.classes)
        self.train, self.validation = parts["train"], parts.get("validation")
        self.test = Sealed(parts["test"], pilot)
        self.most_frequent = float(np.bincount(self.train.labels).max() / len(self.train))


def changed(arm: Arm, part: Dataset, name: str, seed: int) -> Dataset:
    """The images and labels of a part, as the arm changes them; each part gets the same random numbers."""
    assert arm.change is not None, f"{arm.name} changes nothing"
    images, labels = arm.change(part.images, part.labels, name, np.random.default_rng([seed, arm.stream, 2]))
    return Dataset(images, labels)


def _of_classes(split: Any, classes: Sequence[int]) -> Any:
    """The images of some classes, renumbered from 0 in this order; all images for ()."""
    if not classes:
        return split
    chosen = split.select(np.flatnonzero(np.isin(split.labels, classes)))
    number = {label: i for i, label in enumerate(classes)}
    return Dataset(chosen.images, np.array([number[label] for label in chosen.labels.tolist()], np.int64))
