"""A description of this machine, and its peak rates: the roofs of the roofline model."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minicnn
from minicnn.bench.timing import time_calls
from minicnn.cpu import path, threads


def describe() -> dict[str, Any]:
    """CPU model, instruction set, cores, memory and operating system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "instructions": _instructions(), "cores": usable, "ram_bytes": _ram(),
            "system": f"{platform.system()} {platform.machine()}"}  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of Python, NumPy, its BLAS, numba and minicnn, and which implementation of the CPU computes."""
    blas = [f"{b['internal_api']} {b['version']} ({b.get('architecture', 'unknown')} kernels)"
            for b in threadpool_info() if b["user_api"] == "blas"]  # fmt: skip
    return {"python": platform.python_version(), "numpy": np.__version__, "blas": ", ".join(blas) or "unknown",
            **_numba(), "minicnn": minicnn.__version__, "path": path.chosen()}  # fmt: skip


def gemm_rate(n: int = 1536, seconds: float = 0.5) -> float:
    """FLOP/s of an n×n by n×n product in float32 on all of minicnn's threads, each with its own rows; the best of many.

    No convolution that is computed as one matrix product is faster. (Winograd's algorithm can be: it multiplies less.)
    """
    a, b, c = (np.full((n, n), 0.5, np.float32) for _ in range(3))
    parts = threads.split(n, threads.num_threads())

    def multiply():
        threads.parallel_for(lambda rows: np.matmul(a[slice(*rows)], b, out=c[slice(*rows)]), parts)

    multiply()
    return 2 * n**3 / min(time_calls(multiply, seconds, least=3))


def copy_rate(megabytes: int = 256, seconds: float = 0.5) -> float:
    """Bytes/s, read and written, of a copy that is too large for the caches, on all threads; the best of many."""
    source = np.zeros(megabytes * 2**18, np.float32)
    source[:] = 1                                                  # zeros get their memory when they are first written
    target = np.ones_like(source)

    def copy():
        threads.parallel_for(lambda part: np.copyto(target[slice(*part)], source[slice(*part)]),
                             threads.split(source.size, threads.num_threads()))

    copy()
    return 2 * source.nbytes / min(time_calls(copy, seconds, least=3))


def wake_cost(seconds: float = 0.1) -> float:
    """Seconds to give every thread an empty task and to wait for all of them; the median of many."""
    units = range(threads.num_threads())

    def wake():
        threads.parallel_for(id, units)

    wake()
    return statistics.median(time_calls(wake, seconds, least=3, most=1000))


def _numba() -> dict[str, str]:
    try:
        return {"numba": importlib.metadata.version("numba")}
    except importlib.metadata.PackageNotFoundError:
        return {}


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; {} elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            pairs = [line.partition(":") for line in lines]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in reversed(pairs)}


def _cpu_model() -> str:
    """The name; virtual machines often shorten it, so with the numbers that identify the model."""
    known = _cpuinfo()
    numbers = ", ".join(f"{k.removeprefix('cpu ')} {known[k]}" for k in ("cpu family", "model") if k in known)
    name = known.get("model name") or platform.processor() or "unknown"
    return f"{name} ({numbers})" if numbers else name


def _instructions() -> str:
    """The widest vector instructions that this CPU has, among those that matter here."""
    flags = {*_cpuinfo().get("flags", "").split(), *_cpuinfo().get("Features", "").split()}
    if "asimd" in flags or platform.machine().lower() in ("arm64", "aarch64"):
        return "neon"
    return next((name for name, flag in (("avx512", "avx512f"), ("avx2", "avx2"), ("avx", "avx")) if flag in flags),
                "unknown")


def _ram() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
