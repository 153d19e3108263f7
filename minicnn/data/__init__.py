"""Datasets by name, and the way from their bytes to a network's input.

    bundle = data.load("digits")
    for images, labels in data.Batches(bundle.train, 64, shuffle=True):      # uint8 (64,1,28,28), int64 (64,)
        x = data.normalise(images, bundle.mean, bundle.std)                  # float32 (64,1,28,28)

A new dataset is a function that gives a `Bundle`, and one line in the table below.
"""

from __future__ import annotations

from collections.abc import Callable

from minicnn.data import digits, mnist
from minicnn.data.dataset import Bundle, Dataset
from minicnn.data.folder import Files, ImageFolder
from minicnn.data.loader import Batch, Batches, Loader
from minicnn.data.preprocessing import Preprocessing, Transform
from minicnn.data.transforms import normalise, read_image
from minicnn.names import unknown

__all__ = ["Batch", "Batches", "Bundle", "Dataset", "Files", "ImageFolder", "Loader", "Preprocessing", "Transform",
           "load", "names", "normalise", "read_image"]

_LOADERS: dict[str, Callable[[], Bundle]] = {
    "digits": digits.load,
    "mnist": mnist.load_mnist,
    "fashion-mnist": mnist.load_fashion_mnist,
}


def load(name: str) -> Bundle:
    """The dataset of that name; ValueError for an unknown one, FileNotFoundError where its files are missing."""
    if name not in _LOADERS:
        raise ValueError(unknown("dataset", str(name), _LOADERS))
    return _LOADERS[name]()


def names() -> list[str]:
    """The names that `load` knows."""
    return list(_LOADERS)
