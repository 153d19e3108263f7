"""The IDX format of the MNIST files: a header that says the shape, then the values.

    00 00 08 rank     two zeros, the type of the values (08: unsigned bytes), the number of axes
    rank × uint32     the length of each axis, the most significant byte first
    values            the last axis fastest, and then the file ends

A file may be gzipped; its first bytes tell, not its name. Source: the home page of MNIST, yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import math
from os import PathLike
from typing import IO, Any

import numpy as np

from minicnn.data.raw import opened, refuse, take

Array = Any  # numpy.ndarray

LIMIT = 2**30
"""The most bytes of values that a header may promise: 1 GiB, twenty times MNIST."""

_AXES = {1: "labels, 1 axis", 3: "images, 3 axes"}


def read(path: str | PathLike[str], rank: int) -> Array:
    """The values of an IDX file of unsigned bytes with `rank` axes (1: labels, 3: images), uint8.

    Nothing that the file says is believed: no memory is taken for more than arrives, and no more is decompressed than
    the header promises and one byte. ValueError, one sentence, where the file is anything but complete and exact;
    OSError where it cannot be opened.
    """
    with opened(path) as stream:
        shape = _shape(path, stream, rank)
        promised = math.prod(shape)
        if promised > LIMIT:
            refuse(path, f"at most {LIMIT} bytes of values", f"a header that promises {_product(shape)}")
        values = take(path, stream, promised + 1)  # the one tells whether there are more, and has gzip check its sum
        if len(values) != promised:
            found = f"only {len(values)}" if len(values) < promised else "more"
            refuse(path, f"{_product(shape)} bytes of values, as its header promises", found)
    return np.frombuffer(values, np.uint8).reshape(shape)


def encode(array: Array) -> bytes:
    """The bytes of an IDX file, not gzipped, that holds a uint8 array: `read` backwards."""
    if array.dtype != np.uint8:
        raise TypeError(f"an IDX file is written of uint8 values, not {array.dtype}")
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def _shape(path: Any, stream: IO[bytes], rank: int) -> tuple[int, ...]:
    kind = _AXES.get(rank, f"{rank} axes")
    wanted = f"an IDX file of unsigned bytes ({kind}), which begins with {bytes([0, 0, 8, rank]).hex(' ')}"
    magic = take(path, stream, 4)
    if not magic:
        refuse(path, wanted, "an empty file")
    if magic != bytes([0, 0, 8, rank]):
        refuse(path, wanted, f"a file that begins with {magic.hex(' ')}")
    header = take(path, stream, 4 * rank)
    if len(header) != 4 * rank:
        refuse(path, f"a header of {4 + 4 * rank} bytes", f"a file that ends after {4 + len(header)}")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    if 0 in shape:
        refuse(path, "at least one value", f"a header that promises {_product(shape)}")
    return shape


def _product(shape: tuple[int, ...]) -> str:
    return f"{' × '.join(map(str, shape))} = {math.prod(shape)}" if len(shape) > 1 else str(shape[0])
