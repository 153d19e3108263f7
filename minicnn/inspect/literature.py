"""Published figures of each net, and why sources may disagree; the table is literature.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Claim:
    """A published figure for `what` ("parameters", "macs"): the text of the source, and where it is."""

    what: str
    words: str
    where: str


@dataclass(frozen=True)
class Entry:
    """The published figures of a net.

    top1: accuracy on ImageNet's validation set in %, trained with a classic recipe; `where` is its source.
    top1_modern: the same with torchvision's recipe of 2021, which gives several points more.
    cifar10_error: test error on CIFAR-10 in %, trained with crops and flips.
    """

    claims: tuple[Claim, ...] = ()
    top1: float | None = None
    top1_modern: float | None = None
    cifar10_error: float | None = None
    where: str = "published with torchvision's weights V1"
    remarks: tuple[str, ...] = ()


@functools.cache
def literature() -> dict[str, Entry]:
    """{name of a model: its entry}."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {
        name: Entry(**{**row, "claims": tuple(Claim(*c) for c in row.get("claims", ())),
                       "remarks": tuple(row.get("remarks", ()))})
        for name, row in table.items()
    }  # fmt: skip


def entry(model: str) -> Entry:
    """The entry of a model, an empty one where the table has none."""
    return literature().get(model, Entry())
