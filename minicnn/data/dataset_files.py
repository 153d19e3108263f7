"""Files of datasets: where they are, and reading their bytes, plain or gzipped, never more than requested."""

from __future__ import annotations

import gzip
import itertools
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn, cast

_CHUNK = 2**20
DEEP, MOST = 3, 200
"""How far a dataset's folder is searched for a file: folders below each other, and folders in one level."""


def dataset_folder(name: str) -> Path:
    """`$MINICNN_HOME/datasets/<name>`; the default of MINICNN_HOME is `~/.cache/minicnn`. It need not exist."""
    home = os.environ.get("MINICNN_HOME") or "~/.cache/minicnn"
    return Path(home).expanduser() / "datasets" / name


def find(folder: Path, name: str) -> Path | None:
    """The file of that name, plain or gzipped, at its place in the folder ("inner/file") or anywhere in it.

    Also in other spellings: Kaggle and 7-Zip write train-images.idx3-ubyte, some write capitals, and some unpack each
    file into a folder of its name. None where there is no such file.
    """
    for place in (folder / name, folder / Path(name).name):
        for path in (place, place.with_name(f"{place.name}.gz")):
            if path.is_file():
                return path
    wanted = _spelling(Path(name).name)
    return next((path for path in _files(folder) if _spelling(path.name) == wanted), None)


def lies_there(folder: Path) -> str:
    """"; the folder holds 'a', 'b'", for the message about a missing file; "" for an empty or missing folder."""
    names = [path.relative_to(folder).as_posix() for path in itertools.islice(_files(folder), 6)]
    return f"; the folder holds {', '.join(map(repr, names[:5]))}{', …' if names[5:] else ''}" if names else ""


def _spelling(name: str) -> str:
    return re.sub(r"[ ._-]+", "-", name.lower().removesuffix(".gz"))


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and up to DEEP folders below, the upper ones first; not the hidden ones."""
    level = [folder]
    for _ in range(DEEP + 1):
        inside: list[Path] = []
        for place in level:
            try:
                found = sorted(path for path in place.iterdir() if not path.name.startswith("."))
            except OSError:                                # there is no such folder, or it can't be listed
                continue
            yield from (path for path in found if path.is_file())
            inside += [path for path in found if path.is_dir() and not path.is_symlink()]
        level = inside[:MOST]


@contextmanager
def open_bytes(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """`with open_bytes(path) as stream`: its bytes, decompressed where the first bytes say that it is gzipped."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file


def read_bytes(path: Any, stream: Any, count: int, into: bytearray | None = None) -> bytearray:
    """Append the next `count` bytes, or fewer where the file ends, to `into`. ValueError where gzip is damaged."""
    found = bytearray() if into is None else into
    count += len(found)
    try:
        while len(found) < count:
            chunk = stream.read1(min(count - len(found), _CHUNK))
            if not chunk:
                break
            found += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse(path, "a whole gzip file", f"a damaged one ({' '.join(str(error).split())})", error)
    return found


def refuse(path: Any, expected: str, found: str, cause: Exception | None = None) -> NoReturn:
    """ValueError: one sentence with the file, what was expected and what was found."""
    raise ValueError(f"{path}: expected {expected}, found {found}: it is damaged or another file, "
                     f"get it again from where the dataset comes from") from cause
