"""The files of the course: starter files, which exercise a file answers, and the files of a class."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minicnn.course.exercise import Exercise

NAMES = ("e01_shapes", "e02_conv_forward", "e03_conv_backward", "e04_im2col", "e05_pooling", "e06_softmax",
         "e07_batch_norm", "e08_initialisation", "e09_momentum", "e10_residual", "e11_receptive_field",
         "e12_data_faults")  # fmt: skip
"""The exercises, in order."""

PICTURES_SEED = 12
"""The folder of pictures beside the starter file of exercise 12."""
LARGEST_FILE = 1_000_000


@functools.cache
def exercise(number: int) -> Exercise:
    """Exercise 1, 2, …; ValueError if there is none."""
    if not 1 <= number <= len(NAMES):
        raise ValueError(f"there is no exercise {number}: they are numbered 1 to {len(NAMES)}")
    return importlib.import_module(f"minicnn.course.{NAMES[number - 1]}").EXERCISE


def exercises() -> list[Exercise]:
    """All of them."""
    return [exercise(number) for number in range(1, len(NAMES) + 1)]


def start(number: int, folder: Path, seed: int = PICTURES_SEED) -> list[Path]:
    """Write an exercise's starter file, and pictures where it needs them. → what was written

    A file that exists is kept: FileExistsError.
    """
    chosen = exercise(number)
    path, pictures = folder / chosen.file, folder / "ex12_pictures"
    for here in (path, pictures) if chosen.name == "data-faults" else (path,):
        if here.exists():
            raise FileExistsError(f"{here} exists already and is kept: choose another folder, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(chosen.starter, encoding="utf-8")
    if chosen.name != "data-faults":
        return [path]
    from minicnn.course import pictures as drawn

    drawn.write(seed, pictures)
    return [path, pictures]


def answered(path: Path) -> Exercise | None:
    """The exercise that a file answers: by its line `EXERCISE = N`, or else by its name ex02….py. It isn't run."""
    number = None
    if path.stat().st_size <= LARGEST_FILE:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8-sig"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.Module([], [])
        for node in tree.body:
            if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["EXERCISE"]:
                number = node.value.value if isinstance(node.value, ast.Constant) else None
    if type(number) is not int:
        named = re.search(r"(?:^|[^a-z0-9])ex(?:ercise)?[ _-]?(\d{1,2})(?!\d)", path.stem, re.IGNORECASE)
        number = int(named[1]) if named else 0
    return exercise(number) if 1 <= number <= len(NAMES) else None


@dataclass(frozen=True)
class Submission:
    """A file of a class; exercise None: nobody knows which one it answers."""

    student: str
    path: Path
    exercise: Exercise | None


def submissions(folder: Path) -> Iterator[Submission]:
    """The .py files of a class folder: a subfolder for each student, or files such as kim_ex02.py beside each other."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part.startswith((".", "__")) for part in parts) or not path.is_file():
            continue
        yield Submission(parts[0] if len(parts) > 1 else _student(path, folder), path, answered(path))


def _student(path: Path, folder: Path) -> str:
    """kim for kim_ex02_conv_forward.py; the folder's own name if the file's name has no more than the exercise."""
    before = re.split(r"(?:^|[ _-])ex(?:ercise)?[ _-]?\d", path.stem, maxsplit=1, flags=re.IGNORECASE)
    return before[0] or folder.resolve().name if len(before) > 1 else path.stem
