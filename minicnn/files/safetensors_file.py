"""Reading safetensors files: the length of a JSON header, the header, and the values.

    uint64 length   {"conv.weight": {"dtype": "F32", "shape": [6, 1, 5, 5], "data_offsets": [0, 600]}, …}   values

The arrays are stored without overlaps or gaps. Source: github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from minicnn.files import arrays
from minicnn.files.arrays import DAMAGED
from minicnn.names import short

MAX_HEADER, MAX_ITEMS = 2**21, 250_000
"""The longest header in bytes, and the most values in its JSON: about 17,000 arrays, in at most 50 MB of Python."""

_CODES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": arrays.BFLOAT16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}


def read(file: IO[bytes], budget: arrays.MemoryBudget,
         wanted: Callable[[str, tuple[int, ...]], bool] = lambda name, shape: True,
         ) -> tuple[dict[str, np.ndarray], dict[str, str]]:  # fmt: skip
    """({name: array}, the metadata) of a safetensors file, of the arrays that are wanted(name, shape)."""
    size = budget.file_size
    length, header, metadata = _header(file, size)
    places = sorted((_place(name, entry), name) for name, entry in header.items())
    end = 0
    for (start, stop), name in places:
        if start != end:
            raise ValueError(f"its array {short(name)} must begin at byte {end} of the values, not {start}: {DAMAGED}")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its arrays have {end} bytes, but {size - 8 - length} follow the header: {DAMAGED}")
    found = {}
    for (start, _), name in places:
        code, shape = _CODES[header[name]["dtype"]], tuple(header[name]["shape"])
        if wanted(name, shape):
            file.seek(8 + length + start)
            found[name] = arrays.read(file, code, math.prod(shape), budget).reshape(shape)
    return {name: found[name] for name in header if name in found}, metadata


def read_metadata(file: IO[bytes], size: int) -> dict[str, str]:
    """The metadata of a safetensors file of `size` bytes; no array is read."""
    return _header(file, size)[2]


def shapes(path: str | os.PathLike[str]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """({name: shape}, the metadata) of a safetensors file; no array is read. ValueError where it is none."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, shape: tuple[int, ...]) -> bool:
        found[name] = shape
        return False

    with open(path, "rb") as file:
        metadata = read(file, arrays.MemoryBudget(os.fstat(file.fileno()).st_size), note)[1]
    return found, metadata


def _header(file: IO[bytes], size: int) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(the header's length, its entries, its metadata)"""
    length = int.from_bytes(arrays.read_bytes(file, 8), "little")
    if length > size - 8:
        raise ValueError(f"its header would have {length} bytes, but the file has {size}: {DAMAGED}")
    text = arrays.read_bytes(file, min(length, MAX_HEADER + 1))
    if len(text) > MAX_HEADER or sum(text.count(c) for c in (b",", b":", b"[", b"{")) > MAX_ITEMS:
        raise ValueError(f"its header has over {MAX_HEADER} bytes or {MAX_ITEMS} values: get it again, or split it")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique_keys, parse_int=_integer)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as problem:
        reason = " ".join(str(problem).split())[:100]
        raise ValueError(f"its header is not JSON ({reason}): {DAMAGED}") from None
    if not isinstance(header, dict):
        raise ValueError(f"its header is not a JSON object: {DAMAGED}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"its header's __metadata__ must map texts to texts: {DAMAGED}")
    return length, header, metadata


def _integer(digits: str) -> int:
    if len(digits) > 20:  # longer ones take Python long to parse, and no file is that large
        raise ValueError(f"its header has a number of {len(digits)} digits: {DAMAGED}")
    return int(digits)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, _ in pairs if found.pop(key, pairs) is pairs)
        raise ValueError(f"its header has the key {short(twice)} twice: {DAMAGED}")
    return found


def _place(name: str, entry: Any) -> tuple[int, int]:
    """(first byte, byte after the last) of an array. ValueError where its entry is incomplete or inconsistent."""
    arrays.check_name(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header must give dtype, shape and data_offsets of {short(name)}: {DAMAGED}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _CODES:
        raise ValueError(f"its array {short(name)} holds {short(kind)}, which NumPy lacks: convert it to float32")
    arrays.check_shape(shape)
    pair = isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int and 0 <= n < 2**63 for n in offsets)
    if not pair or offsets[1] - offsets[0] != math.prod(shape) * arrays.itemsize(_CODES[kind]):
        raise ValueError(f"its array {short(name)} of {kind} and shape {short(tuple(shape))} can't be at "
                         f"{short(offsets)}: {DAMAGED}")
    return offsets[0], offsets[1]
