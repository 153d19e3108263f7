"""Datasets by name, and the way from their bytes to a network's input.

    bundle = data.load("digits")
    for images, labels in data.Batches(bundle.train, 64, shuffle=True):      # uint8 (64,1,28,28), int64 (64,)
        x = data.normalise(images, bundle.mean, bundle.std)                  # float32 (64,1,28,28)

`minicnn datasets` lists them; a new one is a function that gives a `Bundle`, and an entry in registry.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from minicnn.data import registry
from minicnn.data.dataset import Bundle, Dataset
from minicnn.data.folder import Files, ImageFolder, stratified
from minicnn.data.loader import Batch, Batches, Loader
from minicnn.data.preprocessing import Preprocessing, Transform
from minicnn.data.shards import ShardFolder, Shards
from minicnn.data.transforms import normalise, read_image

__all__ = ["Batch", "Batches", "Bundle", "Dataset", "Files", "ImageFolder", "Loader", "Preprocessing",
           "ShardFolder", "Shards", "Splits", "Transform", "load", "names", "normalise", "read_image", "splits"]


def load(name: str) -> Bundle:
    """The dataset of that name; ValueError for an unknown one, FileNotFoundError where its files are missing."""
    return registry.info(name).load()


@dataclass(frozen=True, eq=False)
class Splits:
    """Data to learn from, to choose by and to measure on. `validation` and `test` are None where there is none."""

    name: str
    classes: tuple[str, ...]
    train: Any
    validation: Any
    test: Any


def splits(what: str | PathLike[str], *, validation: float = 0.15, test: float = 0.15, seed: int = 0) -> Splits:
    """The data that a command line means: a name that `load` knows, a folder of pictures, or one of tar shards.

    What is not given is drawn aside, the same share of each class, with `seed`: see `ImageFolder`. A dataset by name
    has test images, so `test` is for folders. FileNotFoundError where there is no such dataset and no such folder.
    """
    given: Any
    if str(what) in registry.DATASETS:
        given = load(str(what))
        train, aside = stratified(given.train, validation, seed, 2)
        return Splits(given.name, given.classes, train, aside, given.test)
    if not Path(what).is_dir():
        raise FileNotFoundError(f"there is no dataset or folder {str(what)!r}: datasets are {', '.join(names())}")
    kind: Any = ShardFolder if any(Path(what).glob("*.tar")) else ImageFolder
    given = kind(what, validation=validation, test=test, seed=seed)
    return Splits(given.name, given.classes, given.train, given.validation, given.test)


def names() -> list[str]:
    """The names that `load` knows."""
    return list(registry.DATASETS)
