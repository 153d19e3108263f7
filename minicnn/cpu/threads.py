"""The pool of threads for everything that the CPU computes, and the words for how work is split.

    tile     a part of an output, some rows of some images, that a thread computes at a time
    chunk    a part of a flat array or of a matrix's rows, that a thread computes at a time
    share    the tiles or chunks of one thread, for a sum: each thread has its own sum, and the sums are added in order

Each is a `task` of parallel_for. NumPy releases Python's lock (the GIL) inside copies, ufuncs and matrix products, so
threads that work on different tiles run in parallel; the calling thread works too. Tiles and chunks are made larger
than a core's own cache would like, because between two NumPy calls a thread holds the lock, and others wait for it.

BLAS is limited to one thread from the first use on: its own threads would compete with ours for the cores (an idle
OpenBLAS thread spins for milliseconds), and BLAS sees one product at a time where the pool sees the whole layer.
`release_blas` lifts the limit.

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
_count = 0                                                         # 0: not yet known
_blas: threadpool_limits | None = None
_in_task: contextvars.ContextVar[bool] = contextvars.ContextVar("in_task", default=False)

CHUNK_VALUES = 1 << 17
"""Values in a chunk: few enough for the cache, and enough that threads seldom wait for Python's lock."""
MIN_PARALLEL_VALUES = 1 << 18
"""Values below which a computation is too small to be worth waking a thread, which takes 80 µs on a virtual machine."""
MAX_THREADS = 256
"""More threads than this are refused as a mistake: no layer has work for so many."""


def num_threads() -> int:
    """How many threads compute: as set, as MINICNN_NUM_THREADS says, or the cores that this process may use.

    ValueError where MINICNN_NUM_THREADS is not an integer from 1 to MAX_THREADS.
    """
    global _count
    if not _count:
        asked = os.environ.get("MINICNN_NUM_THREADS", "").strip()
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 1 <= int(asked) <= MAX_THREADS):
            raise ValueError(f"MINICNN_NUM_THREADS (={asked!r}) must be an integer from 1 to {MAX_THREADS}: "
                             "unset it to use every core")
        _count = int(asked) if asked else min(_cores(), MAX_THREADS)
    return _count


def set_num_threads(count: int) -> None:
    """Compute with `count` threads from now on, the calling thread included: from 1 to MAX_THREADS."""
    global _count
    count = positive("num_threads", count)
    if count > MAX_THREADS:
        raise ValueError(f"num_threads (={count}) must be at most {MAX_THREADS}")
    _shut_pool()
    _count = count


def release_blas() -> None:
    """Let BLAS use as many threads of its own as before; the next computation here limits it to one again."""
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
    """0 … total split evenly among the threads: for sums, whose order must depend on the thread count alone."""
    return split(total, num_threads())


def parallel_for(body: Callable[[Any], object], tasks: Iterable[Any], values: float = math.inf) -> None:
    """body(task) for every task, on all threads, in no fixed order: tasks must write to different places.

    values: about how many values are computed in all; below MIN_PARALLEL_VALUES this thread does all tasks itself.
    A free thread takes the next task. An error, or Ctrl-C, stops this: tasks that have begun are finished, no other is
    begun, and the error is raised here. A parallel_for inside a body runs on the thread that it is called on.
    """
    tasks = list(tasks)
    helpers = min(num_threads(), len(tasks)) - 1
    if helpers < 1 or values < MIN_PARALLEL_VALUES or _in_task.get():
        _limit_blas()
        for task in tasks:
            body(task)
        return
    remaining = iter(tasks)

    def work():
        token = _in_task.set(True)
        try:
            while (task := next(remaining, remaining)) is not remaining:      # next() of a list's iterator is atomic
                body(task)
        except BaseException:
            for _ in remaining:                                    # no thread takes another task
                pass
            raise
        finally:
            _in_task.reset(token)

    pool = _get_pool()
    futures = [pool.submit(contextvars.copy_context().run, work) for _ in range(helpers)]
    try:
        work()
    finally:
        for future in futures:
            if not future.cancel():                                # cancelled: it never began, no task was left
                error = future.exception()
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error


def sum_of_shares(parts: list, add: Callable[[Any, np.ndarray], object], shape: tuple[int, ...], dtype: Any,
                  values: float = math.inf) -> np.ndarray:
    """The sum over all shares: add(share, sum) adds a share to a sum of its own; the sums are added in their order."""
    sums = np.zeros((max(1, len(parts)), *shape), dtype)
    parallel_for(lambda i: add(parts[i], sums[i]), range(len(parts)), values)
    for other in sums[1:]:
        sums[0] += other
    return sums[0]


# ------------------------------------------------------------------------------------------------------------- scratch


class _Scratch(threading.local):
    """A thread's named buffers, kept from call to call: fresh memory costs three times as much to fill."""

    def __init__(self):
        self.buffers = _Buffers()
        _all_buffers.add(self.buffers)


class _Buffers(dict):
    """A dict with an identity hash, so that a WeakSet can hold it."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


_all_buffers: weakref.WeakSet[_Buffers] = weakref.WeakSet()
_scratch = _Scratch()


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array that belongs to this thread; the next call with this name may return the same memory."""
    size = np.dtype(dtype).itemsize
    for n in shape:
        size *= n
    buffers = _scratch.buffers
    if name not in buffers or buffers[name].nbytes < size:
        buffers.pop(name, None)                                    # free the old one before allocating
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


def scratch_bytes() -> int:
    """How many bytes the buffers of all threads hold."""
    return sum(buffer.nbytes for buffers in list(_all_buffers) for buffer in list(buffers.values()))


def drop_scratch() -> None:
    """Free every thread's buffers. Not to be called during a computation."""
    for buffers in list(_all_buffers):
        buffers.clear()


# ------------------------------------------------------------------------------------------------------ pool and memory


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _limit_blas()
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(num_threads() - 1, thread_name_prefix="minicnn")
    return _pool


def _limit_blas() -> None:
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


def _reset_after_fork() -> None:
    """In a forked child, which has none of the parent's threads, and where no thread holds the lock."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks, so that the next layer's array reuses their pages.

    By default every array over 32 MB is mapped anew, and a page fault on each of its pages takes 3 times a copy's time.
    """
    if not sys.platform.startswith("linux"):
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3                    # glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):                              # musl does not have it
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 28)                             # larger blocks would leave gaps that stay unused
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
