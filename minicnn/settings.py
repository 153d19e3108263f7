"""Settings: which convolution algorithm to use, whether float32 products may be rounded, whether ops are fused.

    with minicnn.conv_algorithm("im2col"): ...     or     MINICNN_CONV=im2col
    with minicnn.allow_tf32(): ...                 or     MINICNN_TF32=1
    with minicnn.fusion(False): ...                or     MINICNN_FUSION=0
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from minicnn.names import unknown

ALGORITHMS = (
    "auto", "im2col", "tiled", "direct", "pointwise", "winograd", "depthwise",
    "implicit_gemm", "tensor_core",
)  # fmt: skip
""""auto" and the convolution algorithms of all devices; each device has some of them."""

_algorithm: contextvars.ContextVar[str | None] = contextvars.ContextVar("conv_algorithm", default=None)
fusing: contextvars.ContextVar[bool | None] = contextvars.ContextVar("fusion", default=None)
_tf32: contextvars.ContextVar[bool | None] = contextvars.ContextVar("allow_tf32", default=None)


@contextlib.contextmanager
def within(variable: contextvars.ContextVar[Any], value: Any) -> Iterator[None]:
    """Within the block the context variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def conv_algorithm(name: str) -> AbstractContextManager[None]:
    """`with conv_algorithm("im2col"):` uses this algorithm for every convolution in the block that it supports.

    name: one of ALGORITHMS; "auto" for the policy's choice. The environment variable MINICNN_CONV sets the same for a
    whole program. A convolution that the algorithm does not support (`winograd` at stride 2), or whose device does not
    have the algorithm, is computed by the policy's choice.
    """
    if name not in ALGORITHMS:
        raise ValueError(unknown("convolution algorithm", name, ALGORITHMS))
    return within(_algorithm, name)


def requested_algorithm() -> str:
    """The requested algorithm, or "auto"."""
    asked = _algorithm.get() or os.environ.get("MINICNN_CONV") or "auto"
    if asked not in ALGORITHMS:
        raise ValueError(f"MINICNN_CONV: {unknown('convolution algorithm', asked, ALGORITHMS)}")
    return asked


def allow_tf32(allowed: bool = True) -> AbstractContextManager[None]:
    """`with allow_tf32():` a GPU may round the factors of float32 products to TF32, 10 bits of mantissa instead of 23.

    Several times faster on tensor cores, with errors in the fourth digit, so off by default. (PyTorch's convolutions
    do it by default.) The environment variable MINICNN_TF32=1 sets the same for a whole program. The CPU has no such
    units and ignores it.
    """
    return within(_tf32, bool(allowed))


def tf32_allowed() -> bool:
    """Whether float32 products may be rounded to TF32."""
    return _switch(_tf32, "MINICNN_TF32", "0", "float32 products may be rounded")


def fusion(allowed: bool = True) -> AbstractContextManager[None]:
    """`with fusion(False):` every op in the block is computed by itself, also in a module (minicnn/deferred.py).

    By default a module computes a convolution, batch norm or sum and the ReLU after it in one pass over memory. The
    environment variable MINICNN_FUSION=0 sets the same for a whole program.
    """
    return within(fusing, bool(allowed))


def fusion_allowed() -> bool:
    """Whether a module may compute several ops in one pass over memory."""
    return _switch(fusing, "MINICNN_FUSION", "1", "several ops may be computed in one pass")


def _switch(variable, name, default, meaning):
    """The value of a context variable; where it is None, that of an environment variable, 0 or 1."""
    allowed = variable.get()
    if allowed is not None:
        return allowed
    asked = os.environ.get(name) or default
    if asked not in ("0", "1"):
        raise ValueError(f"{name} (={asked!r}) must be 1 ({meaning}) or 0")
    return asked == "1"
