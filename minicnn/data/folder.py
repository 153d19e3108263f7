"""Your own pictures: one folder for each class, or folders train, val and test with one folder for each class.

    stamps = ImageFolder("stamps", test=0.3, seed=0)
    stamps.classes                      # ('birds', 'flowers', 'fruit', 'vehicles')
    stamps.train, stamps.test           # Files: len(), .labels, .names, .picture(i)
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data import imagenet
from minicnn.data.dataset import Source, label_array
from minicnn.data.decode import FORMATS, SUFFIXES
from minicnn.data.splits import Splits, stratified
from minicnn.names import short

Array = Any  # numpy.ndarray

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
          "validation": "validation", "test": "test", "testing": "test"}
"""The names that folders of a split may have."""

CLASSES_FILE = "classes.txt"
"""A file beside the folders with one class on each line, for an order other than alphabetical."""

CORRECTED = "corrected-"
"""How the names of files begin that `minicnn app` adds to a class: training pictures, apart from the draw of splits."""

MAX_NAMES = 5  # in a message


@dataclass(frozen=True, eq=False, repr=False)
class Files(Source):
    """Picture files and their labels.

    names: the paths of the files below `root`   labels (N,) int64, the index of the class, from 0
    """

    root: Path
    names: tuple[str, ...]
    labels: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_array(self.labels, len(self.names)))

    def picture(self, index: int) -> Path:
        """The file, as `Preprocessing.read` takes it."""
        return self.root / self.names[index]

    def select(self, indices: Any) -> Files:
        """Some of the pictures, in that order."""
        return Files(self.root, tuple(self.names[i] for i in indices), self.labels[np.asarray(indices, np.int64)])


class ImageFolder(Splits):
    """A folder of pictures with one folder for each class, which may have folders of its own.

    The shares `test` and `validation` of each class are split off with `seed`, at least one picture where the share is
    above 0 and the class has enough. With folders train, val (or valid, validation) and test these splits are used; a
    missing val is split off from train; with val but without test, `test` is None. Files that `minicnn app` added,
    corrected-…, are training pictures and change nothing in that draw, so a run's test pictures stay the same.

    folders      the names of the class folders, in alphabetical order or in that of classes.txt
    classes      the names of the classes: those of the folders, or ImageNet's names where these are ids (n01440764)
    samples      all pictures: `Files`
    train, validation, test    `Files`, or None
    ignored      files whose names are not those of pictures
    notes        sentences about these files, and about class names that two splits spell in different Unicode forms

    FileNotFoundError where there is no such folder; ValueError, one sentence, where it has no pictures, a single class,
    an empty class, different classes in two splits or in classes.txt, or a link to the outside.
    """

    def __init__(self, root: str | os.PathLike[str], *, validation: float = 0.15, test: float = 0.15,
                 seed: int = 0) -> None:
        self.root = arguments.path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root}: check the name")
        for name, share in (("validation", validation), ("test", test)):
            if not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise ValueError(f"{name} (={short(share)}) must be at least 0 and below 1: it is a share of the "
                                 f"pictures")
        arguments.integer("seed", seed, 0)
        if validation + test >= 1:
            raise ValueError(f"validation (={validation}) and test (={test}) must leave something to train on")
        self.name = self.root.resolve().name
        self.ignored: list[str] = []
        self._spellings: dict[str, set[str]] = {}
        given = self._given_splits()
        found = {split: self._scan(folder) for split, folder in given.items()} or {"": self._scan(self.root)}
        self.notes = (*spelled_differently(self._spellings), *left_out(self.ignored))
        self.folders = self._folders(found)
        self.classes = tuple(map(imagenet.class_name, self.folders))
        parts = {split: self._files(classes) for split, classes in found.items()}
        self.train: Files
        self.validation: Files | None
        self.test: Files | None
        drawn, added = _without_corrected(parts["train" if given else ""])
        if given:
            self.train, self.validation, self.test = drawn, parts.get("validation"), parts.get("test")
        else:
            self.train, self.test = stratified(drawn, test, seed, 1)
            self.validation = None
        if self.validation is None:
            self.train, self.validation = stratified(self.train, validation, seed, 2, drawn)
        if added is not None:
            self.train = Files(self.root, self.train.names + added.names,
                               np.concatenate([self.train.labels, added.labels]))
        here = [part for part in (self.train, self.validation, self.test) if part is not None]
        self.samples = Files(self.root, tuple(name for part in here for name in part.names),
                             np.concatenate([part.labels for part in here]))

    def _given_splits(self) -> dict[str, Path]:
        """{"train": folder, …} where the folders are splits and not classes."""
        folders = {path.name: path for path in _folders(self.root)}
        splits = {name: SPLITS.get(name.lower()) for name in folders}
        if "train" not in splits.values() or None in splits.values() or len(folders) == 1:
            return {}
        twice = {split for split in splits.values() if list(splits.values()).count(split) > 1}
        if twice:
            names = sorted(name for name, split in splits.items() if split in twice)
            raise ValueError(f"{self.root} has the folders {' and '.join(names)}, which are the same split: keep one")
        for name in splits:
            if folders[name].is_symlink():
                _check_link(folders[name], self.root.resolve())
        return {str(split): folders[name] for name, split in splits.items()}

    def _scan(self, folder: Path) -> dict[str, list[str]]:
        """{class: [paths below the root, in order]}"""
        inside = self.root.resolve()
        found: dict[str, list[str]] = {}
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_symlink():
                _check_link(path, inside)
            if path.is_dir():
                name = nfc(path.name)                      # macOS and Linux spell accents differently
                if name in found:
                    raise ValueError(f"{folder} has two folders {short(name)}, whose names differ only in their "
                                     f"Unicode form (NFC and NFD): move the pictures of both into one")
                self._spellings.setdefault(name, set()).add(path.name)
                pictures = found[name] = []
                for place, folders, files in os.walk(path, onerror=_raise):
                    folders.sort()
                    for name in [*folders, *sorted(files)]:
                        self._add(Path(place, name), pictures, inside)
            elif path.name != CLASSES_FILE:
                self.ignored.append(str(path.relative_to(self.root)))
        return found

    def _add(self, path: Path, pictures: list[str], inside: Path) -> None:
        if path.is_symlink():
            _check_link(path, inside)
        if path.is_dir() or path.name.startswith("."):
            return
        name = path.relative_to(self.root).as_posix()
        (pictures if path.suffix.lower() in SUFFIXES else self.ignored).append(name)

    def _folders(self, found: dict[str, dict[str, list[str]]]) -> tuple[str, ...]:
        beside = "".join(f"; {note}" for note in left_out(self.ignored))
        if not any(files for classes in found.values() for files in classes.values()):
            raise ValueError(f"{self.root} has no pictures in folders: put those of each class into a folder with "
                             f"the name of the class (formats: {', '.join(SUFFIXES)}){beside}")
        first = next(iter(found))
        for split, classes in found.items():
            where = self.root if not split else self.root / split
            empty = [name for name, files in classes.items() if not files]
            if empty:
                raise ValueError(f"{where} has no pictures for the class {_list_names(empty)}: add some, or remove "
                                 f"the folder{beside}")
            if classes.keys() != found[first].keys():
                different = sorted(classes.keys() ^ found[first].keys())
                raise ValueError(f"{self.root}: {_list_names(different)} is a class in {first} or {split}, but not in "
                                 f"both: every split needs a folder for each class")
        names = sorted(found[first])
        if len(names) < 2:
            raise ValueError(f"{self.root} has one class, {short(names[0])}: add a folder of pictures for "
                             f"at least one other class")
        return self._ordered(names)

    def _ordered(self, names: list[str]) -> tuple[str, ...]:
        path = self.root / CLASSES_FILE
        if not path.is_file():
            return tuple(names)
        lines = list(map(nfc, read_classes(path)))
        if sorted(lines) != names:
            different = sorted(set(lines) ^ set(names)) or sorted({name for name in lines if lines.count(name) > 1})
            raise ValueError(f"{path} and the folders differ in {_list_names(different)}: it must name each folder "
                             f"once")
        return tuple(lines)

    def _files(self, classes: dict[str, list[str]]) -> Files:
        pairs = [(name, label) for label, folder in enumerate(self.folders) for name in classes[folder]]
        return Files(self.root, tuple(name for name, _ in pairs), np.array([label for _, label in pairs], np.int64))


def _without_corrected(files: Files) -> tuple[Files, Files | None]:
    """(the other files, the corrected ones), or (files, None) where all or none are."""
    added = np.array([Path(name).name.startswith(CORRECTED) for name in files.names])
    if added.all() or not added.any():
        return files, None
    return files.select(np.flatnonzero(~added)), files.select(np.flatnonzero(added))


def nfc(name: str) -> str:
    """The name in Unicode's composed form: é is one character, as most programs write it, or e and an accent."""
    return unicodedata.normalize("NFC", name)


def spelled_differently(spellings: dict[str, set[str]]) -> Iterator[str]:
    """A sentence for class names that the splits spell in different Unicode forms."""
    twice = sorted(name for name, given in spellings.items() if len(given) > 1)
    if twice:
        yield (f"the splits spell {_list_names(twice)} in different Unicode forms (NFC and NFD); each is read as one "
               "class")


def left_out(names: Iterable[str]) -> Iterator[str]:
    """A sentence for the files that are not read, by the endings of their names: left out: 3 .heic and 1 .txt …"""
    counts = Counter(Path(name).suffix.lower() or "without an ending" for name in names)
    if counts:
        parts = [f"{n:,} {ending}" for ending, n in counts.most_common()]
        more = f", {len(parts) - MAX_NAMES} other endings" if len(parts) > MAX_NAMES else ""
        yield (f"left out: {', '.join(parts[:MAX_NAMES])}{more}, which are not {', '.join(FORMATS)}: convert those "
               "that are pictures")


def read_classes(path: Path) -> list[str]:
    """The lines of classes.txt. ValueError where it is not a text, or too long."""
    if path.stat().st_size > 2**20:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, but it may have at most 2^20: write one class "
                         f"name on each line")
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: write one class name on each line") from None
    return [line for line in lines if line]


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _raise(error: OSError) -> None:
    raise error                                            # otherwise os.walk skips a folder that it can't list


def _check_link(path: Path, inside: Path) -> None:
    """ValueError for a link out of the folder, to nothing, or to a folder (which may form a cycle)."""
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(inside):
        raise ValueError(f"{path} is a link out of the folder, to {target}: replace it by a copy of the file")
    if not target.is_file():
        raise ValueError(f"{path} is a link to {'a folder' if target.is_dir() else 'nothing'}: put pictures there")


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(short, names[:MAX_NAMES])) + more
