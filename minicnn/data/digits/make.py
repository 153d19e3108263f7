"""Select the images of `digits` from the official MNIST files and write them beside this file.

    python -m minicnn.data.digits.make

reads `$MINICNN_HOME/datasets/mnist`, checks that its files are the official ones, takes evenly spaced images of each
class from each file (the first half of the test file is easier than the second, so both must be included), keeps their
order, and prints the MD5s for README.md. The same command always writes the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import numpy as np

from minicnn.data import idx
from minicnn.data.dataset import Array, Dataset
from minicnn.data.digits import FOLDER
from minicnn.data.mnist import STEMS, load_mnist

OFFICIAL_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
PER_CLASS = {"train": 500, "t10k": 100}


def main(folder: Path = FOLDER) -> None:
    """Write the four files into `folder`. ValueError where the MNIST files are not the official ones."""
    mnist = load_mnist()
    official = _encoded(mnist.train, mnist.test)
    for stem, md5 in OFFICIAL_MD5.items():
        if _md5(official[stem]) != md5:
            raise ValueError(f"{stem}: expected MNIST's official file (MD5 {md5}), found another "
                             f"({_md5(official[stem])}): get it again from the dataset's home page")
    train, test = _select(mnist.train, PER_CLASS["train"]), _select(mnist.test, PER_CLASS["t10k"])
    for stem, values in _encoded(train, test).items():
        path = folder / f"{stem}.gz"
        path.write_bytes(_gzip(values))
        print(f"| `{path.name}` | {path.stat().st_size} | {len(values)} | `{_md5(values)}` |")


def evenly_spaced(labels: Array, per_class: int) -> Array:
    """The indices of the images to take, ascending: of the n images of a class those numbered ⌊i·n/per_class⌋."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)                                   # (n,)
        chosen.append(members[np.arange(per_class) * len(members) // per_class])    # (per_class,)
    return np.sort(np.concatenate(chosen))


def _select(dataset: Dataset, per_class: int) -> Dataset:
    chosen = evenly_spaced(dataset.labels, per_class)
    return Dataset(dataset.images[chosen], dataset.labels[chosen])


def _encoded(train: Dataset, test: Dataset) -> dict[str, bytes]:
    arrays = (train.images[:, 0], train.labels, test.images[:, 0], test.labels)
    return {stem: idx.encode(array.astype(np.uint8)) for stem, array in zip(STEMS, arrays)}


def _gzip(values: bytes) -> bytes:
    buffer = io.BytesIO()
    # no name and no time in the header, so that the bytes are always equal
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(values)
    return buffer.getvalue()


def _md5(values: bytes) -> str:
    return hashlib.md5(values, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
