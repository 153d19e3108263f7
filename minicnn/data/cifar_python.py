"""CIFAR's Python version: a pickle for each part, {b"data": uint8 (N,3072), b"labels": [N integers], …}.

A pickle is a program, so it is not given to Python: `files.pickle_values` builds its numbers, texts and bytes, and of
the names in it only those of a NumPy array are known here. Source: cs.toronto.edu/~kriz/cifar.html; the layout of an
array's state: numpy/core/src/multiarray/methods.c, `array_setstate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data.dataset import Dataset
from minicnn.data.dataset_files import open_bytes, read_bytes, refuse
from minicnn.files.pickle_values import Global, Reader

LIMIT = 200 * 2**20
"""The most bytes of one part: 200 MiB; CIFAR-100's training images have 148."""
PIXELS = 3 * 32 * 32


class _Type:
    """A type of NumPy; `build` gets what only other types than bytes need."""

    def __init__(self, code: Any, *flags: Any) -> None:
        self.code = code if isinstance(code, bytes) else str(code).encode()

    def build(self, state: Any) -> _Type:
        return self


class _Array:
    """An array of NumPy, of which `build` gets the state: (version, shape, type, Fortran order, bytes)."""

    def __init__(self, *about: Any) -> None:
        self.values: Any = ()                              # (N, 3072) uint8

    def build(self, state: Any) -> _Array:
        fits = isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Type)
        if not fits or state[2].code not in (b"u1", b"|u1") or state[3] or not isinstance(state[4], bytes):
            raise ValueError("its images are no array of unsigned bytes")
        shape, values = state[1], state[4]
        if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != PIXELS or shape[0] * PIXELS != len(values):
            raise ValueError(f"its images have the shape {str(shape)[:60]} and {len(values)} bytes, not N × {PIXELS}")
        self.values = np.frombuffer(values, np.uint8).reshape(shape)
        return self


def _encoded(text: Any, name: Any) -> bytes:
    """Bytes as Python 3 writes them for Python 2: a text of which each letter is a byte."""
    if not isinstance(text, str) or name not in ("latin1", b"latin1"):
        raise TypeError
    return text.encode("latin-1")


KNOWN = {name: Global(name, call) for name, call in (
    ("numpy.core.multiarray._reconstruct", _Array), ("numpy._core.multiarray._reconstruct", _Array),
    ("numpy.ndarray", None), ("numpy.dtype", _Type), ("_codecs.encode", _encoded))}  # fmt: skip


def read(paths: Sequence[Path], label_key: str, classes: int) -> Dataset:
    """The photographs of some files, in that order. ValueError where one is damaged or of another data set."""
    parts = [_read(path, label_key, classes) for path in paths]
    images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
    return Dataset(images, np.concatenate([labels for _, labels in parts]))


def _read(path: Path, label_key: str, classes: int) -> tuple[Any, Any]:
    expected = "a part of CIFAR's Python version"
    with open_bytes(path) as stream:
        content = bytes(read_bytes(path, stream, LIMIT + 1))
    if len(content) > LIMIT:
        refuse(path, f"at most {LIMIT} bytes", "more")
    try:
        found = Reader(content, len(content), KNOWN, python2=True).value()
    except (ValueError, UnicodeEncodeError) as problem:
        refuse(path, expected, f"a file that can't be read ({problem})", problem)
    parts = {str(key, "latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()
             } if isinstance(found, dict) else {}  # fmt: skip
    images, labels = parts.get("data"), parts.get(label_key)
    if not isinstance(images, _Array) or not isinstance(labels, list):
        names = ", ".join(map(repr, parts))[:80] or "nothing"
        refuse(path, f"{expected}, with data and {label_key}", f"a pickle of {names}")
    if len(labels) != len(images.values) or not labels:
        found_ = f"{len(labels)} labels and {len(images.values)} photographs"
        refuse(path, "a label for each of its photographs", found_)
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        refuse(path, f"labels from 0 to {classes - 1}", "another one")
    return images.values, np.array(labels, np.int64)
