"""A description of this machine, and its peak rates: the roofs of the roofline model."""

from __future__ import annotations

import os
import platform
import statistics
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minicnn
from minicnn.bench.timing import time_calls
from minicnn.cpu import threads


def describe() -> dict[str, Any]:
    """CPU model, cores, memory and operating system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": usable, "ram_bytes": _ram(), "system": f"{platform.system()} "
            f"{platform.machine()}"}  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of Python, NumPy, its BLAS and minicnn."""
    blas = [f"{b['internal_api']} {b['version']} ({b.get('architecture', 'unknown')} kernels)"
            for b in threadpool_info() if b["user_api"] == "blas"]  # fmt: skip
    return {"python": platform.python_version(), "numpy": np.__version__, "blas": ", ".join(blas) or "unknown",
            "minicnn": minicnn.__version__}  # fmt: skip


def gemm_rate(n: int = 1536, seconds: float = 0.5) -> float:
    """FLOP/s of an n×n by n×n product in float32 on all of minicnn's threads, each with its own rows; the best of many.

    No convolution that is computed as one matrix product is faster. (Winograd's algorithm can be: it multiplies less.)
    """
    a, b, c = (np.full((n, n), 0.5, np.float32) for _ in range(3))

    def multiply():
        threads.parallel_for(lambda rows: np.matmul(a[slice(*rows)], b, out=c[slice(*rows)]), threads.shares(n))

    multiply()
    return 2 * n**3 / min(time_calls(multiply, seconds, least=3))


def copy_rate(megabytes: int = 256, seconds: float = 0.5) -> float:
    """Bytes/s, read and written, of a copy that is too large for the caches, on all threads; the best of many."""
    source = np.zeros(megabytes * 2**18, np.float32)
    source[:] = 1                                                  # zeros get their memory when they are first written
    target = np.ones_like(source)

    def copy():
        threads.parallel_for(lambda part: np.copyto(target[slice(*part)], source[slice(*part)]),
                             threads.shares(source.size))

    copy()
    return 2 * source.nbytes / min(time_calls(copy, seconds, least=3))


def wake_cost(seconds: float = 0.1) -> float:
    """Seconds to give every thread an empty task and to wait for all of them; the median of many."""
    units = range(threads.num_threads())

    def wake():
        threads.parallel_for(id, units)

    wake()
    return statistics.median(time_calls(wake, seconds, least=3, most=1000))


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _ram() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
