"""What a user asks of the devices: a convolution algorithm by name, and whether float32 products may be rounded.

    with minicnn.conv_algorithm("im2col"): ...     or     MINICNN_CONV=im2col
    with minicnn.allow_tf32(): ...                 or     MINICNN_TF32=1
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator

from minicnn.names import unknown

ALGORITHMS = (
    "auto", "im2col", "tiled", "pointwise", "winograd", "depthwise", "banded", "few", "implicit_gemm", "tensor_core",
)  # fmt: skip
"""The convolution algorithms of all devices, each of which has some of them, and "auto"."""

_algorithm: contextvars.ContextVar[str | None] = contextvars.ContextVar("conv_algorithm", default=None)
_tf32: contextvars.ContextVar[bool | None] = contextvars.ContextVar("allow_tf32", default=None)


@contextlib.contextmanager
def conv_algorithm(name: str) -> Iterator[None]:
    """`with conv_algorithm("im2col"):` every convolution inside it that the algorithm is able to do is done by it.

    name: one of ALGORITHMS, "auto" for the policy. The environment variable MINICNN_CONV says the same for a whole
    program. A convolution that the algorithm can't do (`winograd` at stride 2), or that this device has no such
    algorithm for, is done by the policy's choice.
    """
    token = _algorithm.set(_known(name, "conv_algorithm"))
    try:
        yield
    finally:
        _algorithm.reset(token)


def asked_algorithm() -> str:
    """The algorithm that was asked for, or "auto"."""
    return _algorithm.get() or _known(os.environ.get("MINICNN_CONV") or "auto", "MINICNN_CONV")


@contextlib.contextmanager
def allow_tf32(allowed: bool = True) -> Iterator[None]:
    """`with allow_tf32():` a GPU may round the factors of float32 products to TF32, 10 bits of mantissa instead of 23.

    Several times faster on tensor cores, and wrong in the fourth digit, so off unless asked for. (PyTorch's
    convolutions do it by default.) The environment variable MINICNN_TF32=1 says the same for a whole program. The CPU
    has no such units and takes no notice.
    """
    token = _tf32.set(bool(allowed))
    try:
        yield
    finally:
        _tf32.reset(token)


def tf32_allowed() -> bool:
    """Whether float32 products may be rounded to TF32."""
    asked = _tf32.get()
    if asked is not None:
        return asked
    said = os.environ.get("MINICNN_TF32") or "0"
    if said not in ("0", "1"):
        raise ValueError(f"MINICNN_TF32 (={said!r}) must be 1 (float32 products may be rounded) or 0")
    return said == "1"


def _known(name, where):
    if name not in ALGORITHMS:
        raise ValueError(unknown(f"{where} algorithm", name, ALGORITHMS))
    return name
