"""Writing files atomically: a file is either complete or absent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minicnn import arguments

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def write(path: str | Path, content: bytes) -> None:
    """Write `content` to a temporary file in the same folder, flush it to the disk, and rename it to `path`.

    After an interruption (power, a full disk, Ctrl-C) `path` holds the complete old content or the complete new one.
    FileNotFoundError if the folder does not exist; IsADirectoryError if `path` is a folder.
    """
    path = arguments.file_to_write(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            _flush(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def sweep(folder: str | Path, names: Iterable[str]) -> None:
    """Remove the temporary files for these names that a killed process left in the folder."""
    for name in names:
        for part in Path(folder).glob(f".{name}.*.part"):
            part.unlink(missing_ok=True)


def _flush(handle: int) -> None:
    """Flush an open file to the disk itself: macOS's fsync leaves it in the drive's memory."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(handle)
        return
    try:
        fcntl.fcntl(handle, full)
    except OSError:  # not every file system has it
        os.fsync(handle)


def _flush_names(folder: Path) -> None:
    """Flush the folder to the disk, where the system supports it, so that a power failure can't undo the rename."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
