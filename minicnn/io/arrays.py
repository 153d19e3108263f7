"""Arrays as they lie in files: which types there are, how much a file may promise, and reading piece by piece.

A type is written as NumPy writes it, "<f4" or "|u1"; "bf2" is bfloat16, the upper half of a float32, which NumPy lacks.
Both kinds of 16-bit floats become float32, which holds all their values exactly; every other type stays what it is.
"""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

BFLOAT16 = "bf2"
FACTOR, FLOOR = 4, 2**25
"""A file's arrays may take FACTOR times the file and FLOOR bytes more: 32 MiB for what compresses well, like zeros."""

DAMAGED = "it is damaged, get it again"
_CHUNK = 2**17  # values: at most 1 MiB at once
_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Allowance:
    """How many bytes the arrays of one file may take, by what the file itself measures."""

    def __init__(self, size: int):
        self.size = size
        self.left = FACTOR * size + FLOOR

    def take(self, count: int, code: str) -> None:
        """ValueError unless there is room for `count` values of this type, once read."""
        self.left -= count * becomes(code).itemsize
        if self.left < 0:
            raise ValueError(
                f"its arrays would take more than {FACTOR} times the file's {self.size} bytes and {FLOOR >> 20} MiB: "
                "write it without compression, or get it again, for it is damaged or made to fill the memory"
            )


def width(code: str) -> int:
    """Bytes of one value in the file."""
    return int(code[-1])


def becomes(code: str) -> np.dtype:
    """The type of the array in memory. ValueError for what is neither real numbers nor bool."""
    if code == BFLOAT16:
        return np.dtype(np.float32)
    if code[-2:] not in _TYPES or code[:-2] not in ("<", ">", "|", "="):
        raise ValueError(f"it holds values of type {code!r}, which are not real numbers: convert them to float32")
    return np.dtype(np.float32) if code[-2:] == "f2" else np.dtype(code[-2:])


def check_shape(shape: Any) -> None:
    """ValueError unless these are the lengths of axes that an array can have."""
    axes = isinstance(shape, (list, tuple)) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)
    if not axes or math.prod(n for n in shape if n) >= 2**48:
        raise ValueError(f"it holds an array of shape {short(shape)}, which no array can have: {DAMAGED}")


def check_name(name: Any) -> None:
    """ValueError unless this can name a parameter; what leads out of a folder cannot, although nothing is unpacked."""
    try:
        fits = isinstance(name, str) and name.encode() and not set(name) & set("\\\0\n")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        fits = False
    if not fits or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"it names an array {short(name)}, which names no parameter: rename it")


def read(stream: IO[bytes], code: str, count: int, allowance: Allowance) -> np.ndarray:
    """The next `count` values of that type, on one axis. Nothing is laid out before the allowance is asked."""
    allowance.take(count, code)
    values = np.empty(count, becomes(code))
    raw = np.dtype("<u2" if code == BFLOAT16 else "u1" if code.endswith("b1") else code)
    for start in range(0, count, _CHUNK):
        part = values[start : start + _CHUNK]
        read_part = np.frombuffer(take(stream, part.size * raw.itemsize), raw)
        if code == BFLOAT16:
            part.view(np.uint32)[:] = read_part.astype(np.uint32) << 16
        else:
            with np.errstate(all="ignore"):  # a signalling NaN is no news
                part[:] = read_part
    return values


def take(stream: IO[bytes], count: int) -> bytes:
    """The next `count` bytes. ValueError if the file ends before."""
    taken = bytearray()
    while len(taken) < count:
        part = stream.read(min(count - len(taken), 2**20))
        if not part:
            break
        taken += part
    if len(taken) != count:
        raise ValueError(f"it ends too early, {count - len(taken)} bytes before the end of an array: {DAMAGED}")
    return bytes(taken)


def short(value: Any) -> str:
    """What a sentence can hold of a value that a file made up."""
    if isinstance(value, (list, tuple)):
        text = ", ".join(short(v) if isinstance(v, (int, str)) else f"a {type(v).__name__}" for v in value[:8])
        text = f"({text}{', …' if len(value) > 8 else ''})"
    elif isinstance(value, int) and value.bit_length() > 200:
        text = "an integer of over 200 bits"
    elif isinstance(value, (int, float, str, type(None))):
        text = repr(value[:80] if isinstance(value, str) else value)
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
