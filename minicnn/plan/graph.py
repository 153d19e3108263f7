"""A net as a list of ops: what `trace` records and `fold` shortens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Batch:
    """A size that grows with the batch: `factor` times the number of images."""

    factor: int = 1

    def __str__(self) -> str:
        return "N" if self.factor == 1 else f"{self.factor}·N"


@dataclass(frozen=True, eq=False)
class Rows:
    """A constant with one row for each image, all the same: zeros (N,C,H,W) that a net joins to its maps."""

    row: np.ndarray


Size = int | Batch


@dataclass(eq=False)
class Value:
    """An array that depends on the images."""

    shape: tuple[Size, ...]

    def at(self, images: int) -> tuple[int, ...]:
        """The shape for so many images."""
        return resolved(self.shape, images)

    @property
    def by_image(self) -> bool:
        """Whether the first axis, and only that one, is the images'."""
        return self.shape[:1] == (Batch(),) and not any(isinstance(size, Batch) for size in self.shape[1:])

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        size = self.shape[1]
        assert isinstance(size, int)
        return size

    @property
    def maps(self) -> bool:
        """Whether it is (N,C,H,W)."""
        return len(self.shape) == 4 and self.by_image

    @property
    def values(self) -> int:
        """The number of values for one image."""
        return math.prod(resolved(self.shape, 1))


@dataclass(eq=False)
class Node:
    """y = op(*args, **hyper), then max(y, 0) with `relu`.

    args: Values and constants: arrays, Rows, numbers, None.   kind: the op's name, or one of fold.py's.
    """

    kind: str
    op: Any
    args: list[Any]
    hyper: dict[str, Any]
    y: Value
    layer: str = ""
    relu: bool = False
    folded: list[str] = field(default_factory=list)
    """What else this node computes: names of ops, in order."""
    ready: dict[str, np.ndarray] = field(default_factory=dict)
    """Its constants as a kernel reads them."""

    @property
    def inputs(self) -> list[Value]:
        """The arguments that depend on the images."""
        return [a for a in self.args if isinstance(a, Value)]


@dataclass(eq=False)
class Graph:
    """Nodes in the order in which they compute, from `x` (N,C,H,W) to `y`."""

    x: Value
    y: Value
    nodes: list[Node]

    def readers(self) -> dict[int, list[Node]]:
        """{id of a Value: the nodes that read it}; one that reads it twice is there twice."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(id(value), []).append(node)
        return found

    def makers(self) -> dict[int, Node]:
        """{id of a Value: the node that computes it}"""
        return {id(node.y): node for node in self.nodes}

    def drop_unused(self) -> None:
        """Leave out the nodes whose values nothing reads."""
        used, kept = {id(self.y)}, []
        for node in reversed(self.nodes):
            if id(node.y) in used:
                kept.append(node)
                used.update(map(id, node.inputs))
        self.nodes = kept[::-1]

    def replace(self, old: Value, new: Value) -> None:
        """Let every node read `new` in place of `old`."""
        for node in self.nodes:
            node.args = [new if a is old else a for a in node.args]
        if self.y is old:
            self.y = new


def resolved(item: Any, images: int) -> Any:
    """The item with every Batch and Rows in it for so many images."""
    if isinstance(item, Batch):
        return item.factor * images
    if isinstance(item, Rows):
        return np.broadcast_to(item.row, (images, *item.row.shape))
    if type(item) in (tuple, list):
        return type(item)(resolved(i, images) for i in item)
    if isinstance(item, slice):
        return slice(*(resolved(i, images) for i in (item.start, item.stop, item.step)))
    return item


def arrays(node: Node) -> Iterator[np.ndarray]:
    """The constant arrays among a node's arguments."""
    for a in node.args:
        if isinstance(a, np.ndarray):
            yield a
        elif isinstance(a, Rows):
            yield a.row
