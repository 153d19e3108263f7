"""The thread pool for all computations on the CPU, and the terms for parts of the work.

    tile     a part of an output, some rows of some images, that a thread computes at a time
    chunk    a part of a flat array or of a matrix's rows, that a thread computes at a time
    part     some tiles or chunks that have a sum of their own; the sums of the parts are added in order

Each is a `task` of parallel_for. Their sizes depend on the shapes alone: every number of threads gives the same bits.
NumPy releases Python's lock (the GIL) inside copies, ufuncs and matrix products, so threads that work on different
tiles run in parallel; the calling thread works too. Tiles and chunks are larger than a core's own cache, because
between two NumPy calls a thread holds the lock, and others wait for it.

BLAS is limited to one thread from the first use on: its threads would compete with the pool's for the cores (an idle
OpenBLAS thread spins for milliseconds), and BLAS can split only one product at a time, the pool the whole layer.
`release_blas` lifts the limit.

    MINICNN_NUM_THREADS    the number of threads; by default the number of cores that this process may use
"""

from __future__ import annotations

import contextlib
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

from minicnn.geometry import positive

# At the top: a process that is forked while another thread imports something would wait for that import for ever.
try:
    import threadpoolctl
except ImportError:                                                # Python in a browser has no threads to limit
    threadpoolctl = None

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_count = 0                                                         # 0: not yet known
_blas: contextlib.ExitStack | None = None                          # closing it lifts the limit
_in_task: contextvars.ContextVar[bool] = contextvars.ContextVar("in_task", default=False)

CHUNK_VALUES = 1 << 17
"""Values in a chunk: few enough for the cache, and enough that threads seldom wait for Python's lock."""
MIN_PARALLEL_VALUES = 1 << 18
"""Values below which a computation is too small to be worth waking a thread, which takes 80 µs on a virtual machine."""
PARTS = 8
"""The parts that work is cut into, whatever the number of threads: the bits of a sum depend on its order."""
MAX_SUMS_BYTES = 32 << 20
"""Bytes of the sums of all parts of one total; larger sums have fewer parts, but at least two."""
MAX_THREADS = 256
"""The limit for the number of threads; a larger number is probably a mistake."""


def num_threads() -> int:
    """The number of threads: from set_num_threads, MINICNN_NUM_THREADS, or the cores that this process may use.

    ValueError if MINICNN_NUM_THREADS is not an integer from 1 to MAX_THREADS.
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
    """Compute with `count` threads, from 1 to MAX_THREADS, including the calling thread."""
    global _count
    count = positive("num_threads", count)
    if count > MAX_THREADS:
        raise ValueError(f"num_threads (={count}) must be at most {MAX_THREADS}")
    _shut_pool()
    _count = count


def release_blas() -> None:
    """Let BLAS use its own threads again; minicnn's next computation limits it to one thread again."""
    global _blas
    with _lock:
        if _blas is not None:
            _blas.close()
            _blas = None
            _shut_pool()


def split(total: int, parts: int) -> list[tuple[int, int]]:
    """Split 0 … total into at most `parts` ranges (start, stop), none empty, whose lengths differ by at most one."""
    parts = max(1, min(parts, total))
    edges = [total * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(edges)) if total else []


def parts(total: int) -> list[tuple[int, int]]:
    """Split 0 … total into PARTS ranges: enough for the threads of most machines, and as many on all of them."""
    return split(total, PARTS)


def parallel_for(body: Callable[[Any], object], tasks: Iterable[Any], values: float = math.inf) -> None:
    """body(task) for every task, on all threads, in no fixed order: tasks must write to different places.

    values: the approximate number of values computed; below MIN_PARALLEL_VALUES the calling thread does all tasks.
    A free thread takes the next task. After an error or Ctrl-C, running tasks finish, no other task starts, and the
    error is raised here. A parallel_for inside a body runs on the thread that calls it.
    """
    tasks = list(tasks)
    helpers = min(num_threads(), len(tasks)) - 1
    if helpers < 1 or values < MIN_PARALLEL_VALUES or _in_task.get():
        limit_blas()
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

    pool, futures = _get_pool(), []
    try:
        for _ in range(helpers):
            futures.append(pool.submit(contextvars.copy_context().run, work))
        work()
    except BaseException:                                          # perhaps between two submits
        for _ in remaining:
            pass
        raise
    finally:
        for future in futures:
            if not future.cancel():                                # cancelled: it never began, no task was left
                error = future.exception()
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error


def sum_of_parts(tasks: Iterable[Any], add: Callable[[Any, np.ndarray], object], shape: tuple[int, ...], dtype: Any,
                 values: float = math.inf) -> np.ndarray:
    """The sum over all tasks; add(task, sum) adds one. Each part of them has its own sum; these are added in order."""
    tasks, size = list(tasks), math.prod(shape) * np.dtype(dtype).itemsize
    ranges = split(len(tasks), min(PARTS, max(2, MAX_SUMS_BYTES // max(1, size))))
    sums = np.zeros((max(1, len(ranges)), *shape), dtype)

    def work(i):
        for task in tasks[slice(*ranges[i])]:
            add(task, sums[i])

    parallel_for(work, range(len(ranges)), values)
    for other in sums[1:]:
        sums[0] += other
    return sums[0]


# ------------------------------------------------------------------------------------------------------------- scratch


class _Scratch(threading.local):
    """A thread's named buffers, reused between calls: filling newly allocated memory takes three times as long."""

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
    """The total size of all threads' buffers, in bytes."""
    return sum(buffer.nbytes for buffers in list(_all_buffers) for buffer in list(buffers.values()))


def drop_scratch() -> None:
    """Free every thread's buffers. Do not call it during a computation."""
    for buffers in list(_all_buffers):
        buffers.clear()


# ------------------------------------------------------------------------------------------------------ pool and memory


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        limit_blas()
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(num_threads() - 1, thread_name_prefix="minicnn")
    return _pool


def limit_blas() -> None:
    """Hold BLAS at one thread: minicnn splits the work itself, in parts that give the same bits."""
    global _blas
    if _blas is None:
        with _lock:
            if _blas is None:
                _blas = _threadpool_limits()
                _keep_freed_memory()


def _threadpool_limits() -> contextlib.ExitStack:
    limits = contextlib.ExitStack()
    if threadpoolctl is not None:
        limits.enter_context(threadpoolctl.threadpool_limits(1, user_api="blas"))
    return limits


def _shut_pool() -> None:
    global _pool
    pool, _pool = _pool, None
    if pool is not None:
        pool.shutdown()


def _reset_after_fork() -> None:
    """Reset the pool and the lock in a forked child, which has none of the parent's threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks, so that the next layer's array reuses their pages.

    By default every array over 32 MB is newly mapped, and its page faults take 3 times as long as a copy of the array.
    """
    if not sys.platform.startswith("linux"):
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3                    # glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):                              # musl has no mallopt
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 28)                             # larger blocks would leave unused gaps
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
