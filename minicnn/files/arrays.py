"""Arrays in files: the supported types, a limit on the memory of a file's arrays, and reading in pieces.

A type is written in NumPy's notation, "<f4" or "|u1"; "bf2" is bfloat16, the upper half of a float32, which NumPy
lacks. Both 16-bit float types become float32, which holds all their values exactly; all other types are kept.
"""

from __future__ import annotations

import contextlib
import math
from typing import IO, Any

import numpy as np

from minicnn.names import short

BFLOAT16 = "bf2"
FACTOR, EXTRA = 4, 2**25
"""The arrays of a file may take FACTOR times its size plus EXTRA (32 MiB, because zeros and the like compress well)."""

CHECKED = 2**28
"""From these many bytes of arrays on, the memory of the machine is looked up before more is taken."""

DAMAGED = "it is damaged, get it again"
_CHUNK = 2**17  # values: at most 1 MiB at once
_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class MemoryBudget:
    """How many bytes the arrays of one file may take, relative to the size of the file."""

    def __init__(self, file_size: int):
        self.file_size = file_size
        self.left = FACTOR * file_size + EXTRA
        self.taken = 0

    def take(self, count: int, code: str) -> None:
        """Reserve memory for `count` values of this type; ValueError where the budget or the memory is spent."""
        size = count * dtype_of(code).itemsize
        self.left -= size
        self.taken += size
        if self.taken > CHECKED and size > (free := free_memory()):
            raise ValueError(f"its arrays take {self.taken / 2**30:.1f} GiB or more, and this machine has "
                             f"{free / 2**30:.1f} GiB of memory left: free some, or load it on a larger machine")
        if self.left < 0:
            raise ValueError(
                f"its arrays would take more than {FACTOR} times the file's {self.file_size} bytes and {EXTRA >> 20} "
                "MiB: write it without compression, or get it again: it is damaged or made to fill the memory"
            )


def free_memory() -> float:
    """Bytes of memory that this process can still take, as Linux tells; infinity where that is unknown."""
    free = math.inf
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/meminfo", encoding="ascii") as file:
            free = 1024.0 * int(next(line for line in file if line.startswith("MemAvailable:")).split()[1])
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as most:      # of a container; "max": no limit
            limit = int(most.read())
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            free = min(free, limit - int(used.read()))
    return free


def itemsize(code: str) -> int:
    """Bytes of one value in the file."""
    return int(code.lstrip("<>|=bfiuV"))


def dtype_of(code: str) -> np.dtype:
    """The type of the array in memory. ValueError for anything but real numbers and bool."""
    if code == BFLOAT16:
        return np.dtype(np.float32)
    if code[-2:] not in _TYPES or code[:-2] not in ("<", ">", "|", "="):
        raise ValueError(f"it holds values of type {code!r}, which are not real numbers: convert them to float32")
    return np.dtype(np.float32) if code[-2:] == "f2" else np.dtype(code[-2:])


def check_shape(shape: Any) -> None:
    """ValueError for a shape that no array can have."""
    axes = isinstance(shape, (list, tuple)) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)
    if not axes or math.prod(n for n in shape if n) >= 2**48:
        shape = tuple(shape) if isinstance(shape, list) else shape
        raise ValueError(f"it holds an array of shape {short(shape)}, which no array can have: {DAMAGED}")


def check_name(name: Any) -> None:
    """ValueError for a name that no parameter can have. Paths like ../x are refused, although nothing is unpacked."""
    try:
        fits = isinstance(name, str) and name.encode() and not set(name) & set("\\\0\n")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can contain
        fits = False
    if not fits or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"it names an array {short(name)}, which can't be the name of a parameter: rename it")


def read(stream: IO[bytes], code: str, count: int, budget: MemoryBudget) -> np.ndarray:
    """The next `count` values of that type, on one axis. Memory is allocated only within the budget."""
    budget.take(count, code)
    values = np.empty(count, dtype_of(code))
    stored = np.dtype("<u2" if code == BFLOAT16 else "u1" if code.endswith("b1") else code)
    for start in range(0, count, _CHUNK):
        part = values[start : start + _CHUNK]
        read_part = np.frombuffer(read_bytes(stream, part.size * stored.itemsize), stored)
        if code == BFLOAT16:
            part.view(np.uint32)[:] = read_part.astype(np.uint32) << 16
        else:
            with np.errstate(all="ignore"):  # a signalling NaN raises a warning
                part[:] = read_part
    return values


def read_bytes(stream: IO[bytes], count: int) -> bytes:
    """The next `count` bytes. ValueError if the file ends before that."""
    found = bytearray()
    while len(found) < count:
        part = stream.read(min(count - len(found), 2**20))
        if not part:
            raise ValueError(f"it ends too early, {count - len(found)} bytes before the end of an array: {DAMAGED}")
        found += part
    return bytes(found)
