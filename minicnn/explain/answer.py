"""What every explanation is: numbers in a dataclass; as text, as HTML in a notebook, and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from minicnn.explain import notebook, show
from minicnn.names import short

UNSAID = {"json": False}
"""The metadata of a dataclass's field that is left out of JSON: a whole picture, which the caller has."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A matrix for a picture: its numbers, a title, and boxes (row, column, rows, columns) drawn around parts of it."""

    title: str
    values: np.ndarray
    boxes: tuple[tuple[int, int, int, int], ...] = ()


class Answer:
    """The base class: a subclass is a frozen dataclass with the methods `page` and `panels`."""

    def page(self) -> list[show.Block]:
        """The blocks to show, in order."""
        raise NotImplementedError(f"{type(self).__name__} has no page")

    def panels(self) -> list[Panel]:
        """The matrices that a picture of it shows."""
        raise NotImplementedError(f"{type(self).__name__} has no panels")

    def text(self, width: int = show.DEFAULT_WIDTH) -> str:
        """The page as plain text of at most `width` columns."""
        return show.text(self.page(), width)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON, without pictures; ∞ and NaN, which JSON lacks, are null."""
        return plain(self)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return notebook.html(self.page())


def finite(name: str, value: Any) -> float:
    """The value as a float; TypeError unless it is a number, ValueError unless it is finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, not {short(value)}")
    if not math.isfinite(value):
        raise ValueError(f"{name} (={value}) must be a finite number")
    return float(value)


def plain(value: Any) -> Any:
    """A value as what JSON has: lists, dicts, numbers, text, None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (np.floating, float, Fraction)):
        value = float(value)
        return value if math.isfinite(value) else None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
                if field.metadata.get("json", True)}  # fmt: skip
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [plain(item) for item in value]
    return value
