"""Checks of arguments that several packages share. Each error is one sentence: the value, the rule and the fix."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from minicnn.names import short

LARGEST = 2**20  # limit for a kernel's size, a stride, a padding or a dilation

Pair = int | tuple[int, int]  # one integer for both axes, or (down, across)


def path(value: Any) -> Path:
    """The value as a Path; TypeError unless it is text or a path."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"a path must be text or a pathlib.Path, not {short(value)}")
    return Path(value)


def file_to_write(value: Any) -> Path:
    """The path of a file that can be written; FileNotFoundError without its folder, IsADirectoryError for a folder."""
    file = path(value)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file} can't be written: there is no folder {file.parent}; make it first")
    if file.is_dir():
        raise IsADirectoryError(f"{file} can't be written: it is a folder; add the name of a file")
    return file


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int; TypeError unless it is an integer, ValueError outside least … most."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {short(value)}")
    if number < least or (most is not None and number > most):
        rule = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} (={value}) must be {rule}")
    return number


def positive(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value` as an int; TypeError unless it is an integer, ValueError outside least … most."""
    number = integer(name, value, least)
    if most is not None and number > most:
        raise ValueError(f"{name} (={value}) must be at most {most:,}")
    return number


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """A hyper-parameter given as one integer or as (down, across)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be one integer or a pair (down, across), not {value!r}")
        return positive(name, value[0], least, LARGEST), positive(name, value[1], least, LARGEST)
    both = positive(name, value, least, LARGEST)
    return both, both


def instance(name: str, value: Any, kind: type) -> None:
    """TypeError unless the value is a `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {short(value)}")
