"""One process per folder: a lock that the system releases when the process ends, even after kill -9."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

fcntl: Any
msvcrt: Any
try:
    import fcntl
except ImportError:  # Windows has msvcrt instead
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

NAME = "run.lock"
FAR = 2**30
"""The byte that Windows locks: nobody can read a locked one, and the first ones name the process."""


class Lock:
    """The lock on a folder that is written; its file `name` says which process holds it.

        with Lock(folder): ...

    It is taken when it is made, and again by each `with`; the end of the outermost `with` releases it, and so do
    `release` and the garbage collector. The runs that one thread makes one after the other share it.

    RuntimeError, one sentence, where another process or another thread holds it. The file of a killed process locks
    nothing: the lock belongs to the open file, not to its name. Where the file system has no locks a warning says so.
    instead: what the refused one may do.
    """

    def __init__(self, folder: Path, name: str = NAME, instead: str = "give another folder with --out"):
        self.folder, self.path, self.instead = folder, folder / name, instead
        self.handle: int | None = None
        self.depth = self.thread = 0
        self.take()

    def take(self) -> None:
        """Take the lock, if this object does not hold it."""
        here = os.stat(self.folder)
        key = here.st_dev, here.st_ino  # a folder may have several names
        with _GUARD:
            holder = _HELD.get(key)
            if holder is not None and not holder.is_current():
                holder.release()
                holder = None
            if holder is self:
                return
            if holder is None:
                self.handle = self._open()
            elif holder.thread != threading.get_ident():
                raise self._in_use("another thread of this process")
            else:
                self.handle, holder.handle = holder.handle, None
            self.thread = threading.get_ident()
            _HELD[key] = self

    def _open(self) -> int:
        """The open and locked file."""
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle)
            except (BlockingIOError, PermissionError):
                holder = os.read(handle, 200).decode("utf-8", "replace").strip() or "another process"
                os.close(handle)
                raise self._in_use(holder) from None
            except OSError as problem:
                warnings.warn(f"{self.folder} can't be locked ({problem.strerror or problem}): start no second "
                              "process in it, nothing would stop that one", RuntimeWarning, stacklevel=4)  # fmt: skip
            if self._is_ours(handle):
                break
            os.close(handle)  # its owner removed the file between our two calls: create it again
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
        return handle

    def _in_use(self, holder: str) -> RuntimeError:
        return RuntimeError(f"{self.folder} is in use by {holder}: wait for it, stop it, or {self.instead}")

    def is_current(self) -> bool:
        """Whether this object holds the lock, and the folder was not removed since."""
        return self.handle is not None and self._is_ours(self.handle)

    def _is_ours(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock: other processes may use the folder."""
        with _GUARD:
            handle, self.handle = self.handle, None
            if handle is None:
                return
            ours = self._is_ours(handle)
            if fcntl is None:  # Windows removes no open file
                os.close(handle)
            if ours:
                with contextlib.suppress(OSError):
                    self.path.unlink()
            if fcntl is not None:  # closed after the removal: whoever locks it first must find the name gone
                os.close(handle)

    def __enter__(self) -> Lock:
        self.take()
        self.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        if not self.depth:
            self.release()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process Python may have removed what it needs
            self.release()


_GUARD = threading.RLock()
_HELD: weakref.WeakValueDictionary[tuple[int, int], Lock] = weakref.WeakValueDictionary()
"""{(device, number) of a folder: the lock that this process holds on it}"""


def _lock(handle: int) -> None:
    """Lock an open file without waiting. BlockingIOError or PermissionError where another process has locked it."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        raise OSError("this system has no locks of files")


def _forget() -> None:
    """In the child of a fork: the locks are its parent's."""
    global _GUARD
    _GUARD = threading.RLock()
    for lock in list(_HELD.values()):
        if lock.handle is not None:
            os.close(lock.handle)
            lock.handle = None
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class NoLock:
    """The lock of a process that writes nothing, because another one holds the folder's for it."""

    def __enter__(self) -> None: pass
    def __exit__(self, *error: object) -> None: pass

    def release(self) -> None:
        """Nothing."""
