"""Pictures that a model got wrong, filed into the folder of their class, where `train` and `transfer` read them.

A file is named after its content, corrected-SHA256.png, and stored as it came. Nothing is overwritten, and no folder is
named after text from elsewhere: in a folder of pictures the class must have its folder, and in corrections/, beside a
model without such a folder, classes are numbers.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import atomic
from minicnn.data.decode import Packed, opened
from minicnn.data.folder import CORRECTED, Files, ImageFolder, nfc
from minicnn.names import short

NAME = "corrections"
MOST = 1000
"""Pictures that may be filed."""
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp", "GIF": ".gif", "WEBP": ".webp", "TIFF": ".tif"}


@dataclass(frozen=True)
class Filed:
    """A picture that was filed: where it is now, and where it was before if it was filed already."""

    path: Path
    before: Path | None = None


class Corrections:
    """The folders that pictures are filed into.

    root      shown to the user
    folders   {class: its folder}; classes that are missing have none
    count     how many pictures are filed
    """

    def __init__(self, root: Path, folders: dict[int, Path]):
        self.root, self.folders = root, folders
        self.count = len(self.pictures() or ())

    @classmethod
    def beside(cls, model: Path, classes: int) -> Corrections:
        """corrections/0, 1, … beside a model file; made when they are needed."""
        root = model.parent / NAME
        return cls(root, {k: root / str(k) for k in range(classes)})

    @classmethod
    def inside(cls, folder: ImageFolder, classes: list[str]) -> Corrections:
        """The folders of a folder of pictures, those of training where it is split."""
        known, folders = [nfc(name) for name in classes], {}
        for k, name in enumerate(folder.classes):
            first = Path(folder.train.names[int(np.flatnonzero(folder.train.labels == k)[0])])
            depth = 1 if nfc(first.parts[0]) == folder.folders[k] else 2      # CLASS/file, or train/CLASS/file
            folders[known.index(nfc(name))] = folder.root.joinpath(*first.parts[:depth])
        return cls(folder.root, folders)

    @property
    def writable(self) -> bool:
        """Whether files can be made in every folder, or the folders themselves."""
        return all(os.access(next(p for p in (f, *f.parents) if p.exists()), os.W_OK) for f in self.folders.values())

    def is_inside(self, train: Any) -> bool:
        """Whether the folders are those that these training pictures are read from."""
        return isinstance(train, Files) and train.root == self.root

    def pictures(self) -> Files | None:
        """The pictures that are filed, with their classes; None where there are none."""
        found = [(path.relative_to(self.root).as_posix(), k) for k, folder in sorted(self.folders.items())
                 for path in sorted(folder.glob(f"{CORRECTED}*"))
                 if path.suffix in ENDINGS.values() and path.is_file() and not path.is_symlink()]  # fmt: skip
        if not found:
            return None
        return Files(self.root, tuple(name for name, _ in found), np.array([k for _, k in found], np.int64))

    def file(self, content: bytes, k: int) -> Filed:
        """File a picture as class k; one that is filed as another class is moved. ValueError, one sentence, if not."""
        if k not in self.folders:
            raise ValueError(f"{short(str(self.root))} has no folder for this class: make one, with some pictures")
        with opened(Packed("the picture", content)) as picture:
            ending = ENDINGS[picture.format]
        name = f"{CORRECTED}{hashlib.sha256(content).hexdigest()[:24]}{ending}"
        path = self.folders[k] / name
        if path.exists():
            return Filed(path, path)
        here = next((f / name for f in self.folders.values() if (f / name).is_file()), None)
        if here is None and self.count >= MOST:
            raise ValueError(f"{MOST:,} pictures are filed in {short(str(self.root))}, the most that the app files: "
                             "train on them with `minicnn train`")
        self._make(path.parent)
        if here is not None:
            os.replace(here, path)
        else:
            atomic.write(path, content)
            self.count += 1
        return Filed(path, here)

    def undo(self, filed: Filed) -> None:
        """Take a filing back."""
        if filed.before is None:
            filed.path.unlink(missing_ok=True)
            self.count = max(0, self.count - 1)
            self._remove_empty(filed.path.parent)
        elif filed.before != filed.path and filed.path.exists() and not filed.before.exists():
            self._make(filed.before.parent)
            os.replace(filed.path, filed.before)

    def sweep(self) -> None:
        """Remove half-written files of a process that was killed."""
        for folder in self.folders.values():
            for part in folder.glob(f".{CORRECTED}*.part"):
                part.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        if self._own:
            folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() or not folder.is_dir():
            raise ValueError(f"{short(str(folder))} is not a folder: the picture was not filed")

    def _remove_empty(self, folder: Path) -> None:
        if self._own and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    @property
    def _own(self) -> bool:
        """Whether the folders are ours to make: numbers in corrections/."""
        return self.root.name == NAME and all(f.name == str(k) for k, f in self.folders.items())
