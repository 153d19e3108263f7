"""Finding duplicates: equal files, and nearly equal pictures (another size, compression or brightness).

The perceptual hash is the sign of a picture's 64 lowest frequencies (Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions", §3.2): 63 bits that rarely change where a picture is resized or compressed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray

SIDE = 32
"""Rows and columns of the grey picture that is hashed."""
MAX_BITS = 10
"""The most bits of 63 in which nearly equal pictures may differ."""
MIN_CORRELATION = 0.95
"""The least correlation of the two grey pictures at 16 × 16."""
BLOCK = 64
"""How many hashes are compared with all others at once."""


def _cosines() -> Array:
    n = np.arange(SIDE)
    return np.cos(np.pi / SIDE * (n + 0.5) * n[:8, None])                     # (8, 32)


_COSINES = _cosines()


def perceptual_hash(grey: Array) -> int:
    """64 bits of a grey picture (32,32): which of its low frequencies are above their median.

    f[k,l] = Σ_{i,j} x[i,j]·cos(π/32·(i + ½)·k)·cos(π/32·(j + ½)·l)   for k, l = 0 … 7, the mean f[0,0] left out
    """
    f = (_COSINES @ grey.astype(np.float64) @ _COSINES.T).ravel()[1:]  # (63,)
    return int.from_bytes(np.packbits(f > np.median(f)).tobytes(), "big")


def thumbnail(grey: Array) -> Array:
    """A grey picture (32,32) at 16 × 16 with mean 0 and length 1: the product of two is their correlation. → (256,)"""
    small = grey.reshape(16, 2, 16, 2).mean((1, 3)).ravel()                   # (256,)
    small -= small.mean()
    length = np.linalg.norm(small)
    return np.zeros(256, np.float16) if length < 1e-6 else (small / length).astype(np.float16)


def equal_groups(digests: Sequence[Any]) -> list[list[int]]:
    """Groups of indices with equal digests; None equals nothing."""
    places: dict[Any, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        if digest is not None:
            places[digest].append(i)
    return [group for group in places.values() if len(group) > 1]


def near_groups(hashes: Sequence[int | None], thumbnails: Sequence[Array]) -> list[list[int]]:
    """Groups of indices whose pictures are nearly equal: close hashes, and small grey pictures that correlate.

    Every pair of hashes is compared: N²/2 of them, about one second for 10 000 pictures.
    """
    hashed = [i for i, value in enumerate(hashes) if value is not None]
    bits = np.array([hashes[i] for i in hashed], np.uint64)
    links = []
    for start in range(0, len(hashed), BLOCK):
        apart = np.bitwise_count(bits[start : start + BLOCK, None] ^ bits[None, start:])
        for a, b in zip(*np.nonzero(np.triu(apart <= MAX_BITS, 1))):
            i, j = hashed[start + a], hashed[start + b]
            if thumbnails[i].astype(np.float32) @ thumbnails[j].astype(np.float32) >= MIN_CORRELATION:
                links.append((i, j))
    return _connected(links)


def _connected(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of a graph with these edges (union-find)."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent.setdefault(i, i) != i:
            parent[i] = i = parent[parent[i]]
        return i

    for a, b in links:
        a, b = sorted((root(a), root(b)))
        parent[b] = a
    groups: dict[int, list[int]] = defaultdict(list)
    for i in sorted(parent):
        groups[root(i)].append(i)
    return list(groups.values())
