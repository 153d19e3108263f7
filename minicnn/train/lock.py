"""One process per run folder: a lock that the system releases when the process ends, even after kill -9."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there a folder is not locked
    fcntl = None  # type: ignore[assignment]

NAME = "run.lock"


class Lock:
    """The lock on a run folder; the file names the process that holds it.

    RuntimeError, one sentence, where another process holds the lock. Two runs of one process share it.
    The file of a killed process locks nothing: the lock belongs to the open file, not to its name.
    """

    _held: dict[str, int] = {}  # noqa: RUF012 - shared by the whole process
    """{folder: file descriptor}"""

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self.key = str(folder.resolve())
        if fcntl is None or self._still_held():
            return
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(handle, 200).decode("utf-8", "replace").strip() or "another process"
                os.close(handle)
                raise RuntimeError(f"{folder} is in use by {holder}: wait for it, stop it, or give another folder "
                                   "with --out") from None
            if self._is_current(handle):
                break
            os.close(handle)  # its owner removed the file between our two calls: create it again
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._held[self.key] = handle

    def _still_held(self) -> bool:
        """Whether this process holds the lock, and the folder was not removed since."""
        handle = self._held.get(self.key)
        if handle is not None and not self._is_current(handle):
            os.close(self._held.pop(self.key))
        return self.key in self._held

    def _is_current(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock: other processes may use the folder."""
        handle = self._held.pop(self.key, None)
        if handle is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            os.close(handle)
