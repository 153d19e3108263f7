"""Your own pictures: a folder a class, or folders train, val and test with a folder a class in each.

    stamps = ImageFolder("stamps", test=0.3, seed=0)
    stamps.classes                      # ('birds', 'flowers', 'fruit', 'vehicles')
    stamps.train, stamps.test           # Files: len(), .labels, .names, .picture(i)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data import imagenet
from minicnn.data.dataset import Source, label_array
from minicnn.data.picture import SUFFIXES
from minicnn.data.splits import Splits, stratified

Array = Any  # numpy.ndarray

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
          "validation": "validation", "test": "test", "testing": "test"}
"""How folders of a split may be called."""

CLASSES_FILE = "classes.txt"
"""Beside the folders, a class a line: the order of the classes, which otherwise is the alphabet's."""

SHOWN = 5


@dataclass(frozen=True, eq=False, repr=False)
class Files(Source):
    """Pictures in files, and what each one shows.

    names: the files' paths, written from `root` on   labels (N,) int64, the index of the class, from 0
    """

    root: Path
    names: tuple[str, ...]
    labels: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_array(self.labels, len(self.names)))

    def picture(self, index: int) -> Path:
        """What `Preprocessing.read` takes: the file."""
        return self.root / self.names[index]

    def select(self, indices: Any) -> Files:
        """Some of them, in that order."""
        return Files(self.root, tuple(self.names[i] for i in indices), self.labels[np.asarray(indices, np.int64)])


class ImageFolder(Splits):
    """A folder of pictures, sorted into classes by the folders that they lie in (also deeper ones).

    With a folder a class, shares `test` and `validation` of each class are drawn aside with `seed`, at least one
    picture where the share is above 0 and the class has enough. With folders train, val (valid, validation) and test,
    the pictures stay where they were put; where there is no val, it is drawn from train; where there is a val and no
    test, `test` is None, for nothing was kept for it.

    folders      the names of the classes' folders, in the alphabet's order, or as a file classes.txt says, one a line
    classes      what the classes are called: as their folders, but where those are ImageNet's ids (n01440764)
    samples      all pictures: `Files`
    train, validation, test    `Files`, or None
    ignored      files that are no pictures by their names

    FileNotFoundError where there is no such folder; ValueError, one sentence, where it holds no picture, one class, an
    empty class, other classes in one split than in another or than classes.txt says, or a link that leads out of it.
    """

    def __init__(self, root: str | os.PathLike[str], *, validation: float = 0.15, test: float = 0.15,
                 seed: int = 0) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root}: check the name")
        for name, share in (("validation", validation), ("test", test)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} (={share}) must be at least 0 and below 1: it is a share of the pictures")
        if validation + test >= 1:
            raise ValueError(f"validation (={validation}) and test (={test}) must leave something to train on")
        self.name = self.root.resolve().name
        self.ignored: list[str] = []
        given = self._given_splits()
        found = {split: self._scan(folder) for split, folder in given.items()} or {"": self._scan(self.root)}
        self.folders = self._folders(found)
        self.classes = tuple(map(imagenet.title, self.folders))
        parts = {split: self._files(classes) for split, classes in found.items()}
        self.train: Files
        self.validation: Files | None
        self.test: Files | None
        if given:
            self.train, self.validation, self.test = parts["train"], parts.get("validation"), parts.get("test")
        else:
            self.train, self.test = stratified(parts[""], test, seed, 1)
            self.validation = None
        if self.validation is None:
            self.train, self.validation = stratified(self.train, validation, seed, 2, parts["train" if given else ""])
        here = [part for part in (self.train, self.validation, self.test) if part is not None]
        self.samples = Files(self.root, tuple(name for part in here for name in part.names),
                             np.concatenate([part.labels for part in here]))

    def _given_splits(self) -> dict[str, Path]:
        """{"train": folder, …} if the folders are splits, not classes."""
        folders = {path.name: path for path in _folders(self.root)}
        splits = {name: SPLITS.get(name.lower()) for name in folders}
        if "train" not in splits.values() or None in splits.values() or len(folders) == 1:
            return {}
        twice = {split for split in splits.values() if list(splits.values()).count(split) > 1}
        if twice:
            names = sorted(name for name, split in splits.items() if split in twice)
            raise ValueError(f"{self.root} has the folders {' and '.join(names)}, which mean the same: keep one")
        for name in splits:
            if folders[name].is_symlink():
                _stays(folders[name], self.root.resolve())
        return {str(split): folders[name] for name, split in splits.items()}

    def _scan(self, folder: Path) -> dict[str, list[str]]:
        """{class: [paths from root on, in order]}"""
        inside = self.root.resolve()
        found: dict[str, list[str]] = {}
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_symlink():
                _stays(path, inside)
            if path.is_dir():
                found[path.name] = []
                for place, folders, files in os.walk(path, onerror=_raise):
                    folders.sort()
                    for name in [*folders, *sorted(files)]:
                        self._sort(Path(place, name), found[path.name], inside)
            elif path.name != CLASSES_FILE:
                self.ignored.append(str(path.relative_to(self.root)))
        return found

    def _sort(self, path: Path, pictures: list[str], inside: Path) -> None:
        if path.is_symlink():
            _stays(path, inside)
        if path.is_dir() or path.name.startswith("."):
            return
        name = path.relative_to(self.root).as_posix()
        (pictures if path.suffix.lower() in SUFFIXES else self.ignored).append(name)

    def _folders(self, found: dict[str, dict[str, list[str]]]) -> tuple[str, ...]:
        if not any(files for classes in found.values() for files in classes.values()):
            raise ValueError(f"{self.root} holds no pictures in folders: put those of each class into a folder that is "
                             f"called as the class (read are {', '.join(SUFFIXES)})")
        first = next(iter(found))
        for split, classes in found.items():
            where = self.root if not split else self.root / split
            empty = [name for name, files in classes.items() if not files]
            if empty:
                raise ValueError(f"{where} has a folder without a picture for {_some(empty)}: fill it, or take it away")
            if classes.keys() != found[first].keys():
                odd = sorted(classes.keys() ^ found[first].keys())
                raise ValueError(f"{self.root}: {_some(odd)} is a class in {first} or in {split}, but not in both: "
                                 f"every split needs a folder for each class")
        names = sorted(found[first])
        if len(names) < 2:
            raise ValueError(f"{self.root} has one class, {names[0]!r}: to tell classes apart takes two or more "
                             f"folders of pictures")
        return self._ordered(names)

    def _ordered(self, names: list[str]) -> tuple[str, ...]:
        path = self.root / CLASSES_FILE
        if not path.is_file():
            return tuple(names)
        lines = read_classes(path)
        if sorted(lines) != names:
            odd = sorted(set(lines) ^ set(names)) or [name for name in lines if lines.count(name) > 1]
            raise ValueError(f"{path} disagrees with the folders about {_some(odd)}: it must name each folder once")
        return tuple(lines)

    def _files(self, classes: dict[str, list[str]]) -> Files:
        pairs = [(name, label) for label, folder in enumerate(self.folders) for name in classes[folder]]
        return Files(self.root, tuple(name for name, _ in pairs), np.array([label for _, label in pairs], np.int64))


def read_classes(path: Path) -> list[str]:
    """The names in a classes.txt, a line each. ValueError where it is no text, or too much of it."""
    if path.stat().st_size > 2**20:
        raise ValueError(f"{path} has {path.stat().st_size} bytes: names of classes, a line each, take less than 2^20")
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8, so it names no classes: write a class a line") from None
    return [line for line in lines if line]


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _raise(error: OSError) -> None:
    raise error                                            # os.walk itself would pass over a folder that it can't list


def _stays(path: Path, inside: Path) -> None:
    """ValueError for a link that leads out of the folder, to nothing, or to a folder (which might lead in a circle)."""
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(inside):
        raise ValueError(f"{path} is a link that leads out of the folder, to {target}: copy what it leads to")
    if not target.is_file():
        raise ValueError(f"{path} is a link to {'a folder' if target.is_dir() else 'nothing'}: put pictures there")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
