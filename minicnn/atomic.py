"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write(path: str | Path, content: bytes) -> None:
    """Put `content` at `path` in one move: written beside it, flushed to the disk, then renamed over it.

    Whatever interrupts this (power, a full disk, Ctrl-C), `path` holds the old content or the new, never a part.
    """
    path = Path(path)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def sweep(folder: str | Path, names) -> None:
    """Remove what a process that was killed while it wrote left beside the files of these names."""
    for name in names:
        for part in Path(folder).glob(f".{name}.*.part"):
            part.unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """The folder to the disk, so that a power failure can't take the new name back; where the system has that."""
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
