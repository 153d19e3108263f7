"""Handlers of ops that join two or three others: the same nodes, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.io.onnx.arithmetic import binary
from minicnn.io.onnx.graph import Graph, Value

Handler = Callable[..., Value]


def then_relu(handler: Handler) -> Handler:
    """The handler's nodes, and Relu."""
    def both(graph: Graph, *arrays: Value | None, **hyper: Any) -> Value:
        return graph.add("Relu", handler(graph, *arrays, **hyper))

    return both


def then_add(handler: Handler) -> Handler:
    """The handler's nodes, and Add of the last array."""
    def both(graph: Graph, *arrays: Any, **hyper: Any) -> Value:
        return binary("Add", graph, handler(graph, *arrays[:-1], **hyper), arrays[-1])

    return both
