"""Files of bare bytes, plain or gzipped: what their readers share. No more is taken than is asked for, or arrives."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any, NoReturn, cast

_CHUNK = 2**20


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """`with opened(path) as stream`: its bytes, unpacked where it is gzipped; its first bytes tell, not its name."""
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if zipped else raw


def take(path: Any, stream: Any, count: int, into: bytearray | None = None) -> bytearray:
    """The next `count` bytes, or fewer where the file ends, at the end of `into`. ValueError where gzip is damaged."""
    taken = bytearray() if into is None else into
    count += len(taken)
    try:
        while len(taken) < count:
            chunk = stream.read1(min(count - len(taken), _CHUNK))
            if not chunk:
                break
            taken += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse(path, "a whole gzip file", f"a damaged one ({' '.join(str(error).split())})", error)
    return taken


def refuse(path: Any, expected: str, found: str, cause: Exception | None = None) -> NoReturn:
    """ValueError: one sentence that names the file, what it should be and what it is."""
    raise ValueError(f"{path}: expected {expected}, found {found}: it is damaged or another file, "
                     f"get it again from where the dataset comes from") from cause
