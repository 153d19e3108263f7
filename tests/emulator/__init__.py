"""A module in CuPy's place that runs on a CPU: the device "emulated". Slow, and strict.

`devices.get("emulated")` loads it under the name minicnn_emulator and gives `make()` to minicnn.gpu.Gpu.
"""

import os
import types

import numpy as np

from . import cublas
from .arrays import bare, guarded, ndarray
from .kernels import RawModule, Settings, problem

__all__ = ["Emulated", "make", "problem"]

FUNCTIONS = {
    "abs", "add", "arange", "argsort", "ascontiguousarray", "broadcast_to", "clip", "concatenate", "divide", "equal",
    "exp", "expm1", "full", "greater", "greater_equal", "isfinite", "less", "less_equal", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "maximum", "minimum", "multiply", "ones", "ones_like", "pad", "power", "sign", "sqrt",
    "stack", "subtract", "sum", "tanh", "where", "zeros", "zeros_like",
}  # fmt: skip
"""The functions of the array module that minicnn may call; each is also a function of CuPy 14."""


class Emulated:
    """The parts of the module cupy that minicnn uses. `emulator` holds the settings of its kernels."""

    ndarray = ndarray
    float32, float64, int32, int64, bool_, uint8 = np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8
    inf = np.inf

    def __init__(self, settings):
        self.emulator = settings
        self.cuda = types.SimpleNamespace(
            cublas=types.SimpleNamespace(gemmStridedBatchedEx=cublas.gemmStridedBatchedEx),
            get_cublas_handle=lambda: 0,
            get_current_stream=lambda: types.SimpleNamespace(synchronize=lambda: None),
            Device=lambda: types.SimpleNamespace(attributes={"MultiProcessorCount": 4}, compute_capability="90",
                                                 pci_bus_id=f"emulated:{os.getpid()}"),
            nccl=types.SimpleNamespace(available=False),           # nccl.install brings it
        )

    def RawModule(self, **arguments):
        """A module of CUDA kernels."""
        return RawModule(self.emulator, **arguments)

    def empty(self, shape, dtype=float):
        """An array that is not initialised: full of NaN."""
        return ndarray(guarded(tuple(shape) if isinstance(shape, (tuple, list)) else (shape,), dtype))

    def empty_like(self, a, dtype=None):
        """An array that is not initialised: full of NaN."""
        return self.empty(a.shape, dtype or a.dtype)

    def asarray(self, values, dtype=None):
        """From NumPy, a number, a list, or from the device itself, then without a copy if possible."""
        if isinstance(values, ndarray):
            return values if dtype is None or values.dtype == np.dtype(dtype) else values.astype(dtype)
        return ndarray.of(np.asarray(values, dtype))

    def array(self, values, dtype=None):
        """A copy."""
        return ndarray.of(np.array(bare(values) if isinstance(values, ndarray) else values, dtype))

    def __getattr__(self, name):
        if name not in FUNCTIONS:
            raise AttributeError(f"the emulated CuPy has no {name}: see FUNCTIONS in tests/emulator/__init__.py")
        return ndarray.function(getattr(np, name))


def make(order="ascending", trace=False, flags=()):
    """A new emulated CuPy, with its own settings."""
    return Emulated(Settings(order=order, trace=trace, flags=tuple(flags)))
