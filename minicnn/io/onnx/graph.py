"""An ONNX graph in memory: nodes in the order in which they are computed, and their constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """An array in the graph: a constant, whose values are known, or the output of a node (array is None)."""

    name: str
    shape: tuple[int, ...]
    array: np.ndarray | None = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


@dataclass
class Node:
    """One ONNX operator with one output."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]
    name: str = ""


@dataclass
class Graph:
    """The input, the nodes, their constants and the output."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    input: Value = field(default_factory=lambda: Value("image", ()))
    output: Value = field(default_factory=lambda: Value("logits", ()))

    def constant(self, values: Any, dtype: Any = None, name: str = "") -> Value:
        """A constant; a parameter keeps its own name."""
        array = np.asarray(values, dtype)
        return Value(name, array.shape, array)

    def ints(self, *values: int) -> Value:
        """A constant of int64, the type of axes and shapes in ONNX."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: Value | None, shape: Sequence[int] | None = None,
            **attributes: Any) -> Value:  # fmt: skip
        """Add a node and return its output, of `shape` or that of the first input. None: an optional input left out."""
        names = [self._name_of(value) for value in inputs]
        while names and not names[-1]:
            names.pop()
        node = Node(op, names, f"{op}_{len(self.nodes)}", attributes)
        self.nodes.append(node)
        first = inputs[0]
        assert first is not None
        return Value(node.output, first.shape if shape is None else tuple(shape))

    def _name_of(self, value: Value | None) -> str:
        if value is None:
            return ""
        if value.array is None:
            return value.name
        name = value.name or self._same_constant(value.array) or f"constant_{len(self.constants)}"
        self.constants.setdefault(name, value.array)
        return name

    def _same_constant(self, array: np.ndarray) -> str:
        """The name of an equal small constant, since axes and pads repeat; "" where there is none."""
        if array.size > 16:
            return ""
        return next((name for name, other in self.constants.items()
                     if other.shape == array.shape and other.dtype == array.dtype and name.startswith("constant_")
                     and np.array_equal(other, array)), "")  # fmt: skip

    def rename(self, new: dict[str, str]) -> None:
        """Rename values: {old name: new name}."""
        for node in self.nodes:
            node.inputs = [new.get(name, name) for name in node.inputs]
            node.output = new.get(node.output, node.output)
        self.output = replace(self.output, name=new.get(self.output.name, self.output.name))

    def differs(self, other: Graph) -> str:
        """The name of the first node that differs between two graphs, itself or by a constant; "" where none does."""
        for mine, theirs in zip(self.nodes, other.nodes):
            if mine != theirs:
                return mine.name
        if len(self.nodes) != len(other.nodes):
            return self.output.name
        for name, array in self.constants.items():
            twin = other.constants.get(name)
            if twin is not array and (twin is None or twin.dtype != array.dtype or twin.tobytes() != array.tobytes()):
                return next(node.name for node in self.nodes if name in node.inputs)
        return ""
