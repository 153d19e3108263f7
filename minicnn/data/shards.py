"""Pictures in tar files, for datasets too large for a folder: the layout of webdataset.

    shards/classes.txt                     one class on each line; class k is line k, from 0
    shards/train-000000.tar, …             val-000000.tar, …   test-000000.tar, …
        birds/heron.jpg                    a picture; its key is the name up to the first dot
        birds/heron.cls                    the number of its class, as text, under the same key

A million small files are slow to list, copy and open; a few hundred large ones are not. Nothing is unpacked: the
headers of the tars are read once, and each picture is then read from its place. `pack` makes shards from a folder.

Aizman, Maltby, Breuel 2019, "High performance I/O for large scale deep learning", arXiv:2001.01858.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data.dataset import Source, label_array
from minicnn.data.decode import SUFFIXES, Packed
from minicnn.data.folder import CLASSES_FILE, SPLITS, Files, ImageFolder, left_out, read_classes
from minicnn.data.splits import Splits, stratified
from minicnn.names import MAX_CLASSES, short

Array = Any  # numpy.ndarray

MAX_MEMBERS = 10_000_000
MAX_NAMES = 100_000
"""Of files that belong to no sample, so many are counted."""
MAX_LABEL = 64
"""Bytes of a .cls file, which has a number."""
MAX_FILE = 2**28
"""Bytes of a picture file."""


KEPT = 128
"""Tars that stay open: a system allows a process about a thousand files."""


class Tar:
    """A tar that is open for reading. A read names its place, so that threads can share the file."""

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.lock = threading.Lock()

    def read(self, start: int, size: int) -> bytes:
        """The bytes from `start` on: fewer than `size` only where the file ends."""
        parts: list[bytes] = []
        while size > 0:
            if hasattr(os, "pread"):
                part = os.pread(self.handle, size, start)
            else:                                          # Windows
                with self.lock:
                    os.lseek(self.handle, start, os.SEEK_SET)
                    part = os.read(self.handle, size)
            if not part:
                break
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)

    def announce(self, start: int, size: int) -> None:
        """Say that these bytes will be read soon: the system may fetch them meanwhile."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.handle, start, size, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)


class Tars:
    """The last KEPT tars that were read, kept open: opening one for each picture is slow on a file server."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Path, Tar] = OrderedDict()
        self.lock = threading.Lock()

    def opened(self, path: Path) -> Tar:
        """The tar, open."""
        with self.lock:
            tar = self.kept.pop(path, None) or Tar(path)
            self.kept[path] = tar
            if len(self.kept) > KEPT:                      # a thread that still reads it keeps it open
                self.kept.popitem(last=False)
        return tar

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Tars, ()                                    # another process opens its own


@dataclass(frozen=True, eq=False, repr=False)
class Shards(Source):
    """Pictures in tar files and their labels."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    places: Array  # (N, 3) int64: index of the tar, first byte, number of bytes
    labels: Array
    tars: Tars = field(default_factory=Tars)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_array(self.labels, len(self.names)))

    def picture(self, index: int) -> Packed:
        """The bytes of the picture, as `Preprocessing.read` takes them. ValueError where the tar was cut short."""
        which, start, size = map(int, self.places[index])
        content = self.tars.opened(self.paths[which]).read(start, size)
        if len(content) != size:
            raise ValueError(f"{self.paths[which]} ends within {self.names[index]}: it is cut short, copy it again")
        return Packed(f"{self.paths[which]}: {self.names[index]}", content)

    def announce(self, indices: Any) -> None:
        """Say that these pictures will be read soon, in the order of their places: the system fetches them together."""
        for which, start, size in sorted(self.places[indices].tolist()):
            self.tars.opened(self.paths[which]).announce(start, size)

    def select(self, indices: Any) -> Shards:
        """Some of the pictures, in that order."""
        chosen = np.asarray(indices, np.int64)
        return Shards(self.paths, tuple(self.names[i] for i in chosen), self.places[chosen], self.labels[chosen],
                      self.tars)


class ShardFolder(Splits):
    """A folder of tar shards with the attributes of an `ImageFolder`: `classes`, `train`, `validation`, `test`.

    The name of a tar begins with its split (train-…, val-…, test-…); other names count as train. Missing splits are
    split off from train, or are None, as in `ImageFolder`.   progress(tars read, tars in all)

    FileNotFoundError where there are no tars; ValueError, one sentence, where one is damaged or compressed, a picture
    has no label or a label no picture, or a label is not one of the classes.
    """

    def __init__(self, root: str | os.PathLike[str], *, validation: float = 0.15, test: float = 0.15,
                 seed: int = 0, progress: Callable[[int, int], None] = lambda tars, of: None) -> None:
        self.root = arguments.path(root)
        paths = sorted(self.root.glob("*.tar")) if self.root.is_dir() else []
        if not paths:
            raise FileNotFoundError(f"there are no tar files in {self.root}: check the name (unpack compressed ones, "
                                    f".tar.gz, with gunzip first)")
        self.name = self.root.resolve().name
        given: dict[str, list[tuple[Path, str, int, int, int]]] = {}
        others: list[str] = []
        for n, path in enumerate(paths):
            progress(n, len(paths))
            split = SPLITS.get(path.name.split("-")[0].split(".")[0].lower(), "train")
            given.setdefault(split, []).extend(read_tar(path, others))
        found = {split: _shards(rows) for split, rows in given.items() if rows}
        if "train" not in found:
            raise ValueError(f"{self.root} has no training pictures: its tars are {', '.join(found) or 'empty'}")
        self.notes = tuple(left_out(others))
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
            if largest >= MAX_CLASSES:
                raise ValueError(f"a label in the tars of {self.root} is {largest}, and there may be at most "
                                 f"{MAX_CLASSES:,} classes: number them from 0, or name them in {CLASSES_FILE}")
            return tuple(map(str, range(largest + 1)))
        names = tuple(read_classes(path))
        if largest >= len(names):
            raise ValueError(f"{path} has {len(names)} classes, but a label in the tars is {largest}: it belongs to "
                             f"other tars, or a line is missing")
        return names


def read_tar(path: Path, others: list[str] | None = None) -> list[tuple[Path, str, int, int, int]]:
    """(tar, name of the picture, first byte, number of bytes, label) of each sample, in the order of the tar.

    others: gets the names of files that belong to no sample.
    """
    others = [] if others is None else others
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for count, member in enumerate(tar):
                if count >= MAX_MEMBERS:
                    raise ValueError(f"{path} has more than {MAX_MEMBERS} files: split it into several tars")
                if not _add_member(path, tar, member, pictures, labels) and len(others) < MAX_NAMES:
                    others.append(member.name)
    except (tarfile.TarError, EOFError, OverflowError, RecursionError) as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ValueError(f"{path} is not a tar file, or damaged or compressed ({reason}): copy it again, or unpack "
                         f"it with gunzip") from None
    for key, has, lacks in ((next(iter(pictures.keys() - labels.keys()), ""), "picture", "label (.cls)"),
                            (next(iter(labels.keys() - pictures.keys()), ""), "label (.cls)", "picture")):
        if key:
            raise ValueError(f"{path}: the sample {short(key)} has a {has} and no {lacks}: put both into one tar")
    return [(path, name, start, size, labels[key]) for key, (name, start, size) in pictures.items()]


def _add_member(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, pictures: dict[str, tuple[str, int, int]],
          labels: dict[str, int]) -> bool:
    """Add a member of a tar to the pictures or the labels; False where it has another ending."""
    folder, _, file = member.name.rpartition("/")
    stem, _, suffix = file.partition(".")
    key, suffix = f"{folder}/{stem}", f".{suffix.lower()}"
    if file.startswith(".") or not member.name or member.isdir():
        return True
    if not (suffix == ".cls" or suffix in SUFFIXES):
        return False
    if not member.isreg() or member.sparse is not None:
        raise ValueError(f"{path}: {short(member.name)} is a link or another special file: pack the picture "
                         f"itself")
    if member.size > (MAX_LABEL if suffix == ".cls" else MAX_FILE):
        raise ValueError(f"{path}: {short(member.name)} has {member.size} bytes, and a {suffix} file may have at most "
                         f"{MAX_LABEL if suffix == '.cls' else MAX_FILE}")
    if key in (labels if suffix == ".cls" else pictures):
        raise ValueError(f"{path}: there are two files {suffix} for the sample {short(key)}: give each its own name")
    if suffix != ".cls":
        pictures[key] = member.name, member.offset_data, member.size
        return True
    content = tar.extractfile(member)
    text = content.read().strip() if content else b""
    if not (text.isdigit() and len(text) < 8):
        raise ValueError(f"{path}: {short(member.name)} says {bytes(text[:20])!r}, which is not a class: it must "
                         f"be a number from 0")
    labels[key] = int(text)
    return True


def _shards(rows: list[tuple[Path, str, int, int, int]]) -> Shards:
    paths = tuple(dict.fromkeys(row[0] for row in rows))
    which = {path: n for n, path in enumerate(paths)}
    return Shards(paths, tuple(row[1] for row in rows),
                  np.array([(which[path], start, size) for path, _, start, size, _ in rows], np.int64),
                  np.array([row[4] for row in rows], np.int64))


def pack(folder: ImageFolder, out: str | os.PathLike[str], *, size: int = 2**28, seed: int = 0) -> Iterator[Path]:
    """Write the pictures of a folder, with its splits and in a random order, into tars of about `size` bytes.

    Yields the path of each finished tar. The files are copied unchanged. FileExistsError where `out` already has tars.
    """
    arguments.instance("folder", folder, ImageFolder)
    out = arguments.path(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise FileExistsError(f"{out} already has tar files, which are not overwritten: choose another folder")
    try:
        with open(out / CLASSES_FILE, "x", encoding="utf-8") as file:  # of two processes one makes it
            file.write("".join(f"{name}\n" for name in folder.classes))
    except FileExistsError:
        raise FileExistsError(f"{out} already has a {CLASSES_FILE}, which is not overwritten: choose another "
                              "folder") from None
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
                # the key ends at the first dot of the name, so the stem must have none
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
