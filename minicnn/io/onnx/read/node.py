"""One node of an ONNX file, with its attributes. Errors about it name the operator and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.names import short


@dataclass
class Node:
    """An operator, the names of the values it reads ("" where an optional one is left out) and makes."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    name: str
    opset: int
    domain: str = ""
    title: str = ""
    """The name that the file gives the node; `name` is, where there is none, that of its first output."""

    @property
    def where(self) -> str:
        """For messages: "node 'layer1/conv/Conv' (Conv)"."""
        return f"node {short(self.name)} ({self.op})"

    def integer(self, name: str, default: int | None = None) -> int:
        """An attribute that is an integer."""
        return self._of(name, default, int, "an integer")

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute that is a number."""
        return decimal(self._of(name, default, float, "a number"))

    def text(self, name: str, default: str | None = None) -> str:
        """An attribute that is a word."""
        return self._of(name, default, str, "a word")

    def ints(self, name: str, default: Sequence[int] | None = None, count: int | None = None) -> list[int]:
        """An attribute that is a list of integers, `count` of them."""
        found = self.attributes.get(name, None if default is None else list(default))
        if found is None:
            raise ValueError(f"{self.where}: the attribute {name} is missing")
        if not isinstance(found, list) or not all(isinstance(v, int) for v in found):
            raise ValueError(f"{self.where}: {name} (={short(found)}) must be a list of integers")
        if count is not None and len(found) != count:
            raise ValueError(f"{self.where}: {name} (={short(found)}) must have {count} entries")
        return found

    def one_of(self, name: str, default: str, known: Sequence[str]) -> str:
        """An attribute that is one of some words."""
        found = self.text(name, default)
        if found not in known:
            raise ValueError(f"{self.where}: {name}={short(found)} is not read, only {', '.join(known)}")
        return found

    def _of(self, name: str, default: Any, kind: type, what: str) -> Any:
        found = self.attributes.get(name, default)
        if found is None:
            raise ValueError(f"{self.where}: the attribute {name} is missing")
        if not isinstance(found, kind):
            raise ValueError(f"{self.where}: {name} (={short(found)}) must be {what}")
        return found


def decimal(value: Any) -> float:
    """A number of 32 bits as the shortest decimal that stands for it: 1e-05, which is 1.0000000656873453e-05 there."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if single == value else float(value)
