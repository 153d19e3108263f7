"""The machine and the versions that a result was computed with."""

from __future__ import annotations

import os
import platform

import numpy as np

import minicnn
from minicnn import devices
from minicnn.cpu import path
from minicnn.cpu.threads import num_threads

BITS = ("minicnn", "numpy", "blas", "machine", "threads", "device", "cpu_path", "numba")
"""The facts that determine the last bits of a result: if one differs, sums are added in another order."""


def environment(device: str = "cpu") -> dict:
    """Machine, versions and threads, as stored in env.json."""
    import importlib.metadata  # these not at the top: Python in a browser has no sockets for the first, no second

    import threadpoolctl

    # without the number of its threads, which changes with the first product
    libraries = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    blas = [f"{lib['internal_api']} {lib['version']}" for lib in libraries]
    return {
        "minicnn": minicnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu_path": path.chosen(),
        "numba": importlib.metadata.version("numba") if path.chosen() == "compiled" else None,
        "blas": blas,
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "threads": num_threads(),
        "device": devices.get(device).name,
    }


def differences(then: dict, now: dict) -> str:
    """The changes that affect the last bits of a result: "threads: 2, now 4", or ""."""
    names = [name for name in BITS if name != "blas" and then.get(name) != now.get(name)]
    return ", ".join(f"{name}: {then.get(name)}, now {now.get(name)}" for name in names)
