"""A graph in ONNX's terms, before it is a file: nodes in the order of computing, and the constants that they take.

A *translation* writes one op of minicnn as nodes. It has the op's name and hyper-parameters, and gets the graph and a
Value for each array:

    @translation
    def leaky_relu(graph, x, *, negative_slope):
        return graph.add("LeakyRelu", x, alpha=negative_slope)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

TRANSLATIONS: dict[str, Callable[..., Value]] = {}
"""{name of an op: its translation}"""


def translation(function):
    """Enter a translation under its name."""
    TRANSLATIONS[function.__name__] = function
    return function


@dataclass(frozen=True, eq=False)
class Value:
    """An array in the graph: a constant, whose values are known, or what a node will compute (array is None)."""

    name: str
    shape: tuple[int, ...]
    array: np.ndarray | None = None

    ndim = property(lambda self: len(self.shape))


@dataclass
class Node:
    """One operator of ONNX with one output."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]
    name: str = ""


@dataclass
class Graph:
    """What is fed, the nodes, their constants, and what comes out."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    input: Value = field(default_factory=lambda: Value("image", ()))
    output: Value = field(default_factory=lambda: Value("logits", ()))

    def constant(self, values, dtype=None, name: str = "") -> Value:
        """Known values; a parameter comes under its own name."""
        array = np.asarray(values, dtype)
        return Value(name, array.shape, array)

    def ints(self, *values: int) -> Value:
        """Axes, a shape: what ONNX takes as a tensor of int64."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: Value | None, shape: tuple[int, ...] | None = None, **attributes) -> Value:
        """A node. → what it computes, of `shape`, by default the first input's; None stands for an input left out."""
        names = [self._feed(value) for value in inputs]
        while names and not names[-1]:
            names.pop()
        node = Node(op, names, f"{op}_{len(self.nodes)}", attributes)
        self.nodes.append(node)
        first = inputs[0]
        assert first is not None
        return Value(node.output, first.shape if shape is None else tuple(shape))

    def _feed(self, value: Value | None) -> str:
        if value is None:
            return ""
        if value.array is None:
            return value.name
        name = value.name or self._known(value.array) or f"constant_{len(self.constants)}"
        self.constants.setdefault(name, value.array)
        return name

    def _known(self, array):
        """The name of a small constant that is there already: axes and pads repeat."""
        if array.size > 16:
            return ""
        return next((name for name, other in self.constants.items()
                     if other.shape == array.shape and other.dtype == array.dtype and name.startswith("constant_")
                     and np.array_equal(other, array)), "")  # fmt: skip

    def rename(self, new: dict[str, str]) -> None:
        """Give what nodes compute other names."""
        for node in self.nodes:
            node.inputs = [new.get(name, name) for name in node.inputs]
            node.output = new.get(node.output, node.output)
        self.output = replace(self.output, name=new.get(self.output.name, self.output.name))

    def differs(self, other: Graph) -> str:
        """The name of the first node or constant in which two graphs differ, "" where they don't."""
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
