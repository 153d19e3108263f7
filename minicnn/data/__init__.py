"""Datasets by name or from your own files, and their conversion to the input of a net.

    digits = data.load("digits", validation=0.1)           # or a folder of pictures, or one of tar shards
    image, label = digits.train[0]                         # uint8 (1,28,28), 0 … 9
    for images, labels in data.Batches(digits.train, 64, shuffle=True):      # uint8 (64,1,28,28), int64 (64,)
        x = data.normalise(images, digits.mean, digits.std)                  # float32 (64,1,28,28)

`minicnn datasets` lists the names; to add one, see registry.py.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from minicnn.data import registry
from minicnn.data.dataset import Dataset, Source
from minicnn.data.folder import Files, ImageFolder
from minicnn.data.loader import Batch, Batches, Loader
from minicnn.data.preprocessing import NORMALISATIONS, Preprocessing, Transform
from minicnn.data.shards import ShardFolder, Shards
from minicnn.data.splits import Splits, stratified
from minicnn.data.transforms import normalise, read_image
from minicnn.names import unknown

__all__ = ["NORMALISATIONS", "Batch", "Batches", "Dataset", "Files", "ImageFolder", "Loader", "Preprocessing",
           "ShardFolder", "Shards", "Source", "Splits", "Transform", "load", "names", "normalise", "read_image",
           "stratified"]


def load(what: str | PathLike[str], *, validation: float = 0.0, test: float = 0.15, seed: int = 0) -> Splits:
    """A dataset by name, a folder of pictures, or a folder of tar shards, as training, validation and test images.

    validation: the share of each class of the training images that becomes the validation split, drawn with `seed`,
    where the data has none.   test: the same for a folder without test images; a dataset by name has its own.

    ValueError where there is no such dataset and no such folder; FileNotFoundError where the dataset's files are
    missing. Errors of folders: see `ImageFolder`.
    """
    if str(what) in registry.DATASETS:
        return registry.load(str(what)).with_validation(validation, seed)
    if not Path(what).is_dir():
        raise ValueError(unknown("dataset", str(what), names()) + "; and there is no folder of that name")
    kind = ShardFolder if any(Path(what).glob("*.tar")) else ImageFolder
    return kind(what, validation=validation, test=test, seed=seed)


def names() -> list[str]:
    """The names of the datasets that `load` knows."""
    return list(registry.DATASETS)
