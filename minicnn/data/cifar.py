"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50 000 + 10 000 colour photographs of 32 × 32, binary or Python version.

A file consists of records. CIFAR-10: one byte with the label, then 3072 bytes of pixels: red, green, blue, each 32 rows
of 32. CIFAR-100: the same after one byte with the number of the superclass, 0 … 19. A text file lists the class names.
Source: cs.toronto.edu/~kriz/cifar.html. The Python version, which is a pickle, is read by cifar_python.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minicnn.data import cifar_python
from minicnn.data.dataset import Dataset
from minicnn.data.dataset_files import dataset_folder, find, lies_there, open_bytes, read_bytes, refuse
from minicnn.data.splits import Splits

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(_NAMES.split())
PIXELS = 3 * 32 * 32
LIMIT = 200 * 2**20
"""The most bytes of one part of the data: 200 MiB; CIFAR-100's training images have 147."""

TRAIN10, TEST10, NAMES10 = tuple(f"data_batch_{n}.bin" for n in range(1, 6)), ("test_batch.bin",), "batches.meta.txt"
TRAIN100, TEST100, NAMES100 = ("train.bin",), ("test.bin",), "fine_label_names.txt"
PYTHON10 = "cifar-10-batches-py", tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",), "labels"
PYTHON100 = "cifar-100-python", ("train",), ("test",), "fine_labels"
"""The folder of the Python version, its training and test files, and the name of the labels in them."""


def load_cifar10() -> Splits:
    """Ten classes, (N,3,32,32), from the official files in `$MINICNN_HOME/datasets/cifar-10`, each plain or gzipped.

    FileNotFoundError names the missing files and their folder; ValueError a damaged file.
    Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    return _load("cifar-10", "cifar-10-batches-bin", TRAIN10, TEST10, NAMES10, CIFAR10, 1, PYTHON10,
                 (0.491400, 0.482159, 0.446531), (0.247032, 0.243485, 0.261588))


def load_cifar100() -> Splits:
    """A hundred classes, (N,3,32,32), from the official files in `$MINICNN_HOME/datasets/cifar-100`; as above."""
    return _load("cifar-100", "cifar-100-binary", TRAIN100, TEST100, NAMES100, CIFAR100, 2, PYTHON100,
                 (0.507075, 0.486549, 0.440918), (0.267334, 0.256438, 0.276150))


def read_records(paths: Sequence[Path], label_bytes: int, classes: int) -> Dataset:
    """The records of some files, in that order; the last byte before the pixels is the label.

    ValueError where a file is not a whole number of records, or has a label without a class.
    """
    size = label_bytes + PIXELS
    values = bytearray()
    for path in paths:
        before = len(values)
        with open_bytes(path) as stream:
            read_bytes(path, stream, LIMIT - before + 1, values)
        found = len(values) - before
        if len(values) > LIMIT:
            refuse(path, f"at most {LIMIT - before} bytes", "more")
        if found == 0 or found % size:
            refuse(path, f"records of {size} bytes", f"{found} bytes, which is not a whole number of them")
        labels = values[before + label_bytes - 1 :: size]
        if max(labels) >= classes:
            refuse(path, f"labels from 0 to {classes - 1}", f"{max(labels)} (image {labels.index(max(labels))})")
    records = np.frombuffer(values, np.uint8).reshape(-1, size)                          # (N, label_bytes + 3072)
    return Dataset(records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1].astype(np.int64))


def _load(name: str, inner: str, train: tuple[str, ...], test: tuple[str, ...], names: str, classes: tuple[str, ...],
          label_bytes: int, python: tuple[str, tuple[str, ...], tuple[str, ...], str], mean: tuple[float, ...],
          std: tuple[float, ...]) -> Splits:  # fmt: skip
    where = dataset_folder(name)
    found = {file: find(where, f"{inner}/{file}") for file in (*train, *test)}
    missing = [file for file, path in found.items() if path is None]
    if missing and (pickles := python_files(where, python)):
        first, second = (cifar_python.read(paths, python[3], len(classes)) for paths in pickles)
        return Splits.of_arrays(name, first, second, classes, mean, std)
    if missing:
        raise FileNotFoundError(f"the dataset {name!r} needs {', '.join(missing)} in the folder {where / inner}: "
                                f"`minicnn data get {name}` downloads them, or get the binary or the Python version "
                                f"from cs.toronto.edu/~kriz/cifar.html and unpack it there{lies_there(where)}")
    _check_names(find(where, f"{inner}/{names}"), classes)
    first, second = (read_records([path for path in map(found.get, files) if path], label_bytes, len(classes))
                     for files in (train, test))
    return Splits.of_arrays(name, first, second, classes, mean, std)


def python_files(where: Path, python: tuple[str, tuple[str, ...], tuple[str, ...], str]) -> list[list[Path]]:
    """[the training files, the test files] of the Python version; nothing where one is missing."""
    folder, *parts, _ = python
    found = [[find(where, f"{folder}/{file}") for file in files] for files in parts]
    paths = [[path for path in files if path is not None] for files in found]
    return paths if all(None not in files for files in found) else []


def _check_names(path: Path | None, classes: tuple[str, ...]) -> None:
    """Compare the class names in the text file with ours: another order would give every image a wrong name."""
    if path is None:
        return
    with open_bytes(path) as stream:
        lines = bytes(read_bytes(path, stream, 2**16)).decode("utf-8", "replace").split()
    if lines != list(classes):
        wrong = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(lines, classes)))
        found = repr(lines[wrong][:40]) if wrong < len(lines) else "nothing"
        expected = repr(classes[wrong]) if wrong < len(classes) else "nothing more"
        refuse(path, f"{expected} as the name of class {wrong}", found)
