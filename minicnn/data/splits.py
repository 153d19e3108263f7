"""`Splits`, the form of every dataset, loaded by name, from a folder or from tar shards.

    digits = data.load("digits", validation=0.1)
    digits.train[0]                                    # (image (1,28,28) uint8, label)
    for images, labels, *_ in digits.loader(digits.train, 64, shuffle=True): ...     # float32, normalised
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import foreign
from minicnn.data.dataset import Dataset, Source
from minicnn.data.decode import Packed
from minicnn.data.loader import Loader
from minicnn.data.preprocessing import NORMALISATIONS, Preprocessing, Transform
from minicnn.data.transforms import check_channels

PHOTOS = Preprocessing((224, 224), *NORMALISATIONS["imagenet"], resize=256)
"""The default preprocessing of picture files."""

HASHED = 2**28
"""The most bytes of picture files that `Splits.fingerprint` hashes whole."""


@dataclass(eq=False, repr=False)
class Splits:
    """Training, validation and test images of one dataset, with their classes and preprocessing.

    train, validation, test   `Dataset`s, `Files` or `Shards`; validation and test may be None
    classes                   classes[label] is the label's name
    preprocessing             how a picture becomes an image, and an image the input of a net
    augment                   the usual changes to training images, as words for `Transform`
    in_memory                 whether the images are arrays; otherwise they are read from files
    notes                     sentences about files that are left out, and names that differ in spelling
    """

    name: str
    classes: tuple[str, ...]
    train: Any
    validation: Any = None
    test: Any = None
    preprocessing: Preprocessing = PHOTOS
    augment: str = "random-resized flip"
    in_memory: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of_arrays(cls, name: str, train: Dataset, test: Dataset | None, classes: Sequence[str],
                  mean: Sequence[float], std: Sequence[float]) -> Splits:
        """The splits of images in memory. mean, std: a number a channel on the 0..1 scale, as `normalise` takes them.

        ValueError where the shapes of both splits differ, a label has no name, or mean and std do not fit the channels.
        """
        C, H, W = train.images.shape[1:]
        for split, dataset in (("training", train), ("test", test)):
            if dataset is None:
                continue
            if dataset.images.shape[1:] != (C, H, W):
                raise ValueError(f"{name}: training images have shape {(C, H, W)}, but test images "
                                 f"{dataset.images.shape[1:]}: both need the same (C, H, W)")
            if dataset.labels.max() >= len(classes):
                raise ValueError(f"{name}: {split} label {dataset.labels.max()} (image {dataset.labels.argmax()}) has "
                                 f"no name: there are {len(classes)} classes, counted from 0")
        check_channels(C, mean, std)
        return cls(name, tuple(classes), train, None, test, Preprocessing((H, W), tuple(mean), tuple(std), channels=C),
                   "pad-crop:2" if C == 1 else "pad-crop:4 flip", True)

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each channel on the 0..1 scale."""
        return self.preprocessing.mean

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each channel on the 0..1 scale."""
        return self.preprocessing.std

    def with_validation(self, share: float, seed: int = 0) -> Splits:
        """The same with `share` of each class of the training images as validation split, drawn with `seed`."""
        train, aside = stratified(self.train, share, seed, 2)
        return self._changed(train=train, validation=aside)

    def with_preprocessing(self, preprocessing: Preprocessing) -> Splits:
        """The same images, prepared in another way."""
        return self._changed(preprocessing=preprocessing)

    def _changed(self, **changes: Any) -> Splits:
        return Splits(**{f.name: getattr(self, f.name) for f in fields(Splits)} | changes)

    def loader(self, split: Source, batch_size: int, workers: int = -1, augment: str = "", **more: Any) -> Loader:
        """The batches of one of the splits, ready for a net.

        workers: −1 means one per core if the images are files, otherwise none.   more: as `Loader` takes them.
        """
        if workers < 0:
            workers = 0 if self.in_memory else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        transform = Transform(self.preprocessing, augment)
        return Loader(split, batch_size, transform=transform, workers=workers, **more)

    def evaluated(self, split: Source, **more: Any) -> Loader:
        """The batches of one of the splits, in order and without augmentation, as large as memory allows.

        more: as `Loader` takes them.
        """
        return self.loader(split, min(500, max(1, 2**22 // math.prod(self.preprocessing.shape))), **more)

    def show(self, batch: Any = None, count: int = 16) -> Any:
        """Draw images as the net's input, with their classes. → a matplotlib figure

        batch: (images, labels) from `loader`; without it, the first training images with the usual augmentation.
        ModuleNotFoundError, one sentence, without matplotlib.
        """
        from minicnn.data.figures import sheet

        if batch is None:
            some = self.train.select(np.linspace(0, len(self.train) - 1, min(count, len(self.train))).astype(int))
            batch = next(iter(self.loader(some, count, 0, self.augment)))
        images, labels = batch[0][:count], batch[1][:count]
        mean, std = (np.asarray(numbers, np.float32)[:, None, None] for numbers in (self.mean, self.std))
        return sheet(np.clip(np.asarray(images) * std + mean, 0, 1), [self.classes[label] for label in labels])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A checksum of the training and validation images, their names and labels, to detect changed data.

        Arrays are hashed whole, and so are picture files of up to HASHED bytes together. Of larger data, only the size,
        the beginning and the end of each file are hashed.
        """
        digest = hashlib.sha256()
        for split in (s for s in (self.train, self.validation) if s is not None):
            _hash_names(digest, split)
            _hash_pictures(digest, split)
        return digest.hexdigest()[:16]

    @functools.cached_property
    def stamp(self) -> str:
        """A checksum of the sizes and times of the files, if `fingerprint` does not hash them whole; "" if it does."""
        digest, whole = hashlib.sha256(), True
        for split in (s for s in (self.train, self.validation) if s is not None and not isinstance(s, Dataset)):
            tars = getattr(split, "paths", None)
            found = [os.stat(path) for path in tars or map(split.picture, range(len(split)))]
            sizes = split.places[:, 2] if tars else [file.st_size for file in found]
            whole &= max(sizes) <= 2 * _share(split)
            digest.update(repr([(file.st_size, file.st_mtime_ns) for file in found]).encode())
        return "" if whole else digest.hexdigest()[:16]

    @functools.cached_property
    def names_fingerprint(self) -> str:
        """The checksum of names and labels alone, as in checkpoints of format 1."""
        digest = hashlib.sha256()
        for split in (s for s in (self.train, self.validation) if s is not None):
            _hash_names(digest, split)
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(split):,} {what}" for what, split in
                           (("training", self.train), ("validation", self.validation), ("test", self.test))
                           if split is not None)
        shape = "×".join(map(str, self.preprocessing.shape))
        notes = "".join(f"; {foreign.terminal(note)}" for note in self.notes)
        return f"<{foreign.terminal(self.name)}: {counts} images of {shape}, {len(self.classes)} classes{notes}>"


def _hash_names(digest: Any, split: Source) -> None:
    digest.update("\0".join(split.names).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(split.labels, np.int64).tobytes())


def _hash_pictures(digest: Any, split: Source) -> None:
    if isinstance(split, Dataset):
        digest.update(np.ascontiguousarray(split.images))
        return
    each = _share(split)
    for i in range(len(split)):
        source = split.picture(i)
        if isinstance(source, Packed):
            size, first, last = len(source.content), source.content[:each], source.content[each:][-each:]
        else:
            first, last, size = _ends(source, each)
        digest.update(size.to_bytes(8, "little") + first + last)


def _share(split: Source) -> int:
    """How many bytes of the beginning, and of the end, of each file are hashed."""
    return max(64, HASHED // len(split) // 2)


def _ends(path: Path, each: int) -> tuple[bytes, bytes, int]:
    """The first and the last bytes of a file, and its size."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(each)
        file.seek(max(len(first), size - each))
        return first, file.read(each), size


def stratified(split: Any, share: float, seed: int, stream: int, whole: Any = None) -> tuple[Any, Any]:
    """(the rest, `share` of each class), drawn with `seed`; `stream` separates two draws with one seed.

    Of n pictures of a class, ⌊n·share + ½⌋ are split off, at least one where there are 2 or more, and never all; n is
    counted in `whole`, by default in `split` itself. Each class has its own generator, so none depends on another.
    Both parts keep the order. (split, None) where share is 0.
    """
    if share == 0:
        return split, None
    counts = np.bincount((split if whole is None else whole).labels)
    aside = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(int(counts[label] * share + 0.5), 1), len(members) - 1)
        aside[np.random.default_rng([seed, stream, int(label)]).permutation(members)[:count]] = True
    if not aside.any():
        return split, None
    return split.select(np.flatnonzero(~aside)), split.select(np.flatnonzero(aside))
