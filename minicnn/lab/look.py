"""One look of a net at one image: every op's value, the gradient of a score at every one, and the graph between them.

The graph is what the net's own forward computed: node 0 is the image, and each op that depends on it is a node, with
skip connections, branches and concatenations as they are. So it serves any net, also one of the user's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments, meta
from minicnn.explain.cell import Cell
from minicnn.explain.cells import explain
from minicnn.inspect.summary import without_values
from minicnn.inspect.units import constant_parameters
from minicnn.nn import Module
from minicnn.ops.softmax import softmax
from minicnn.plan.trace import Run
from minicnn.recording import no_grad
from minicnn.settings import conv_algorithm
from minicnn.tensor import Tensor

Array = Any  # numpy.ndarray


@dataclass(frozen=True)
class Node:
    """One op of a net. The shape has no batch axis."""

    id: int
    op: str
    layer: str
    kind: str
    """The class of the layer."""
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: dict[str, str]
    """{the op's name of an array, such as "w": the net's name of it, such as "conv1.weight"}"""
    parameters: int
    """Of those that no node before has."""
    macs: int
    field: tuple[tuple[int, int, float], tuple[int, int, float]] | None
    """The receptive field, down and across: (first pixel for element 0, pixels, step from element to element)."""


class Graph:
    """The nodes of a net for images of `shape` (C,H,W). ValueError if the net does not take such an image."""

    def __init__(self, model: Module, shape: tuple[int, ...]):
        arguments.instance("model", model, Module)
        with no_grad(), without_values(model):
            run = Run(model, Tensor(meta.image((1, *shape))))
            fields = [y.data.fields for _, _, _, y in run.steps]
        self.shape = tuple(shape)
        self.steps = _used(run)
        """The step of each node from 1 on."""
        self.classifies = run.y.ndim == 2 and run.steps[run.output][0].__name__ not in ("softmax", "log_softmax")
        names = {id(t): name for name, t in reversed(list(model.named_state()))}
        kinds = {name: type(module).__name__ for name, module in model.named_modules()}
        number = {-1: 0} | {step: i + 1 for i, step in enumerate(self.steps)}
        self.nodes = [Node(0, "image", "", "", (), tuple(shape), {}, 0, 0, ((0, 1, 1), (0, 1, 1)))]
        counted: set[int] = set()
        for step in self.steps:
            op, args, _, y = run.steps[step]
            inputs = tuple(number[run.number[id(a)]] for a in args if id(a) in run.number)
            letters = getattr(op, "arguments", ())
            weights = {letters[min(k, len(letters) - 1)]: names[id(a)] for k, a in enumerate(args) if id(a) in names}
            new = [a for a in args if id(a) in names and a.requires_grad and id(a) not in counted]
            counted.update(map(id, new))
            layer = run.layer.get(step, "")
            self.nodes.append(Node(number[step], op.__name__, layer, kinds.get(layer, ""), inputs, tuple(y.shape[1:]),
                                   weights, sum(a.size for a in new), _macs(op.__name__, args, y),
                                   _field(fields[step])))  # fmt: skip
        self.output = number[run.output]
        if self.classifies:
            last = self.nodes[self.output]
            self.nodes.append(Node(len(self.nodes), "softmax", "", "", (last.id,), last.shape, {}, 0, 0, None))


class Look:
    """The values of all nodes for one image x (C,H,W), as the model takes it. Changes nothing in the model."""

    def __init__(self, model: Module, graph: Graph, x: Array):
        if x.shape != graph.shape:
            raise ValueError(f"the image has shape {x.shape}, but the net takes {graph.shape}")
        self.graph, self._gradients = graph, {}                    # type: ignore[var-annotated]
        dtype = next((p.dtype for p in model.parameters()), np.float32)
        with constant_parameters(model), np.errstate(all="ignore"):
            self.run = Run(model, Tensor(np.ascontiguousarray(x[None], dtype), True), gradients=True)
        if len(self.run.steps) <= max(graph.steps, default=-1) or self.run.steps[graph.steps[-1]][3].shape[1:] != (
                graph.nodes[len(graph.steps)].shape):  # fmt: skip
            raise ValueError("the net computes other ops for this image than for its shape alone, so it has no one "
                             "graph: decide in its forward by shapes")
        self.scores = self.run.y.numpy().reshape(-1)
        self.probabilities = softmax(Tensor(self.run.y.numpy())).numpy().reshape(-1) if graph.classifies else None

    def value(self, node: int) -> Array:
        """The output of a node, with its batch axis."""
        if node == 0:
            return self.run.x.numpy()
        if node > len(self.graph.steps):
            assert self.probabilities is not None
            return self.probabilities[None]
        return self.run.steps[self.graph.steps[node - 1]][3].numpy()

    def args(self, node: int) -> list[Any]:
        """The arrays of a node's op: Tensors, arrays, numbers and None."""
        return [self.run.y] if node > len(self.graph.steps) else self.run.steps[self.graph.steps[node - 1]][1]

    def hyper(self, node: int) -> dict[str, Any]:
        """The hyper-parameters that a node's op was called with."""
        return {} if node > len(self.graph.steps) else self.run.steps[self.graph.steps[node - 1]][2]

    def cell(self, node: int, at: tuple[int, ...]) -> Cell:
        """One number of a node from 1 on, explained; `at` without the batch axis."""
        op: Any = softmax if node > len(self.graph.steps) else self.run.steps[self.graph.steps[node - 1]][0]
        args = [a.numpy() if isinstance(a, Tensor) else a for a in self.args(node)]
        with np.errstate(all="ignore"):
            return explain(op, args, self.hyper(node), self.value(node), (0, *at))

    def gradient(self, node: int, k: int) -> Array:
        """∂S_k/∂(the output of a node), of its shape; S_k is number k of the net's answer, before the softmax."""
        if k not in self._gradients:
            self._gradients = {k: self._backward(k)}               # those of one class are kept
        found = self._gradients[k].get(node)
        return np.zeros_like(self.value(node)) if found is None else found

    def passed_back(self, node: int, dy: Array) -> list[tuple[int, Array]]:
        """What a node's op passes back: (the node that it goes to, its gradient) for each of its inputs."""
        step = self.graph.steps[node - 1]
        y, number = self.run.steps[step][3], self.run.number
        place = {-1: 0} | {s: i + 1 for i, s in enumerate(self.graph.steps)}
        with conv_algorithm("im2col"), np.errstate(all="ignore"):  # exactly 0 outside the receptive field
            return [(place[number[id(a)]], vjp(dy)) for a, vjp in zip(y._parents, y._vjps)
                    if vjp is not None and number.get(id(a)) in place]  # fmt: skip

    def _backward(self, k: int) -> dict[int, Array]:
        """Reverse mode over the recorded ops, as Tensor.backward, which keeps the gradients of leaves only."""
        start = np.zeros(self.run.y.shape, self.run.y.dtype)
        start.reshape(-1)[k] = 1
        found = {self.graph.output: start}
        for node in range(len(self.graph.steps), 0, -1):
            if node in found:
                for source, dx in self.passed_back(node, found[node]):
                    found[source] = found[source] + dx if source in found else np.asarray(dx)
        return found


def _used(run: Run) -> list[int]:
    """The steps that the answer depends on, in order."""
    used = {run.output}
    for step in range(run.output, -1, -1):
        if step in used:
            used.update(run.number[id(a)] for a in run.steps[step][1] if id(a) in run.number)
    return sorted(used - {-1})


def _macs(op: str, args: list[Any], y: Any) -> int:
    """Multiply-adds for one image, as in `inspect.summary`: of convolutions and matrix products."""
    if op == "conv_transpose2d":
        return math.prod(args[0].shape[1:]) * math.prod(args[1].shape[1:])
    if op.startswith(("conv1d", "conv2d")):
        return math.prod(y.shape[1:]) * math.prod(args[1].shape[1:])
    return math.prod(y.shape[1:]) * args[0].shape[-1] if op in ("linear", "matmul") else 0


def _field(fields: Any) -> tuple[tuple[int, int, float], tuple[int, int, float]] | None:
    if fields is None:
        return None
    down, across = ((*f.pixels, f.jump) for f in fields)
    return down, across
