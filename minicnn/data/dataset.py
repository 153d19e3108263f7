"""What a dataset is: images, labels, and the names and numbers that belong to them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minicnn.data import decode

Array = Any  # numpy.ndarray


class Source:
    """Pictures by index, in memory or in files, and their labels: the base of `Dataset`, `Files` and `Shards`.

    train[0] is (image, label), the image (C,H,W) uint8 at its own size; train[:100] and train[[3, 1]] are subsets.

    labels   (N,) int64, the index of the class, from 0
    names    the name of each picture: its file's name
    """

    labels: Array
    names: Any

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, index: int) -> Any:
        """What `Preprocessing.read` takes: a path, a `decode.Packed` or an array (C,H,W) uint8."""
        raise NotImplementedError(f"{type(self).__name__} has no picture method")

    def select(self, indices: Any) -> Any:
        """Some of them, in that order."""
        raise NotImplementedError(f"{type(self).__name__} has no select method")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        if isinstance(index, (list, np.ndarray)):
            return self.select(np.arange(len(self))[np.asarray(index)])
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"there is no picture {i}: there are {len(self)}, counted from 0")
        return decode.decoded(self.picture(i % len(self))), int(self.labels[i])

    def __iter__(self) -> Iterator[tuple[Array, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} images, {len(np.unique(self.labels))} classes>"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Source):
    """Images in memory and their labels.

    images (N,C,H,W) uint8, 0..255   labels (N,) int64, the index of the class, from 0

    ValueError or TypeError if images and labels do not fit together.
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

    @cached_property
    def names(self) -> Sequence[str]:
        """A name for each image, for reports: "image 0"."""
        return [f"image {i}" for i in range(len(self))]

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return f"<Dataset: {len(self):,} images of {shape}, {len(np.unique(self.labels))} classes>"

    def picture(self, index: int) -> Array:
        """What `Preprocessing.read` takes: the image's bytes (C,H,W)."""
        return self.images[index]

    def select(self, indices: Any) -> Dataset:
        """Some of them, in that order."""
        return Dataset(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False, repr=False)
class Joined(Source):
    """Two sources, one after the other; they may be of different kinds."""

    first: Source
    second: Source
    order: Array | None = None
    """(N,) the places in both together; None: all of them."""

    @cached_property
    def _order(self) -> Array:
        return np.arange(len(self.first) + len(self.second)) if self.order is None else self.order

    @cached_property
    def labels(self) -> Array:
        """(N,) int64"""
        return np.concatenate([self.first.labels, self.second.labels])[self._order]

    @cached_property
    def names(self) -> Sequence[str]:
        """The name of each picture."""
        both = [*self.first.names, *self.second.names]
        return [both[i] for i in self._order]

    def picture(self, index: int) -> Any:
        """The picture of the source that it is from."""
        place = int(self._order[index]) - len(self.first)
        return self.second.picture(place) if place >= 0 else self.first.picture(place + len(self.first))

    def select(self, indices: Any) -> Joined:
        """Some of them, in that order."""
        return Joined(self.first, self.second, self._order[np.asarray(indices, np.int64)])


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
