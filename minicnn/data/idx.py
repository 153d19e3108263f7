"""The IDX format of the MNIST files: a header with the shape, then the values.

    00 00 08 rank     two zeros, the type of the values (08: unsigned bytes), the number of axes
    rank × uint32     the length of each axis, the most significant byte first
    values            the last axis fastest, up to the end of the file

A file may be gzipped, which its first bytes show. Source: the home page of MNIST, yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import math
import os
from os import PathLike
from typing import IO, Any

import numpy as np

from minicnn.data.dataset_files import open_bytes, read_bytes, refuse

Array = Any  # numpy.ndarray

LIMIT = 2**30
"""The most bytes of values that a header may announce: 1 GiB, twenty times MNIST."""
FACTOR, EXTRA = 20, 2**26
"""The values may have FACTOR times the bytes of a gzipped file, plus 64 MiB: MNIST has five times, zeros a thousand."""

_AXES = {1: "labels, 1 axis", 3: "images, 3 axes"}


def read(path: str | PathLike[str], rank: int) -> Array:
    """The values of an IDX file of unsigned bytes with `rank` axes (1: labels, 3: images), uint8.

    Memory is allocated only for bytes that are there, and at most one byte more is decompressed than the header
    announces. ValueError, one sentence, unless the file is complete and exact; OSError where it cannot be opened.
    """
    with open_bytes(path) as stream:
        shape = _shape(path, stream, rank)
        announced = math.prod(shape)
        packed = isinstance(stream, gzip.GzipFile)
        most = min(LIMIT, FACTOR * os.stat(path).st_size + EXTRA) if packed else LIMIT
        if announced > most:
            refuse(path, f"at most {most} bytes of values", f"a header that announces {_product(shape)}")
        values = read_bytes(path, stream, announced + 1)  # one more: is it the end? gzip then verifies its checksum
        if len(values) != announced:
            found = f"only {len(values)}" if len(values) < announced else "more"
            refuse(path, f"{_product(shape)} bytes of values, as its header announces", found)
    return np.frombuffer(values, np.uint8).reshape(shape)


def encode(array: Array) -> bytes:
    """The bytes of an IDX file, not gzipped, with a uint8 array: the inverse of `read`."""
    if array.dtype != np.uint8:
        raise TypeError(f"the array of an IDX file must be uint8, not {array.dtype}: convert it with .astype(np.uint8)")
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def _shape(path: Any, stream: IO[bytes], rank: int) -> tuple[int, ...]:
    kind = _AXES.get(rank, f"{rank} axes")
    expected = f"an IDX file of unsigned bytes ({kind}), which begins with {bytes([0, 0, 8, rank]).hex(' ')}"
    magic = read_bytes(path, stream, 4)
    if not magic:
        refuse(path, expected, "an empty file")
    if magic != bytes([0, 0, 8, rank]):
        refuse(path, expected, f"a file that begins with {magic.hex(' ')}")
    header = read_bytes(path, stream, 4 * rank)
    if len(header) != 4 * rank:
        refuse(path, f"a header of {4 + 4 * rank} bytes", f"a file that ends after {4 + len(header)}")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    if 0 in shape:
        refuse(path, "at least one value", f"a header that announces {_product(shape)}")
    return shape


def _product(shape: tuple[int, ...]) -> str:
    return f"{' × '.join(map(str, shape))} = {math.prod(shape)}" if len(shape) > 1 else str(shape[0])
