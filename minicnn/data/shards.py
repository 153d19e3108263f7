"""Pictures in tar files, for data that outgrows a folder: the layout of webdataset.

    shards/classes.txt                     a class a line; class k is line k, from 0
    shards/train-000000.tar, …             val-000000.tar, …   test-000000.tar, …
        birds/heron.jpg                    the picture: all up to the first dot of its name is the sample's key
        birds/heron.cls                    the number of its class, as text; same key

A million small files are slow to list, copy and open; a few hundred large ones are not. Nothing is unpacked: the tars'
headers are read once, and a picture then is read from its place. `pack` makes shards of a folder.

Aizman, Maltby, Breuel 2019, "High performance I/O for large scale deep learning", arXiv:2001.01858.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data.dataset import Source, label_array
from minicnn.data.folder import CLASSES_FILE, SPLITS, Files, ImageFolder, read_classes
from minicnn.data.picture import SUFFIXES, Packed
from minicnn.data.splits import Splits, stratified

Array = Any  # numpy.ndarray

MAX_MEMBERS = 10_000_000
MAX_LABEL = 64
"""Bytes of a .cls: a number."""
MAX_FILE = 2**28
"""Bytes of a picture file."""


@dataclass(frozen=True, eq=False, repr=False)
class Shards(Source):
    """Pictures that lie in tar files: for each its tar, where in it, and its label."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    places: Array  # (N, 3) int64: which tar, the first byte, how many
    labels: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_array(self.labels, len(self.names)))

    def picture(self, index: int) -> Packed:
        """What `Preprocessing.read` takes: the file's bytes. ValueError where the tar has become shorter."""
        which, start, size = map(int, self.places[index])
        with open(self.paths[which], "rb") as tar:         # opened anew: a file's position would be shared by threads
            tar.seek(start)
            content = tar.read(size)
        if len(content) != size:
            raise ValueError(f"{self.paths[which]} ends within {self.names[index]}: it is cut short, copy it again")
        return Packed(f"{self.paths[which]}: {self.names[index]}", content)

    def select(self, indices: Any) -> Shards:
        """Some of them, in that order."""
        chosen = np.asarray(indices, np.int64)
        return Shards(self.paths, tuple(self.names[i] for i in chosen), self.places[chosen], self.labels[chosen])


class ShardFolder(Splits):
    """A folder of tar shards, as an `ImageFolder` is one of pictures: `classes`, `train`, `validation`, `test`.

    Which split a tar belongs to is what its name begins with (train-…, val-…, test-…), or else train. What is not given
    is drawn from train, or is None, as in `ImageFolder`.

    FileNotFoundError where there are no tars; ValueError, one sentence, where one is damaged or compressed, a picture
    has no label or a label no picture, or a label is none of the classes.
    """

    def __init__(self, root: str | os.PathLike[str], *, validation: float = 0.15, test: float = 0.15,
                 seed: int = 0, progress: Callable[[int, int], None] = lambda tars, of: None) -> None:
        self.root = Path(root)
        paths = sorted(self.root.glob("*.tar")) if self.root.is_dir() else []
        if not paths:
            raise FileNotFoundError(f"there are no tar files in {self.root}: check the name (compressed ones, .tar.gz, "
                                    f"have to be unpacked with gunzip first)")
        self.name = self.root.resolve().name
        given: dict[str, list[tuple[Path, str, int, int, int]]] = {}
        for n, path in enumerate(paths):
            progress(n, len(paths))
            split = SPLITS.get(path.name.split("-")[0].split(".")[0].lower(), "train")
            given.setdefault(split, []).extend(read_tar(path))
        found = {split: _shards(rows) for split, rows in given.items() if rows}
        if "train" not in found:
            raise ValueError(f"{self.root} holds no pictures to learn from: its tars are {', '.join(found) or 'empty'}")
        self.classes = self._classes(max(int(part.labels.max()) for part in found.values()))
        self.train: Shards = found["train"]
        self.validation: Shards | None = found.get("validation")
        self.test: Shards | None = found.get("test")
        if len(found) == 1:
            self.train, self.test = stratified(self.train, test, seed, 1)
        if self.validation is None:
            self.train, self.validation = stratified(self.train, validation, seed, 2, found["train"])

    def _classes(self, largest: int) -> tuple[str, ...]:
        path = self.root / CLASSES_FILE
        if not path.is_file():
            return tuple(map(str, range(largest + 1)))
        names = tuple(read_classes(path))
        if largest >= len(names):
            raise ValueError(f"{path} names {len(names)} classes, but a label in the tars is {largest}: it belongs to "
                             f"other tars, or a line is missing")
        return names


def read_tar(path: Path) -> list[tuple[Path, str, int, int, int]]:
    """(tar, the picture's name, its first byte, how many, its label) of each sample, in the tar's order."""
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for count, member in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise ValueError(f"{path} holds more than {MAX_MEMBERS} files: make several tars of it")
                _sort(path, tar, member, pictures, labels)
    except (tarfile.TarError, EOFError, OverflowError, RecursionError) as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ValueError(f"{path} is no tar file, or a damaged or compressed one ({reason}): copy it again, or unpack "
                         f"it with gunzip") from None
    for key, has, lacks in ((next(iter(pictures.keys() - labels.keys()), ""), "picture", "label (.cls)"),
                            (next(iter(labels.keys() - pictures.keys()), ""), "label (.cls)", "picture")):
        if key:
            raise ValueError(f"{path}: the sample {key!r} has a {has} and no {lacks}: both must lie in one tar")
    return [(path, name, start, size, labels[key]) for key, (name, start, size) in pictures.items()]


def _sort(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, pictures: dict[str, tuple[str, int, int]],
          labels: dict[str, int]) -> None:
    """Note what a member of a tar is."""
    folder, _, file = member.name.rpartition("/")
    stem, _, suffix = file.partition(".")
    key, suffix = f"{folder}/{stem}", f".{suffix.lower()}"
    if file.startswith(".") or not (suffix == ".cls" or suffix in SUFFIXES):
        return
    if not member.isreg() or member.sparse is not None:
        raise ValueError(f"{path}: {member.name} is no plain file but a link or another special one: pack the picture "
                         f"itself")
    if member.size > (MAX_LABEL if suffix == ".cls" else MAX_FILE):
        raise ValueError(f"{path}: {member.name} has {member.size} bytes, and a {suffix} file may have at most "
                         f"{MAX_LABEL if suffix == '.cls' else MAX_FILE}")
    if key in (labels if suffix == ".cls" else pictures):
        raise ValueError(f"{path}: there are two files {suffix} for the sample {key!r}: give each its own name")
    if suffix != ".cls":
        pictures[key] = member.name, member.offset_data, member.size
        return
    content = tar.extractfile(member)
    text = content.read().strip() if content else b""
    if not (text.isdigit() and len(text) < 8):
        raise ValueError(f"{path}: {member.name} says {bytes(text[:20])!r}, which is no class: it must be a number "
                         f"from 0")
    labels[key] = int(text)


def _shards(rows: list[tuple[Path, str, int, int, int]]) -> Shards:
    paths = tuple(dict.fromkeys(row[0] for row in rows))
    which = {path: n for n, path in enumerate(paths)}
    return Shards(paths, tuple(row[1] for row in rows),
                  np.array([(which[path], start, size) for path, _, start, size, _ in rows], np.int64),
                  np.array([row[4] for row in rows], np.int64))


def pack(folder: ImageFolder, out: str | os.PathLike[str], *, size: int = 2**28, seed: int = 0) -> Iterator[Path]:
    """Write a folder's pictures into tars of about `size` bytes, in a random order, with the splits that it has.

    Gives each tar's path when it is done; the files are copied as they are. FileExistsError where `out` holds tars.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise FileExistsError(f"{out} holds tar files already, which stay as they are: give another folder")
    (out / CLASSES_FILE).write_text("".join(f"{name}\n" for name in folder.classes), "utf-8")
    for split, files in (("train", folder.train), ("val", folder.validation), ("test", folder.test)):
        if files is not None:
            order = np.random.default_rng([seed, len(split)]).permutation(len(files))
            yield from _pack_split(files, order, out, split, size)


def _pack_split(files: Files, order: Array, out: Path, split: str, size: int) -> Iterator[Path]:
    number, left = 0, list(order)
    while left:
        target = out / f"{split}-{number:06}.tar"
        beside = target.with_name(f".{target.name}.part")
        with tarfile.open(beside, "w", format=tarfile.PAX_FORMAT) as tar:
            while left and (tar.offset < size or not tar.offset):
                index = left.pop(0)
                name = Path(files.names[index])
                # the key ends at the first dot of a file's name, so there is to be one only
                key = f"{name.parent.as_posix()}/{name.stem.replace('.', '_')}_{index}"
                _add(tar, f"{key}{name.suffix.lower()}", files.picture(index).read_bytes())
                _add(tar, f"{key}.cls", str(int(files.labels[index])).encode())
        os.replace(beside, target)
        number += 1
        yield target


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
