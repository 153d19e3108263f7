r"""NumPy's .npz: a zip file with one .npy file for each array. Objects (pickles) are refused, headers never evaluated.

    \x93NUMPY 1 0   uint16 length   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   values

Source: numpy.lib.format, NEP 1.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable
from typing import IO

import numpy as np

from minicnn.files import arrays
from minicnn.files.arrays import DAMAGED
from minicnn.io.zip_file import Archive
from minicnn.names import short

_HEADER = re.compile(
    r"\{'descr': ?'([^']{1,20})', ?'fortran_order': ?(True|False), ?'shape': ?\(([\dL, ]{0,600})\),? ?\}\s*"
)


def read(archive: Archive, budget: arrays.MemoryBudget,
         wanted: Callable[[str, tuple[int, ...]], bool]) -> dict[str, np.ndarray]:  # fmt: skip
    """{name: array} of an .npz file, of those that are wanted(name, shape)."""
    state = {}
    for entry, size in archive.sizes.items():
        name = entry.removesuffix(".npy")
        if name == entry:
            raise ValueError(f"it is a zip file that holds {short(entry)}, neither an .npz nor a PyTorch checkpoint: "
                             "convert it to .safetensors")
        arrays.check_name(name)
        with archive.open(entry) as stream:
            array = _array(stream, entry, size, budget, lambda shape, name=name: wanted(name, shape))  # type: ignore[misc]
            if array is not None:
                state[name] = array
    return state


def content(state: dict[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file, uncompressed, as np.savez writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in state.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return file.getvalue()


def _array(stream: IO[bytes], entry: str, size: int, budget: arrays.MemoryBudget,
           wanted: Callable[[tuple[int, ...]], bool]) -> np.ndarray | None:  # fmt: skip
    magic = arrays.read_bytes(stream, 8)
    wide = 2 if magic[6:] == b"\1\0" else 4  # versions 2 and 3 have a longer length
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"its entry {short(entry)} is not a .npy file: {DAMAGED}")
    length = int.from_bytes(arrays.read_bytes(stream, wide), "little")
    header = arrays.read_bytes(stream, min(length, size, 2**16)).decode("latin-1")
    found = _HEADER.fullmatch(header)
    if not found:
        raise ValueError(f"its entry {short(entry)} has the header {short(header)}, not that of one array of numbers: "
                         "convert it to float32 and write it with np.savez")
    code, fortran, axes = found.groups()
    if "O" in code:
        raise ValueError(f"its entry {short(entry)} holds Python objects, which could run code: save numbers")
    numbers = [n.strip(" L") for n in axes.split(",") if n.strip()]
    shape = tuple(int(n) if n.isdecimal() else -1 for n in numbers)
    arrays.check_shape(shape)
    arrays.dtype_of(code)
    count = math.prod(shape)
    if size != 8 + wide + length + count * arrays.itemsize(code):
        raise ValueError(f"its entry {short(entry)} has {size} bytes, and its header promises shape {short(shape)} of "
                         f"{code}: {DAMAGED}")
    if not wanted(shape):
        return None
    values = arrays.read(stream, code, count, budget)
    return values.reshape(shape[::-1]).T if fortran == "True" else values.reshape(shape)
