"""Exercise 12: a folder of pictures with planted faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from minicnn.course.exercise import Check, Exercise, Folder, Function, Mistake
from minicnn.course.pictures import Picture, plan

STARTER = '''"""Exercise 12: faults in a data set (데이터셋).

A net learns the faults of its data, too. The folder has pictures in two splits, train (학습) and val (검증), and three
classes: FOLDER/train/sky/57.png, FOLDER/val/leaf/12.png, … Some of them have faults. Each function returns the set of
the files that it finds, with slashes, relative to the folder: {"train/sky/57.png"}.

Files that can't be decoded are for `damaged` alone: the other functions leave them out. Pictures are PNG, BMP and JPEG;
use Pillow (from PIL import Image). `minicnn course start 12` has drawn such a folder, ex12_pictures; the checks draw
others.

    minicnn course check ex12_data_faults.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

EXERCISE = 12


def damaged(folder):
    """Files that can't be decoded to the end: empty, cut off, or no picture at all. Image.open alone reads only the
    first bytes; .load() decodes.

    >>> sorted(damaged("ex12_pictures"))
    ['train/sky/64.png', 'train/sky/74.png', 'val/brick/10.png']
    """
    raise NotImplementedError  # replace this line by your solution


def wrong_mode(folder):
    """Pictures that are not RGB: grey ones, and such with transparency (투명도)."""
    raise NotImplementedError  # replace this line by your solution


def rotated(folder):
    """Pictures whose EXIF orientation (tag 274) is there and is not 1: programs that ignore it show them turned."""
    raise NotImplementedError  # replace this line by your solution


def conflicts(folder):
    """Pictures of train whose pixels are also in another class of train, so that one label must be wrong: all of them.

    The same pixels can be in files of different formats, so that the bytes of the files are different.
    """
    raise NotImplementedError  # replace this line by your solution


def leaks(folder):
    """Pictures of val whose pixels are also in train (데이터 누출): the net has seen them, so they measure nothing."""
    raise NotImplementedError  # replace this line by your solution


def mislabelled(folder):
    """Pictures, in train and val, that show another class than their folder says.

    brick is mostly red, leaf green, sky blue: the largest mean of the three colours tells. Pictures of mode L have no
    colour: leave them out.
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _planned(folder: str) -> list[Picture]:
    """What the folder holds: judge.py ends its name with the seed."""
    return plan(int(Path(folder).name.rpartition("-")[2]))


def _paths(pictures: Iterable[Picture]) -> set[str]:
    return {p.path for p in pictures}


def _where(holds: Callable[[Picture], bool]):
    """The files of which something holds, as the right result."""
    return lambda folder: _paths(p for p in _planned(folder) if holds(p))


def _mistake(holds: Callable[[Picture], bool]):
    """The files of which something holds, as the result of a mistake."""
    return lambda right, folder: _paths(p for p in _planned(folder) if holds(p))


def _twins(folder: str, same: Callable[[Picture], object] = lambda p: p.pixels) -> list[tuple[Picture, list[Picture]]]:
    """Each picture of which there are others with the same pixels, and those. Grey and coloured ones are different."""
    groups = defaultdict(list)
    for p in _planned(folder):
        if not p.damage:
            groups[same(p)].append(p)
    return [(p, [q for q in group if q is not p]) for group in groups.values() for p in group if len(group) > 1]


def _bytes(p: Picture) -> tuple:
    return p.pixels, p.format


def _conflicts(folder, same=lambda p: p.pixels, splits=("train",)):
    return _paths(p for p, others in _twins(folder, same)
                  if any(q.folder != p.folder and {p.split, q.split} <= set(splits) for q in others))  # fmt: skip


def _leaks(folder, same=lambda p: p.pixels):
    return _paths(p for p, others in _twins(folder, same) if p.split == "val" and any(
        q.split == "train" for q in others))


def _is_mislabelled(p: Picture) -> bool:
    return not p.damage and p.mode != "L" and p.shows != p.folder


PIXELS = "The same pixels can be in a PNG and in a BMP file: compare what is decoded."
DAMAGED = (
    Mistake("opened but not decoded", "Image.open reads only the first bytes: a file that is cut off opens. Call "
            ".load().", _mistake(lambda p: p.damage in ("empty", "text"))),
    Mistake("only empty files", "A file can be damaged without being empty: decode each one.",
            _mistake(lambda p: p.damage == "empty")),
    Mistake("only train", "Look into train and val.", _mistake(lambda p: bool(p.damage) and p.split == "train")),
    Mistake("empty files not found", "An empty file is no picture.",
            _mistake(lambda p: p.damage in ("cut off", "text"))),
)  # fmt: skip
MODE = (
    Mistake("transparency not found", "RGBA has a fourth channel.", _mistake(lambda p: not p.damage and p.mode == "L")),
    Mistake("grey pictures not found", "A grey picture has mode L: one channel.",
            _mistake(lambda p: not p.damage and p.mode == "RGBA")),
    Mistake("the right ones", "Return the pictures that are not RGB.",
            _mistake(lambda p: not p.damage and p.mode == "RGB")),
    Mistake("files cut off included", "Files that can't be decoded are for `damaged` alone.", _mistake(
        lambda p: p.mode != "RGB" or bool(p.damage))),
)  # fmt: skip
ROTATED = (
    Mistake("every picture with EXIF", "Orientation 1 is as it should be.", _mistake(lambda p: p.orientation > 0)),
    Mistake("upside down not found", "Orientation 3 is turned by 180°.", _mistake(lambda p: p.orientation in (6, 8))),
    Mistake("only one orientation", "3, 6 and 8 are turned, each in another way.",
            _mistake(lambda p: p.orientation == 6)),
    Mistake("every JPEG", "Read the EXIF orientation.", _mistake(lambda p: p.format == "JPEG")),
)  # fmt: skip
CONFLICTS = (
    Mistake("files compared instead of pixels", PIXELS, lambda right, folder: _conflicts(folder, _bytes)),
    Mistake("duplicates within a class", "The same picture twice in one class is no conflict of labels.",
            lambda right, folder: _paths(p for p, others in _twins(folder) if p.split == "train" and any(
                q.split == "train" for q in others))),
    Mistake("val included", "Only pictures of train are asked for.", lambda right, folder: _paths(
        p for p, _ in _twins(folder))),
    Mistake("one of each pair", "Nobody knows which of the labels is wrong: return all of them.",
            lambda right, folder: _first(right, folder)),
    Mistake("one of each pair", "Nobody knows which of the labels is wrong: return all of them.",
            lambda right, folder: right - _first(right, folder)),
    Mistake("names compared", "Two pictures with one name can be different: compare pixels.",
            lambda right, folder: _paths(p for p, others in _twins(folder, lambda p: p.name)
                                         if p.split == "train" and any(
                                             q.split == "train" and q.folder != p.folder for q in others))),
)  # fmt: skip
LEAKS = (
    Mistake("files compared instead of pixels", PIXELS, lambda right, folder: _leaks(folder, _bytes)),
    Mistake("names compared", "Pictures with one name can be different, and the same picture can have two names.",
            lambda right, folder: _leaks(folder, lambda p: (p.folder, p.name))),
    Mistake("the copies in train", "Return the pictures of val.", lambda right, folder: _paths(
        p for p, others in _twins(folder) if p.split == "train" and any(q.split == "val" for q in others))),
    Mistake("both copies", "Return the pictures of val only.", lambda right, folder: _paths(
        p for p, others in _twins(folder) if any(q.split != p.split for q in others))),
)  # fmt: skip
LABELS = (
    Mistake("only train", "Look into train and val.", _mistake(lambda p: _is_mislabelled(p) and p.split == "train")),
    Mistake("the right ones", "Return those whose colour is another class's.",
            _mistake(lambda p: not p.damage and p.mode != "L" and p.shows == p.folder)),
    Mistake("grey pictures included", "Grey pictures have no colour: leave them out.",
            _mistake(lambda p: not p.damage and ((p.mode == "L" and p.folder != "brick") or _is_mislabelled(p)))),
)  # fmt: skip


def _first(right: set[str], folder: str) -> set[str]:
    """Of each pair of a conflict the one whose path comes first."""
    return {p.path for p, others in _twins(folder) if p.path in right and all(
        p.path < q.path for q in others if q.path in right)}


def _folders(rng: np.random.Generator) -> list[tuple[Folder]]:
    return [(Folder(0),), (Folder(1),)]


EXERCISE = Exercise(
    12, "data-faults", "A folder with faults", "데이터셋의 결함", STARTER,
    (Function("damaged", ("the files",), _where(lambda p: bool(p.damage)), DAMAGED),
     Function("wrong_mode", ("the files",), _where(lambda p: not p.damage and p.mode != "RGB"), MODE),
     Function("rotated", ("the files",), _where(lambda p: p.orientation > 1), ROTATED),
     Function("conflicts", ("the files",), _conflicts, CONFLICTS),
     Function("leaks", ("the files",), _leaks, LEAKS),
     Function("mislabelled", ("the files",), _where(_is_mislabelled), LABELS)),
    (Check("damaged files", "damaged", _folders), Check("pictures that are not RGB", "wrong_mode", _folders),
     Check("turned pictures", "rotated", _folders), Check("one picture in two classes", "conflicts", _folders),
     Check("val pictures in train", "leaks", _folders), Check("wrong labels", "mislabelled", _folders)),
)  # fmt: skip
