"""Draws the folder of exercise 12: small pictures of three classes, with faults that a seed chooses and plants."""

from __future__ import annotations

import contextlib
import io
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"brick": (190, 90, 60), "leaf": (60, 160, 60), "sky": (80, 130, 220)}
"""The class of a picture shows in its largest colour: red, green, blue."""
COUNTS = {"train": 12, "val": 8}
SIZE = (20, 28)
"""Height and width."""
ORIENTATION = 0x0112
"""EXIF's tag for how a picture must be turned; 1: not at all."""


@dataclass(frozen=True)
class Picture:
    """A file: where it is, what it shows, and what is wrong with it."""

    split: str
    folder: str
    name: str
    shows: str  # the class of its colours
    pixels: int  # pictures with the same number have the same pixels
    mode: str = "RGB"
    damage: str = ""  # "empty", "cut off", "text"
    orientation: int = 0  # EXIF's; 0: the file has no EXIF
    format: str = "PNG"

    @property
    def path(self) -> str:
        """Relative to the folder, with slashes on every system."""
        return f"{self.split}/{self.folder}/{self.name}.{'jpg' if self.format == 'JPEG' else self.format.lower()}"


def plan(seed: int) -> list[Picture]:
    """All pictures of a folder. The faults are in places that `seed` chooses, no two in one picture."""
    for attempt in itertools.count():
        with contextlib.suppress(StopIteration):           # too few pictures of one class were left: one seed in 1,000
            return _plan(np.random.default_rng([seed, 12, attempt]))
    raise AssertionError


def _plan(rng: np.random.Generator) -> list[Picture]:
    pictures: list[Picture] = []
    for split, count in COUNTS.items():
        for kind in COLOURS:
            names = rng.permutation(40)[:count] + (10 if split == "val" else 50)
            pictures += [Picture(split, kind, str(n), kind, 1000 * len(pictures) + i) for i, n in enumerate(names)]
    pictures = [replace(p, pixels=i) for i, p in enumerate(pictures)]
    order = [int(i) for i in rng.permutation(len(pictures))]
    train = [i for i in order if pictures[i].split == "train"]
    val = [i for i in order if pictures[i].split == "val"]

    def plant(places, **fault):
        i = places.pop()
        pictures[i] = replace(pictures[i], **fault)
        return i

    for damage in ("empty", "cut off", "text"):
        plant(train if rng.random() < 0.6 else val, damage=damage)
    for mode in ("L", "RGBA", "L"):
        plant(train if rng.random() < 0.6 else val, mode=mode)
    for orientation in (3, 6, 8, 1, 1, 0):                 # the last three are as they should be
        plant(train if rng.random() < 0.7 else val, orientation=orientation, format="JPEG")
    for places in (train, train, val):
        i = places[-1]
        plant(places, shows=str(rng.choice([c for c in COLOURS if c != pictures[i].folder])))
    for format in ("PNG", "BMP"):                          # the same pixels in another class; once, the same bytes
        i = train.pop()
        other = next(j for j in train if pictures[j].folder != pictures[i].folder)
        train.remove(other)
        pictures[other] = replace(pictures[other], shows=pictures[i].shows, pixels=pictures[i].pixels, format=format)
    for format in ("PNG", "BMP"):                          # in train and val
        i = val.pop()
        twin = next(j for j in train if pictures[j].folder == pictures[i].folder)
        train.remove(twin)
        pictures[i] = replace(pictures[i], pixels=pictures[twin].pixels, format=format)
    twice = train.pop()                                    # twice in one class: no fault
    same = next(j for j in train if pictures[j].folder == pictures[twice].folder)
    train.remove(same)
    pictures[same] = replace(pictures[same], pixels=pictures[twice].pixels)
    for kind in COLOURS:                                   # the same name in train and val: no fault
        i = next(j for j in val if pictures[j].folder == kind)
        other = next(j for j in train if pictures[j].folder == kind)
        pictures[i] = replace(pictures[i], name=pictures[other].name)
    return pictures


def write(seed: int, folder: Path) -> None:
    """Draw the pictures into a folder that does not exist yet."""
    for picture in plan(seed):
        path = folder / picture.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(picture, seed))


def _content(picture: Picture, seed: int) -> bytes:
    if picture.damage == "empty":
        return b""
    if picture.damage == "text":
        return b"<html><body>404 Not Found</body></html>\n"
    image = Image.fromarray(_draw(picture.shows, np.random.default_rng([seed, picture.pixels]))).convert(picture.mode)
    exif = Image.Exif()
    if picture.orientation:
        exif[ORIENTATION] = picture.orientation
    file = io.BytesIO()
    image.save(file, picture.format, **({"exif": exif} if picture.orientation else {}))
    content = file.getvalue()
    return content[: len(content) // 2] if picture.damage == "cut off" else content


def _draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Noise in the colour of the class, and a rectangle in it that is brighter or darker."""
    height, width = SIZE
    light = np.full((height, width, 1), rng.uniform(0.7, 1.1))
    top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
    light[top : top + height // 2, left : left + width // 2] *= rng.uniform(0.6, 1.2)
    pixels = light * np.array(COLOURS[kind]) + rng.normal(0, 8, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)
