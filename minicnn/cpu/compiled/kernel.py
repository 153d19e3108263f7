"""How a kernel is compiled and where the machine code is kept.

    @kernel("void(f4[::1], f4[::1], i8[::1])")
    def relu(x, y, work): ...

The signature names the types: f4 float32, f8 float64, i8 a 64-bit integer, [:, ::1] a contiguous array of two axes.
Each kernel is compiled for the signatures when its file is imported; the machine code is kept in the user's cache,
in a folder whose name is a checksum of the sources in this package, the versions of numba and NumPy and the CPU. Where
nothing can be written, every process compiles for itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import numpy.ma  # numba imports it in the first call, and a process forked meanwhile would wait for it forever
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

BOUNDSCHECK = os.environ.get("MINICNN_BOUNDSCHECK") == "1"
"""Compile plain indexing with checks, for tests. The registers' load and store are not checked."""

OPTIONS: dict[str, Any] = {
    "nogil": True,                                                 # threads run side by side
    "error_model": "numpy",                                        # division by 0 gives infinity, not an exception
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},            # without nnan and ninf: NaN and infinity keep
    "boundscheck": BOUNDSCHECK,
    "no_cfunc_wrapper": True,                                      # nothing calls kernels from C
}


def kernel(*signatures: str):
    """Compile the function for these signatures, or load its machine code from the cache."""

    def compile_for(function):
        compiled = keep(numba.njit(**OPTIONS)(function))
        for signature in signatures:
            compiled.compile(signature)
        compiled.disable_compile()
        return compiled

    return compile_for


def keep(compiled):
    """Keep the machine code of this function of numba in the cache."""
    if folder():
        compiled._cache = _Cache(compiled.py_func)
    return compiled


def inlined(function):
    """A small function that kernels call: LLVM compiles it as part of each of them."""
    return numba.njit(**OPTIONS, no_cpython_wrapper=True)(function)


def inlined_in_order(function):
    """The same, and LLVM keeps the order of its sums."""
    return numba.njit(**{**OPTIONS, "fastmath": {"contract"}}, no_cpython_wrapper=True)(function)


@functools.cache
def folder() -> Path | None:
    """The cache's folder for this version and machine; None if nothing is there and nothing can be written."""
    try:
        home = Path(os.environ.get("MINICNN_HOME") or "~/.cache/minicnn").expanduser()
        path = home / "kernels" / stamp()
        path.mkdir(parents=True, exist_ok=True)
        return path if os.access(path, os.W_OK) or (path / "complete").exists() else None
    except (OSError, RuntimeError):                                # RuntimeError: nobody knows this user's home
        return None


@functools.cache
def stamp() -> str:
    """A checksum of all that determines the machine code."""
    facts = [numba.__version__, llvmlite.__version__, np.__version__, platform.python_version(),
             llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten(), str(BOUNDSCHECK)]
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("\n".join(facts).encode() + b"".join(sources)).hexdigest()[:16]


class _Locator(_CacheLocator):
    """Tells numba where the machine code of a function is kept."""

    def __init__(self, function, path):
        self._lineno = function.__code__.co_firstlineno

    def get_cache_path(self): return str(folder())
    def get_source_stamp(self): return stamp()
    def get_disambiguator(self): return str(self._lineno)

    @classmethod
    def from_function(cls, function, path): return cls(function, path)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - numba's own name


class _Cache(FunctionCache):
    """A kernel whose file can't be read is compiled anew; one whose file can't be written is not kept."""

    _impl_class = _CacheImpl

    def load_overload(self, signature, context):
        try:
            return super().load_overload(signature, context)
        except Exception:                                          # pickle raises many kinds
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature, data):
        with contextlib.suppress(OSError):
            super().save_overload(signature, data)
