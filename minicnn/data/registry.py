"""The datasets by name: description, files, folder on this machine, and where to download them.

To add a dataset, write a function that returns a `Splits` and add a `DatasetInfo` to DATASETS below.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minicnn.data import cifar, digits, download, mnist
from minicnn.data.dataset_files import dataset_folder, find
from minicnn.data.download import Remote
from minicnn.data.splits import Splits
from minicnn.lock import Lock
from minicnn.names import unknown

MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FASHION_MIRRORS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset that `data.load` can load. `parts`: the files that it reads, as paths in its folder."""

    name: str
    load: Callable[[], Splits]
    summary: str
    parts: tuple[str, ...] = ()
    files: tuple[Remote, ...] = ()
    homepage: str = ""
    licence: str = ""
    channels: int = 1
    also: Any = None
    """CIFAR's Python version, which is read where the binary one is missing."""

    @property
    def folder(self) -> Path:
        """The folder of its files on this machine; it may be missing."""
        return digits.FOLDER if self.name == "digits" else dataset_folder(self.name)

    @property
    def missing(self) -> list[str]:
        """The files that are not there, neither plain nor gzipped."""
        if self.also and cifar.python_files(self.folder, self.also):
            return []
        return [part for part in self.parts if find(self.folder, part) is None]

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


def _remote(mirrors: tuple[str, ...], name: str, size: int, sha256: str) -> Remote:
    return Remote(name, tuple(mirror + name for mirror in mirrors), size, sha256)


def _four(mirrors: tuple[str, ...], *sums: tuple[int, str]) -> tuple[Remote, ...]:
    return tuple(_remote(mirrors, f"{stem}.gz", *sum_) for stem, sum_ in zip(mnist.STEMS, sums))


DATASETS = {info.name: info for info in (
    DatasetInfo("digits", digits.load, "handwritten digits, 5 000 + 1 000 of MNIST, part of minicnn", mnist.STEMS,
          homepage="yann.lecun.com/exdb/mnist", licence="CC BY-SA 3.0"),
    DatasetInfo("mnist", mnist.load_mnist, "handwritten digits, 60 000 + 10 000 of 28 × 28, grey, 10 classes",
          mnist.STEMS,
          _four(MNIST_MIRRORS,
                (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
                (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
                (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
                (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")),
          "yann.lecun.com/exdb/mnist", "CC BY-SA 3.0"),
    DatasetInfo("fashion-mnist", mnist.load_fashion_mnist, "photographs of clothes, 60 000 + 10 000 of 28 × 28, grey, "
          "10 classes", mnist.STEMS,
          _four(FASHION_MIRRORS,
                (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")),
          "github.com/zalandoresearch/fashion-mnist", "MIT"),
    DatasetInfo("cifar-10", cifar.load_cifar10, "photographs, 50 000 + 10 000 of 32 × 32, RGB, 10 classes",
          tuple(f"cifar-10-batches-bin/{name}" for name in (*cifar.TRAIN10, *cifar.TEST10, cifar.NAMES10)),
          (_remote(CIFAR_MIRRORS, "cifar-10-binary.tar.gz", 170052171,
                   "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
          "cs.toronto.edu/~kriz/cifar.html", "none is stated", channels=3, also=cifar.PYTHON10),
    DatasetInfo("cifar-100", cifar.load_cifar100, "photographs, 50 000 + 10 000 of 32 × 32, RGB, 100 classes",
          tuple(f"cifar-100-binary/{name}" for name in (*cifar.TRAIN100, *cifar.TEST100, cifar.NAMES100)),
          (_remote(CIFAR_MIRRORS, "cifar-100-binary.tar.gz", 168513733,
                   "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),),
          "cs.toronto.edu/~kriz/cifar.html", "none is stated", channels=3, also=cifar.PYTHON100),
)}  # fmt: skip


def info(name: str) -> DatasetInfo:
    """The dataset of that name; ValueError for an unknown one."""
    if not isinstance(name, str) or name not in DATASETS:
        raise ValueError(unknown("dataset", str(name), DATASETS))
    return DATASETS[name]


def load(name: str) -> Splits:
    """The dataset of that name, with its training and test images."""
    return info(name).load()


def get(name: str, progress: download.Progress = lambda name, here, total: None) -> list[Path]:
    """Download the missing files of a dataset. Returns the new files.

    RuntimeError where another process downloads it; errors as `download.fetch`; ValueError for a dataset that is
    part of minicnn or whose archive lacks the files.
    """
    wanted = info(name)
    if not wanted.files:
        raise ValueError(f"the dataset {name!r} is part of minicnn: there is nothing to download")
    if not wanted.missing:
        return []
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with Lock(wanted.folder, "download.lock", "set another MINICNN_HOME"):  # two would write into one half file
        return _get(wanted, progress)


def _get(wanted: DatasetInfo, progress: download.Progress) -> list[Path]:
    new: list[Path] = []
    if not wanted.missing:  # whoever had the lock has downloaded everything
        return new
    for file in wanted.files:
        if not file.name.endswith(".tar.gz"):
            if file.name.removesuffix(".gz") in wanted.missing:
                new.append(download.fetch(file, wanted.folder, progress))
            continue
        archive = download.fetch(file, wanted.folder, progress)
        new += _unpack(archive, wanted.folder, wanted.missing)
        archive.unlink()
    return new


def _unpack(archive: Path, where: Path, parts: list[str]) -> list[Path]:
    """Unpack these parts of an archive and nothing else, each atomically."""
    made = []
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name).as_posix()
            if name not in parts or not member.isreg():
                continue
            source, target = tar.extractfile(member), where / name
            assert source is not None                      # it is a regular file
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.part")
            with open(beside, "wb") as out:
                while chunk := source.read(2**20):
                    out.write(chunk)
            os.replace(beside, target)
            made.append(target)
    absent = sorted(set(parts) - {path.relative_to(where).as_posix() for path in made})
    if absent:
        raise ValueError(f"{archive} does not hold {', '.join(absent)}: it is another archive, delete it and get the "
                         f"dataset again")
    return made
