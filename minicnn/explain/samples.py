"""Built-in pictures and filters, drawn for minicnn, and reading one's own from files."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data import crop, decode
from minicnn.explain.answer import UNSAID
from minicnn.names import short, unknown

MOST_SIDE = 512
"""Pixels of the longer side; a larger file is reduced to it."""

MOST_TAPS = 1024
"""Numbers in a filter from a file."""

MOUSE = """
........................................
...........................###..........
..........................#...#.........
............########......#...#.........
..........##........####..#..#..........
........##..............###..##.........
.......#.......................##.......
......#..........................##.....
.....#.......................##....##...
....#........................##......##.
....#.................................##
....+.................................#.
.....#..............................##..
......#..........................###....
###....##.......................#.......
...##....####################.##........
.....########..##......#####..##........
...............###.......###............
........................................
"""


def _drawn(drawing: str, signs: dict[str, int]) -> np.ndarray:
    return np.array([[signs[sign] for sign in line] for line in drawing.split()], float)


PICTURES: dict[str, tuple[np.ndarray, str]] = {
    "mouse": (_drawn(MOUSE, {".": 0, "+": 20, "#": 50}), "a mouse in outline, its line 50, where it is faint 20"),
    "edge": (np.repeat([[10.0, 10, 10, 0, 0, 0]], 6, 0), "a bright left half, 10, and a dark right half, 0"),
    "backslash": (np.eye(7), "the line \\, of ones"),
    "slash": (np.eye(7)[:, ::-1], "the line /, of ones"),
    "vertical": (np.repeat([[0.0, 0, 0, 1, 0, 0, 0]], 7, 0), "the line |, of ones"),
    "horizontal": (np.repeat([[0.0, 0, 0, 1, 0, 0, 0]], 7, 0).T, "the line —, of ones"),
    "dot": (np.pad([[1.0]], 2), "one pixel of 1, an impulse"),
    "numbers": (np.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]), "sixteen small numbers"),
}
"""{name: (pixels (H,W), description)}"""

FILTERS: dict[str, tuple[np.ndarray, str]] = {
    "vertical": (np.array([[1.0, 0, -1]] * 3), "a vertical edge: above 0 where it is brighter on the left"),
    "horizontal": (np.array([[1.0, 0, -1]] * 3).T, "a horizontal edge: above 0 where it is brighter on top"),
    "diagonal": (np.array([[1.0, 0, -1], [0, 0, 0], [-1, 0, 1]]), "above 0 on a line \\, below 0 on a line /"),
    "antidiagonal": (np.array([[-1.0, 0, 1], [0, 0, 0], [1, 0, -1]]), "above 0 on a line /, below 0 on a line \\"),
    "curve": (_drawn("....... ....#.. ...#... ...#... ...#... ....#.. .......", {".": 0, "#": 30}),
              "the curve (: five taps of 30"),
    "numbers": (np.arange(1.0, 10).reshape(3, 3), "the numbers 1 to 9, of which none equals another"),
}  # fmt: skip
"""{name: (taps (KH,KW), description)}. The edges are Prewitt's (1970)."""


@dataclass(frozen=True)
class Picture:
    """A picture as numbers: pixels (C,H,W), and where they come from."""

    name: str
    about: str
    pixels: np.ndarray = field(metadata=UNSAID)


@dataclass(frozen=True)
class Filter:
    """A filter as numbers: taps (C,KH,KW)."""

    name: str
    taps: np.ndarray
    about: str


def picture(source: Any, channels: int = 1) -> Picture:
    """A picture by name (`PICTURES`, or "digits:7" for a test digit), from a file, or an array (H,W) or (C,H,W).

    channels: those of a file, 1 (grey) or 3 (RGB). A file with a side of more than 512 pixels is reduced to that.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return Picture("the array", "", _images("a picture", source))
    name = str(source)
    if name in PICTURES:
        pixels, about = PICTURES[name]
        return Picture(name, about, pixels[None].copy())
    if name.partition(":")[0] == "digits":
        image, about = digit(name)
        return Picture(name, about, image.astype(float))
    _must_exist(source, "picture", (*PICTURES, "digits:0"))
    width, height = size(source)
    part = max(1.0, max(width, height) / MOST_SIDE)
    H, W = max(1, round(height / part)), max(1, round(width / part))
    pixels = decode.read(source, crop.whole, (H, W), channels=channels)
    kind = "grey" if channels == 1 else "RGB"
    about = f"{height}×{width} pixels, read as {kind}" + (f" and reduced to {H}×{W}" if part > 1 else "")
    return Picture(Path(name).name, about, pixels.astype(float))


def digit(name: str) -> tuple[np.ndarray, str]:
    """(uint8 (1,28,28), description) of "digits:7": a test digit of the data that minicnn contains."""
    images, n = _digit(name)
    return images.images[n], f"a handwritten {int(images.labels[n])}, test digit {n}"


def label_of(name: str) -> int:
    """The digit that "digits:7" shows."""
    images, n = _digit(name)
    return int(images.labels[n])


def _digit(name: str) -> tuple[Any, int]:
    from minicnn.data import registry

    images = registry.load("digits").test
    which = name.partition(":")[2] or "0"
    if not which.isdecimal() or int(which) >= len(images.images):
        raise ValueError(f"the picture {short(name)} must be digits:N with N from 0 to {len(images.images) - 1}")
    return images, int(which)


def size(source: Any) -> tuple[int, int]:
    """(width, height) of a picture file as it is shown, from its header."""
    with decode.opened(source) as file:
        turned = file.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        width, height = file.size[::-1] if turned else file.size
    return width, height


def filter_(source: Any) -> Filter:
    """A filter by name (`FILTERS`), from a file, or an array (KH,KW) or (C,KH,KW).

    A text file has a row of numbers on each line, separated by spaces or commas; a .npy file an array. ValueError
    where its numbers are no filter.
    """
    if isinstance(source, Filter):
        return source
    if isinstance(source, (np.ndarray, list, tuple)):
        return Filter("the array", _filter("the filter", source), "")
    name = str(source)
    if name in FILTERS:
        taps, about = FILTERS[name]
        return Filter(name, taps[None].copy(), about)
    _must_exist(source, "filter", FILTERS)
    if name.endswith(".npy"):
        try:
            taps = np.load(name, allow_pickle=False)
        except (ValueError, EOFError) as problem:
            raise ValueError(f"{name} holds no array of numbers ({problem}): write it with numpy.save") from None
        return Filter(Path(name).name, _filter(name, taps), "")
    rows = []
    try:
        for line in Path(name).read_text("utf-8-sig").splitlines():
            if words := line.replace(",", " ").replace(";", " ").split():
                rows.append([float(word) for word in words])
    except (UnicodeDecodeError, ValueError) as problem:
        raise ValueError(f"{name} is no filter ({problem}): write a row of numbers on each line") from None
    return Filter(Path(name).name, _filter(name, rows), "")


def _must_exist(source: str | PathLike[str], what: str, known: Any) -> None:
    path = Path(source)
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        raise ValueError(unknown(what, str(source), known) + "; and there is no file of that name")
    if what == "filter" and not path.is_file():
        raise ValueError(f"there is no file {path}: name a text file with a row of numbers on each line, a .npy file, "
                         f"or one of {', '.join(known)}")


def _filter(name: str, values: Any) -> np.ndarray:
    """(C,KH,KW) float64, checked."""
    if isinstance(values, (list, tuple)):
        lengths = {len(row) for row in values if isinstance(row, (list, tuple))}
        if len(lengths) > 1:
            raise ValueError(f"{name} has rows of {' and '.join(map(str, sorted(lengths)))} numbers: each row of a "
                             "filter must have equally many")
    taps = _images(name, np.asarray(values))
    if not np.isfinite(taps).all():
        raise ValueError(f"{name} holds a number that is not finite: a filter needs finite numbers")
    if taps.size > MOST_TAPS:
        raise ValueError(f"{name} holds {taps.size:,} numbers: a filter here has at most {MOST_TAPS:,}")
    return taps


def _images(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3) or not values.size:
        raise ValueError(f"{name} must be numbers with the axes (rows, columns) or (channels, rows, columns), not "
                         f"{values.dtype} {values.shape}")
    numbers = values.astype(np.float64)
    return numbers if numbers.ndim == 3 else numbers[None]

