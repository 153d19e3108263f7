"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 60 000 + 10 000 grey images of 28 × 28, ten classes.

Both have the same format, four IDX files in a folder, so one reader serves both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minicnn.data import idx
from minicnn.data.dataset import Dataset
from minicnn.data.dataset_files import dataset_folder, find, lies_there
from minicnn.data.splits import Splits

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load_mnist() -> Splits:
    """Handwritten digits, (N,1,28,28), from the official files in `$MINICNN_HOME/datasets/mnist`.

    FileNotFoundError names the missing files and their folder; ValueError a damaged file.
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    return read_folder("mnist", dataset_folder("mnist"), "the home page of MNIST, yann.lecun.com/exdb/mnist",
                       DIGITS, (0.130660,), (0.308108,))


def load_fashion_mnist() -> Splits:
    """Photographs of clothes, (N,1,28,28), from the official files in `$MINICNN_HOME/datasets/fashion-mnist`.

    Errors as `load_mnist`. Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset", arXiv:1708.07747.
    """
    return read_folder("fashion-mnist", dataset_folder("fashion-mnist"),
                       "the home page of Fashion-MNIST, github.com/zalandoresearch/fashion-mnist",
                       CLOTHES, (0.286041,), (0.353024,))


def read_folder(name: str, where: Path, source: str, classes: tuple[str, ...],
                mean: tuple[float, ...], std: tuple[float, ...]) -> Splits:
    """Read MNIST's four files, each plain or gzipped. `source`: where to get them, for the error message."""
    found = {stem: find(where, stem) for stem in STEMS}
    missing = [f"{stem}.gz" for stem, path in found.items() if path is None]
    if missing:
        get = f"`minicnn data get {name}` downloads them, or " if name != "digits" else ""
        raise FileNotFoundError(f"the dataset {name!r} needs {', '.join(missing)} in the folder {where}: {get}get the "
                                f"files from {source}, or use the dataset 'digits', which needs no download"
                                f"{lies_there(where)}")
    paths = [path for path in found.values() if path is not None]
    return Splits.of_arrays(name, read_pair(*paths[:2]), read_pair(*paths[2:]), classes, mean, std)


def read_pair(images_path: Path, labels_path: Path) -> Dataset:
    """A file of images and a file of labels. ValueError where one is not MNIST's or they do not fit together."""
    images, labels = idx.read(images_path, rank=3), idx.read(labels_path, rank=1)  # (N, H, W), (N,)
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{images_path}: expected images of 28 × 28 pixels, found {images.shape[1]} × "
                         f"{images.shape[2]}: it is a file of another dataset, replace it")
    if len(images) != len(labels):
        raise ValueError(f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels: "
                         f"they do not fit together, replace one or both")
    if labels.max() > 9:
        raise ValueError(f"{labels_path}: expected labels from 0 to 9, found {labels.max()} (image {labels.argmax()}): "
                         f"it is damaged or of another dataset, replace it")
    return Dataset(images[:, None], labels.astype(np.int64))  # (N, 1, 28, 28), (N,)
