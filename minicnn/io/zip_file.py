"""Zip files, whose directories are read with suspicion: .npz files and PyTorch's checkpoints are ones.

Nothing is ever unpacked to the disk. What is refused: a directory over 2 MiB, names that lead out of a folder or stand
twice, encryption, and any compression but the two that NumPy writes (bzip2's could not be undone piece by piece).
"""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from typing import IO, cast

from minicnn.io.arrays import DAMAGED, check_name, short

LIMIT = 2**21
"""The most bytes read at once, and so the largest directory: some 30,000 entries."""

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """The entries of an open zip file."""

    def __init__(self, file: IO[bytes]):
        with _one_kind_of_error():
            self._zip = zipfile.ZipFile(cast(IO[bytes], _Careful(file)))
            entries = self._zip.infolist()
        self.sizes: dict[str, int] = {}
        for entry in entries:
            check_name(entry.filename)
            if entry.filename in self.sizes:
                raise ValueError(f"it holds {short(entry.filename)} twice: {DAMAGED}")
            if entry.flag_bits & 1:
                raise ValueError(f"its entry {short(entry.filename)} is encrypted: unpack it, and pack it without")
            if entry.compress_type not in _COMPRESSIONS:
                raise ValueError(f"its entry {short(entry.filename)} is compressed in a way that neither NumPy nor "
                                 "PyTorch writes: write it with one of them")
            self.sizes[entry.filename] = entry.file_size

    @contextlib.contextmanager
    def open(self, name: str):
        """A stream of the entry's bytes, as many as `sizes` says at most; its checksum is checked at the end."""
        with _one_kind_of_error(), self._zip.open(name) as stream:
            yield stream


class _Careful:
    """A file that refuses to be read in huge pieces: zipfile believes what a zip says of its directory's size."""

    def __init__(self, file):
        self.tell, self.seekable, self._seek, self._read = file.tell, file.seekable, file.seek, file.read

    def seek(self, place, whence=0):
        if abs(place) >= 2**62:
            raise OSError("a place beyond all files")  # and not Python's ValueError
        return self._seek(place, whence)

    def read(self, count=-1):
        if count > LIMIT:
            raise ValueError(f"its zip directory is larger than {LIMIT >> 20} MiB: pack fewer entries into one file")
        return self._read(LIMIT if count < 0 else count)

    def close(self):
        """The file belongs to whoever opened it."""


@contextlib.contextmanager
def _one_kind_of_error():
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError, NotImplementedError,
            RuntimeError, UnicodeDecodeError) as problem:
        text = " ".join(str(problem).split())[:100]
        raise ValueError(f"it is not a whole zip file ({text or type(problem).__name__}): {DAMAGED}") from None
