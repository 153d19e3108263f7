"""Files of datasets: where they are, and reading their bytes, plain or gzipped, never more than requested."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn, cast

_CHUNK = 2**20


def dataset_folder(name: str) -> Path:
    """`$MINICNN_HOME/datasets/<name>`; the default of MINICNN_HOME is `~/.cache/minicnn`. It need not exist."""
    home = os.environ.get("MINICNN_HOME") or "~/.cache/minicnn"
    return Path(home).expanduser() / "datasets" / name


def find(folder: Path, name: str) -> Path | None:
    """The file of that name or with .gz at its end, at its place in the folder ("inner/file") or in the folder itself.

    None where there is no such file.
    """
    return next((path for place in (folder / name, folder / Path(name).name)
                 for path in (place, place.with_name(f"{place.name}.gz")) if path.is_file()), None)


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
