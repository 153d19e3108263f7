"""Which of the two implementations of the CPU backend computes: "numpy" or "compiled".

    with minicnn.cpu_path("numpy"): ...     or     MINICNN_CPU=numpy

By default "compiled" where the package numba is installed (`pip install "minicnn-numpy[fast]"`), else "numpy". Both
have the same primitives; what the compiled one has no kernel for, NumPy computes.
"""

from __future__ import annotations

import contextvars
import functools
import importlib.util
import os
import warnings
from contextlib import AbstractContextManager

from minicnn.names import unknown
from minicnn.settings import within

PATHS = ("numpy", "compiled")

_asked: contextvars.ContextVar[str | None] = contextvars.ContextVar("cpu_path", default=None)
_broken = ""


def cpu_path(name: str) -> AbstractContextManager[None]:
    """`with cpu_path("numpy"):` computes every op in the block with this implementation of the CPU backend.

    name: "numpy" or "compiled". The environment variable MINICNN_CPU sets the same for a whole program.
    """
    _check(name, "cpu_path")
    return within(_asked, name)


def chosen() -> str:
    """The implementation that computes now."""
    return _asked.get() or _default()[0]


def why() -> str:
    """Why this implementation was chosen, as part of a sentence."""
    return "asked for by minicnn.cpu_path" if _asked.get() else _default()[1]


def unusable(problem: Exception) -> None:
    """Use NumPy from now on, because numba is installed but can't be imported."""
    global _broken
    known, _broken = _broken, f"numba can't be imported: {problem}"
    _default.cache_clear()
    if os.environ.get("MINICNN_CPU", "").strip() == "compiled":
        raise ImportError(f"MINICNN_CPU=compiled: {_broken}") from problem
    if not known:
        warnings.warn(f"minicnn computes with NumPy alone: {_broken}", RuntimeWarning, stacklevel=2)


@functools.cache
def _default() -> tuple[str, str]:
    asked = os.environ.get("MINICNN_CPU", "").strip()
    if asked:
        _check(asked, "MINICNN_CPU")
        return asked, f"the environment variable MINICNN_CPU is {asked!r}"
    if _broken:
        return "numpy", _broken
    if importlib.util.find_spec("numba") is None:
        return "numpy", 'numba is not installed: pip install "minicnn-numpy[fast]"'
    return "compiled", "numba is installed"


def _check(name: str, setting: str) -> None:
    if name not in PATHS:
        raise ValueError(f"{setting}: {unknown('implementation of the CPU backend', name, PATHS)}")
    if name == "compiled" and importlib.util.find_spec("numba") is None:
        raise ValueError(f"{setting}: 'compiled' needs the package numba: pip install \"minicnn-numpy[fast]\", or use "
                         "'numpy'")
