"""Finds the backend for a name or an array. The only file that imports every backend."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from minicnn import cpu, meta
from minicnn.cpu import compiled, path
from minicnn.device import Array, Device
from minicnn.names import unknown

_backends: dict[str, Device] = {"meta": cast(Device, meta)}
"""The loaded backends except the CPU's. "meta" computes shapes but no values; `inspect.summary` uses it."""
_cpu: dict[str, Device] = {"numpy": cpu, "compiled": cast(Device, compiled)}
"""The two implementations of the CPU backend."""

NAMES = ("cpu", "cuda:0", "auto")
"""The public names. `get` also accepts "emulated", for tests: the GPU's kernels on the CPU."""


def get(name: str) -> Device:
    """The device called `name`: "cpu", "cuda:0", or "auto" for the fastest one that this machine has."""
    if name == "auto":
        name = "cpu" if why_no_gpu() else "cuda:0"
    if name == "cpu":
        return _cpu[path.chosen()]
    if name in _backends:
        return _backends[name]
    if name.split(":")[0] == "cuda":
        reason = why_no_gpu()
        if not reason and name not in ("cuda", "cuda:0"):
            reason = "minicnn computes on one GPU, 'cuda:0': the environment variable CUDA_VISIBLE_DEVICES selects it"
        if reason:
            raise ValueError(f"device {name!r} is not usable: {reason}. Use 'cpu' or 'auto'")
        return _backends.setdefault("cuda:0", _gpu()[0])
    if name == "emulated":
        return _backends.setdefault(name, _emulated())
    raise ValueError(unknown("device", name, NAMES))


def find(value: Array) -> Device | None:
    """The device that an array is on; None for anything else: a number, a list."""
    if type(value) is np.ndarray:                                  # nearly all are, and every op asks
        return _cpu[path.chosen()]
    if isinstance(value, np.ndarray):
        return _cpu[path.chosen()]
    for device in _backends.values():
        if isinstance(value, device.xp.ndarray):
            return device
    return None


def of(array: Array) -> Device:
    """The device that an array is on, or a TypeError."""
    device = find(array)
    if device is None:
        raise TypeError(f"{type(array).__name__} is not an array of any device: wrap the values in a Tensor")
    return device


def borrows(array: Array, others: Sequence[Array]) -> bool:
    """Whether `array` shares memory with one of `others`, or is a view of a larger or smaller array."""
    own = _owner(array)
    return own.nbytes != array.nbytes or any(own is _owner(other) for other in others)


def _owner(array: Array) -> Array:
    """The array that owns this one's memory; this array itself if its base is not an array (but bytes, for example)."""
    return array if find(array.base) is None else _owner(array.base)


def available() -> list[str]:
    """The names of the devices that can compute here."""
    return ["cpu"] if why_no_gpu() else ["cpu", "cuda:0"]


def why_no_gpu() -> str:
    """One sentence: why no GPU can be used, and what to install; "" if one can."""
    return _gpu()[1]


def gpu_facts() -> dict[str, Any]:
    """The GPU's name, memory in bytes and compute capability, and the versions of CuPy and CUDA."""
    from minicnn.gpu import detect

    return detect.facts(get("cuda:0").xp)


@functools.cache
def _gpu() -> tuple[Device, str]:
    """(the backend of the GPU, "") or (cpu, why there is no GPU). The first call imports CuPy."""
    from minicnn.gpu import detect

    cupy, reason = detect.load()
    if cupy is None:
        return cpu, reason
    from minicnn.gpu import Gpu

    return cast(Device, Gpu(cupy, "cuda:0")), ""


def _emulated() -> Device:
    """The GPU backend with an emulated CuPy, which runs kernels on the CPU and checks every access (tests/emulator)."""
    folder = Path(__file__).resolve().parent.parent / "tests" / "emulator"
    if not (folder / "__init__.py").exists():
        raise ValueError("device 'emulated' is for minicnn's own tests and needs its source tree, with tests/emulator "
                         "next to the package: work in a clone. To compute, use 'cpu' or 'auto'")
    from minicnn.gpu import Gpu

    name = "minicnn_emulator"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py",
                                                      submodule_search_locations=[str(folder)])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    problem = sys.modules[name].problem()
    if problem:
        raise ValueError(f"device 'emulated' is not usable: {problem}")
    return cast(Device, Gpu(sys.modules[name].make(), "emulated"))
