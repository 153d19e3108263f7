"""One pool of threads for everything that the CPU computes.

NumPy lets go of Python's lock inside copies, ufuncs and matrix products, so threads that each work on their own tile
run side by side. `parallel_for` hands out the tiles; the calling thread works too. BLAS is held at one thread for good
from the first use on: its own threads would fight ours for the cores (an idle OpenBLAS worker spins for milliseconds),
and they see one product at a time where we see the whole layer. `release_blas` gives them back.

    MINICNN_NUM_THREADS    how many threads; by default the cores that this process may use
"""

from __future__ import annotations

import contextvars
import ctypes
import itertools
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from minicnn.geometry import positive

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_count = 0                                                         # 0: not yet asked for
_blas: threadpool_limits | None = None
_busy: contextvars.ContextVar[bool] = contextvars.ContextVar("busy", default=False)


def num_threads() -> int:
    """How many threads compute: as set, as MINICNN_NUM_THREADS says, or the cores that this process may use."""
    global _count
    if not _count:
        asked = os.environ.get("MINICNN_NUM_THREADS", "").strip()
        if asked and not (asked.isascii() and asked.isdigit() and int(asked) >= 1):
            raise ValueError(f"MINICNN_NUM_THREADS (={asked!r}) must be an integer of at least 1: "
                             "set it to one, or unset it to use every core")
        _count = int(asked) if asked else _cores()
    return _count


def set_num_threads(count: int) -> None:
    """Compute with `count` threads from now on, the calling one among them."""
    global _count
    count = positive("num_threads", count)
    _shut_pool()
    _count = count


def release_blas() -> None:
    """Let BLAS use its own threads again, as many as before; the next computation here takes them back."""
    global _blas
    with _lock:
        if _blas is not None:
            _blas.restore_original_limits()
            _blas = None
            _shut_pool()


def split(total: int, parts: int) -> list[tuple[int, int]]:
    """0 … total as at most `parts` ranges (start, stop), none empty, their lengths at most one apart."""
    parts = max(1, min(parts, total))
    edges = [total * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(edges)) if total else []


def shares(total: int) -> list[tuple[int, int]]:
    """0 … total split evenly among the threads: for sums, whose order must depend on nothing but the thread count."""
    return split(total, num_threads())


WORTH_WAKING = 1 << 18
"""Values, about: to touch fewer takes less time than to wake a thread, which is 80 µs on a virtual machine."""


def parallel_for(body: Callable[[Any], object], units: Iterable[Any], values: float = math.inf) -> None:
    """body(unit) for every unit, on all threads, in no certain order: units must write to different places.

    values: how many values are computed in all, about; where they are few this thread does everything.
    Whoever is free takes the next unit. An error, Ctrl-C among them, stops the handing out, waits for the units that
    have begun, and is raised here. Inside a body, another parallel_for runs on the thread that it is on.
    """
    units = list(units)
    helpers = min(num_threads(), len(units)) - 1
    if helpers < 1 or values < WORTH_WAKING or _busy.get():
        _hold_blas()
        for unit in units:
            body(unit)
        return
    left = iter(units)

    def take():
        token = _busy.set(True)
        try:
            while (unit := next(left, left)) is not left:          # next() of a list's iterator is atomic
                body(unit)
        except BaseException:
            for _ in left:                                         # nobody takes another
                pass
            raise
        finally:
            _busy.reset(token)

    pool = _the_pool()
    futures = [pool.submit(contextvars.copy_context().run, take) for _ in range(helpers)]
    try:
        take()
    finally:
        for future in futures:
            if not future.cancel():                                # cancelled: it never began, there was nothing left
                error = future.exception()
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error


# ------------------------------------------------------------------------------------------------------------- scratch


class _Scratch(threading.local):
    """A thread's named buffers, kept from call to call: fresh memory costs three times as much to fill."""

    def __init__(self):
        self.buffers = _Buffers()
        _all_buffers.add(self.buffers)


class _Buffers(dict):
    """A dict that a WeakSet can hold."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


_all_buffers: weakref.WeakSet[_Buffers] = weakref.WeakSet()
_scratch = _Scratch()


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of this thread's own, with whatever was in it; the next call with this name may get the same memory."""
    size = np.dtype(dtype).itemsize
    for n in shape:
        size *= n
    buffers = _scratch.buffers
    if name not in buffers or buffers[name].nbytes < size:
        buffers.pop(name, None)                                    # first free, then ask
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


def scratch_bytes() -> int:
    """How much memory the threads' buffers hold together."""
    return sum(buffer.nbytes for buffers in list(_all_buffers) for buffer in list(buffers.values()))


def drop_scratch() -> None:
    """Free every thread's buffers; not while something is being computed."""
    for buffers in list(_all_buffers):
        buffers.clear()


# ------------------------------------------------------------------------------------------------------ pool and memory


def _the_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _hold_blas()
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(num_threads() - 1, thread_name_prefix="minicnn")
    return _pool


def _hold_blas() -> None:
    global _blas
    if _blas is None:
        with _lock:
            if _blas is None:
                _blas = threadpool_limits(1, user_api="blas")
                _keep_freed_memory()


def _shut_pool() -> None:
    global _pool
    pool, _pool = _pool, None
    if pool is not None:
        pool.shutdown()


def _forget() -> None:
    """In a forked child: the parent's threads are not here, and nobody holds the lock."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Ask glibc to keep large blocks when they are freed: the next layer's array then lies on pages that are there.

    By default every array over 32 MB is mapped anew and each of its pages costs a fault: 3 times a copy's time.
    """
    if not sys.platform.startswith("linux"):
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3                    # glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):                              # musl has none
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 28)                             # larger ones would leave gaps that nothing fills
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
