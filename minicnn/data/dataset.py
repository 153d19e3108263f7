"""What a dataset is: images, labels, and the names and numbers that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from minicnn.data.transforms import check_channels

Array = Any  # numpy.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and what each one shows.

    images (N,C,H,W) uint8, 0..255   labels (N,) int64, the index of the class, from 0

    ValueError or TypeError says what does not fit.
    """

    images: Array
    labels: Array

    def __post_init__(self) -> None:
        _need("images", self.images, np.uint8, 4, "(N, C, H, W)")
        _need("labels", self.labels, np.int64, 1, "(N,)")
        if len(self.images) != len(self.labels):
            raise ValueError(f"there are {len(self.images)} images but {len(self.labels)} labels: "
                             f"every image needs exactly one label")
        if self.images.size == 0:
            raise ValueError(f"images has shape {self.images.shape}: a dataset needs at least one image "
                             f"of at least one pixel")
        if self.labels.min() < 0:
            raise ValueError(f"label {self.labels.min()} (image {self.labels.argmin()}) is negative: "
                             f"labels count the classes from 0")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def names(self) -> Sequence[str]:
        """What to call each image where one has to be named."""
        return [f"image {i}" for i in range(len(self))]

    def picture(self, index: int) -> Array:
        """What `Preprocessing.read` takes: the image's bytes (C,H,W)."""
        return self.images[index]

    def select(self, indices: Any) -> Dataset:
        """Some of them, in that order."""
        return Dataset(self.images[indices], self.labels[indices])


class Source(Protocol):
    """What the loader reads: pictures by number, wherever they lie. `Dataset` and `folder.Files` are such."""

    labels: Array
    """(N,) int64"""

    @property
    def names(self) -> Sequence[str]:
        """What to call each picture: its file's name."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Any:
        """A path, a `picture.Packed` or an array (C,H,W) uint8."""

    def select(self, indices: Any) -> Any:
        """Some of them, in that order."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A dataset as it is handed out: what to learn from, what to measure on, and what both have in common.

    `classes[label]` is the label's name. `mean` and `std` hold a number a channel on the 0..1 scale, measured from the
    training images with `transforms.channel_statistics`; `transforms.normalise` takes them.
    """

    name: str
    train: Dataset
    test: Dataset
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(f"{self.name}: training images have shape {self.train.images.shape[1:]}, but test images "
                             f"{self.test.images.shape[1:]}: both need the same (C, H, W)")
        for part, dataset in (("training", self.train), ("test", self.test)):
            if dataset.labels.max() >= len(self.classes):
                raise ValueError(f"{self.name}: {part} label {dataset.labels.max()} (image {dataset.labels.argmax()}) "
                                 f"has no name: there are {len(self.classes)} classes, counted from 0")
        check_channels(self.train.images.shape[1], self.mean, self.std)


def label_array(labels: Any, count: int) -> Array:
    """The labels as int64 (N,), N = count. ValueError where there are more, fewer, or negative ones."""
    labels = np.asarray(labels, np.int64)
    if labels.shape != (count,):
        raise ValueError(f"there are {count} pictures but labels of shape {labels.shape}: each needs exactly one label")
    if count == 0:
        raise ValueError("a dataset needs at least one picture")
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()} (picture {labels.argmin()}) is negative: "
                         f"labels count the classes from 0")
    return labels


def _need(name: str, array: Array, dtype: Any, rank: int, axes: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a NumPy array of {np.dtype(dtype)}, not {found}")
    if array.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes {axes}, not {array.ndim} (shape {array.shape})")
