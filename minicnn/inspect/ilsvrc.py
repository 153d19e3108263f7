"""Published results of ILSVRC, the image classification challenge; the table is ilsvrc.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """A published top-5 error, in %.   on: the set of images.   nets: how many were averaged, 0 if unknown.

    model: the net's name in the zoo, "" if it has none.   place: in the challenge, 0 if it was not an entry.   extra:
    trained on more than the challenge's images.   human: a person's error.
    """

    year: int
    entry: str
    error: float
    on: str
    where: str
    model: str = ""
    nets: int = 0
    place: int = 0
    extra: bool = False
    human: bool = False


@functools.cache
def results() -> tuple[Result, ...]:
    """All results, by year; those of one year from the worst to the best."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(sorted((Result(**row) for row in table["result"]), key=lambda r: (r.year, -r.error)))
