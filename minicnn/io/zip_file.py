"""Reading zip files that may be hostile: .npz files and PyTorch checkpoints.

Nothing is unpacked to the disk. Refused are a directory over 2 MiB, paths that lead out of the folder, names that occur
twice, encryption, and all compressions but the two that NumPy writes (bzip2 can't be decompressed piece by piece).
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from minicnn.files.arrays import DAMAGED, check_name
from minicnn.names import short

LIMIT = 2**21
"""The most bytes read at once, so also the largest directory: about 30,000 entries."""

HEADER = 30
"""The least bytes before an entry's content."""

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """The entries of an open zip file."""

    def __init__(self, file: IO[bytes]):
        with _as_value_error():
            self._zip = zipfile.ZipFile(cast(IO[bytes], _BoundedFile(file)))
            entries = self._zip.infolist()
        self.sizes: dict[str, int] = {}
        for entry in entries:
            check_name(entry.filename)
            if entry.filename in self.sizes:
                raise ValueError(f"it holds {short(entry.filename)} twice: {DAMAGED}")
            if entry.flag_bits & 1:
                raise ValueError(f"its entry {short(entry.filename)} is encrypted: pack it without a password")
            if entry.compress_type not in _COMPRESSIONS:
                raise ValueError(f"its entry {short(entry.filename)} has a compression that neither NumPy nor PyTorch "
                                 "writes: write it with one of them")
            self.sizes[entry.filename] = entry.file_size
        begins = sorted((entry.header_offset, entry.compress_size) for entry in entries)
        for (begin, size), (after, _) in itertools.pairwise([*begins, (self._zip.start_dir, 0)]):
            if begin + HEADER + size > after:              # a bomb; Python itself refuses, warns or reads on
                raise ValueError(f"its entries overlap: {DAMAGED}")

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A stream of the entry's bytes, at most as many as `sizes` says; the checksum is verified at the end."""
        with _as_value_error(), self._zip.open(name) as stream:
            yield stream


class _BoundedFile:
    """A file that refuses to read huge pieces: zipfile trusts the directory size that the file states."""

    def __init__(self, file: Any):
        self.tell, self.seekable, self._seek, self._read = file.tell, file.seekable, file.seek, file.read

    def seek(self, offset: int, whence: int = 0) -> int:
        if abs(offset) >= 2**62:
            raise OSError("an offset beyond the end")  # instead of Python's ValueError
        return self._seek(offset, whence)

    def read(self, count: int = -1) -> bytes:
        if count > LIMIT:
            raise ValueError(f"its zip directory is larger than {LIMIT >> 20} MiB: pack fewer entries into one file")
        return self._read(LIMIT if count < 0 else count)

    def close(self) -> None:
        """Do nothing: the caller closes the file."""


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError, NotImplementedError,
            RuntimeError, UnicodeDecodeError) as problem:
        text = " ".join(str(problem).split())[:100]
        raise ValueError(f"it is not a whole zip file ({text or type(problem).__name__}): {DAMAGED}") from None
