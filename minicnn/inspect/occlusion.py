"""Occlusion: what becomes of a class's probability when a part of the image is covered.

A square is laid on the image, the net runs, the square moves on. Where the probability falls, there was what the net
saw.   Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", §4.2 and fig. 7
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from minicnn.inspect.units import evaluating, tensor
from minicnn.nn import Module
from minicnn.ops.softmax import softmax
from minicnn.tensor import no_grad


def occlusion(model: Module, x: np.ndarray, k: int, size: int, stride: int, fill: float = 0.0, batch: int = 16,
              progress: Callable[[Iterable], Iterable] = iter) -> np.ndarray:  # fmt: skip
    """p (h,w): the probability of class k with a square over rows i·stride … + size and columns j·stride … + size.

    x (1,C,H,W), one image as the model takes it   fill: what the square is made of; 0 is the mean of all training
    images, the grey of the paper, once images are normalised.   h = ⌈(H − size)/stride⌉ + 1, and so w: the last square
    ends at the edge.   progress: wraps the batches, to show how far it is.
    """
    if not 1 <= size <= min(x.shape[2:]) or stride < 1:
        raise ValueError(f"occlusion: the square's size (={size}) must be 1 to {min(x.shape[2:])}, the image's shorter "
                         f"side, and the stride (={stride}) at least 1")
    rows, columns = corners(x.shape[2], size, stride), corners(x.shape[3], size, stride)
    places = [(i, j) for i in rows for j in columns]
    found = []
    with evaluating(model), no_grad():
        for start in progress(range(0, len(places), batch)):
            part = places[start : start + batch]
            covered = np.repeat(x, len(part), 0)
            for image, (i, j) in zip(covered, part):
                image[:, i : i + size, j : j + size] = fill
            found.append(softmax(model(tensor(model, covered))).numpy()[:, k])
    return np.concatenate(found).reshape(len(rows), len(columns))


def corners(extent: int, size: int, stride: int) -> list[int]:
    """Where the squares begin along one side: every `stride` pixels, and the last one at the edge."""
    return [*range(0, extent - size, stride), extent - size]


def spread(p: np.ndarray, shape: tuple[int, int], size: int, stride: int) -> np.ndarray:
    """(H,W): for each pixel the mean of p over the squares that cover it, NaN where none does: to be laid over it."""
    total, count = np.zeros(shape), np.zeros(shape)
    for row, i in zip(p, corners(shape[0], size, stride)):
        for value, j in zip(row, corners(shape[1], size, stride)):
            total[i : i + size, j : j + size] += value
            count[i : i + size, j : j + size] += 1
    return np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
