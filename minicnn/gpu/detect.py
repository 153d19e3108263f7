"""Whether there is a GPU that CuPy can use, and if not, why. The only file that imports CuPy."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

INSTALL = "pip install 'minicnn-numpy[gpu]' (CUDA 13) or 'minicnn-numpy[gpu12]' (CUDA 12)"


def load() -> tuple[ModuleType | None, str]:
    """(CuPy, "") if a GPU is usable, else (None, one sentence that says what is missing and what to do).

    CuPy can be imported on a machine without a driver, and most of it works: only a query for devices fails. A missing
    CUDA library is a RuntimeError there, not an ImportError.
    """
    try:
        import cupy
    except ImportError as error:                                   # not installed, or its libraries cannot be loaded
        if error.name == "cupy":
            return None, f"CuPy is not installed; with an NVIDIA GPU, {INSTALL}"
        return None, f"CuPy cannot be imported ({_first_line(error)}); reinstall it: {INSTALL}"
    problem = _problem(cupy)
    return (None, problem) if problem else (cupy, "")


def _problem(cupy) -> str:
    """Why an imported CuPy cannot compute; "" if it can."""
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == 35 and runtime.driverGetVersion() == 0:
            return f"CuPy {cupy.__version__} is installed, but this machine has no NVIDIA driver: install one"
        if error.status == 35:                                     # cudaErrorInsufficientDriver
            return (f"the NVIDIA driver is made for CUDA {_version(runtime.driverGetVersion())}, but CuPy for CUDA "
                    f"{_version(runtime.runtimeGetVersion())}: update the driver, or install the CuPy for its CUDA")
        if error.status == 100:                                    # cudaErrorNoDevice
            return "the NVIDIA driver finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
        return f"CUDA cannot be started: {_first_line(error)}"
    if count == 0:
        return "the NVIDIA driver finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    try:
        cupy.cuda.nvrtc.getVersion()
        cupy.cuda.get_cublas_handle()
    except (ImportError, RuntimeError) as error:                   # DynamicLibNotFoundError is a RuntimeError
        return f"a CUDA library is missing ({_first_line(error)}): pip install 'cupy-cuda13x[ctk]'"
    return ""


def nccl(xp) -> Any:
    """CuPy's binding of NCCL; its `available` is false where NCCL's library is missing, which is no part of CuPy."""
    if not hasattr(xp.cuda, "nccl"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                        # CuPy warns of the missing library
            import cupy.cuda.nccl  # noqa: F401
    return xp.cuda.nccl


def facts(cupy) -> dict:
    """The name, memory and versions of the first GPU."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    name = properties["name"]
    return {
        "name": name.decode() if isinstance(name, bytes) else name,
        "memory": properties["totalGlobalMem"],
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "cupy": cupy.__version__,
        "cuda": _version(runtime.runtimeGetVersion()),
        "driver": _version(runtime.driverGetVersion()),
    }


def _version(number: int) -> str:
    """13020 in NVIDIA's notation, "13.2"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
