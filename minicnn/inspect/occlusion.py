"""Occlusion: how the probability of a class changes when a part of the image is covered.

A square covers a part of the image, the net runs, and the square moves on. Where the probability falls, the covered
part was evidence for the class.

Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", §4.2 and fig. 7
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from minicnn import arguments
from minicnn.inspect.units import to_tensor, unit_index
from minicnn.nn import Module
from minicnn.ops.softmax import softmax
from minicnn.tensor import no_grad


def occlusion(model: Module, x: np.ndarray, k: int, size: int, stride: int, fill: float = 0.0, batch: int = 16,
              progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> np.ndarray:  # fmt: skip
    """p (h,w): the probability of class k with a square over rows i·stride … + size and columns j·stride … + size.

    x (1,C,H,W), one image, normalised   fill: the value of the square; 0 is the mean of the training images, the grey
    of the paper.   h = ⌈(H − size)/stride⌉ + 1, likewise w: the last square ends at the edge.   progress: wraps the
    iteration over the batches, to show a progress bar.
    """
    if x.ndim != 4 or len(x) != 1:
        raise ValueError(f"occlusion: x must be one image (1, C, H, W), not {x.shape}")
    arguments.integer("occlusion: size", size, 1, min(x.shape[2:]))
    arguments.integer("occlusion: stride", stride, 1)
    arguments.integer("occlusion: batch", batch, 1)
    rows, columns = square_starts(x.shape[2], size, stride), square_starts(x.shape[3], size, stride)
    places = [(i, j) for i in rows for j in columns]
    found = []
    with model.evaluating(), no_grad():
        for start in progress(range(0, len(places), batch)):
            part = places[start : start + batch]
            covered = np.repeat(x, len(part), 0)
            for image, (i, j) in zip(covered, part):
                image[:, i : i + size, j : j + size] = fill
            p = softmax(model(to_tensor(model, covered))).numpy()
            found.append(p[unit_index(p, (k,))])
    return np.concatenate(found).reshape(len(rows), len(columns))


def square_starts(extent: int, size: int, stride: int) -> list[int]:
    """The first pixels of the squares along one axis: every `stride` pixels, and the last square at the edge."""
    return [*range(0, extent - size, stride), extent - size]


def mean_per_pixel(p: np.ndarray, shape: tuple[int, int], size: int, stride: int) -> np.ndarray:
    """(H,W): for each pixel the mean of p over the squares that cover it, NaN where none does."""
    total, count = np.zeros(shape), np.zeros(shape)
    for row, i in zip(p, square_starts(shape[0], size, stride)):
        for value, j in zip(row, square_starts(shape[1], size, stride)):
            total[i : i + size, j : j + size] += value
            count[i : i + size, j : j + size] += 1
    return np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
