"""Tracing a net: its own forward runs in eval mode, and every op that depends on the images becomes a Node.

An op whose arguments are all constants gives a constant. Only ops are seen: a value that a net computes from the images
in plain Python or NumPy, or a number of images that it was built for, would be a constant in the plan, and wrong for
other images. So the net runs twice, on two images and on three other ones. What differs between the two runs by the
number of images alone is a Batch; any other difference is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from minicnn.nn import Module, watch
from minicnn.plan.graph import Batch, Graph, Node, Rows, Value
from minicnn.recording import no_grad, watch_ops
from minicnn.tensor import Tensor

IMAGES = (2, 3)


class CompileError(ValueError):
    """A net that can't be compiled: the sentence names the layer and the op."""


def trace(model: Module, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Graph, np.ndarray, np.ndarray]:
    """(the graph of the model, two random images of `shape` (C,H,W), the model's answer for them)."""
    rng = np.random.default_rng(0)
    with model.evaluating():
        runs = [Run(model, Tensor(rng.standard_normal((N, *shape)).astype(dtype))) for N in IMAGES]
    graph = _compared(*runs)
    graph.drop_unused()
    return graph, runs[0].x.numpy(), np.array(runs[0].y.numpy())


class Run:
    """The ops of one forward pass that depend on x, in the order in which they computed.

    steps: (op, arguments, hyper-parameters, y) of each   number: {id of a Tensor: the step that computed it; −1 for x}
    layer: {step: the path of its module}   y, output: the model's answer, and its step
    With `gradients` the ops record themselves, and each y knows its gradient functions.
    """

    def __init__(self, model: Module, x: Tensor, gradients: bool = False):
        self.x = x
        self.steps: list[tuple[Callable[..., Any], list[Any], dict[str, Any], Tensor]] = []
        self.number = {id(x): -1}
        self.layer: dict[int, str] = {}
        self._paths: dict[int, str] = {}
        for name, module in model.named_modules():
            self._paths.setdefault(id(module), name)
        with nullcontext() if gradients else no_grad(), watch_ops(self._note), watch(self._name):
            y = model(x)
        if not isinstance(y, Tensor) or id(y) not in self.number:
            raise CompileError(f"the net's output, a {type(y).__name__}, does not depend on the images through ops: "
                               "compute it from the images with minicnn.ops")
        self.y, self.output = y, self.number[id(y)]

    def _note(self, op: Callable[..., Any], args: Any, hyper: dict[str, Any], y: Tensor) -> None:
        if any(id(a) in self.number for a in args):
            self.number[id(y)] = len(self.steps)
            self.steps.append((op, list(args), dict(hyper), y))    # which keeps all Tensors, and so their ids

    def _name(self, module: Module, inputs: Any, output: Any) -> None:
        """Name the steps between a module's inputs and its output, unless a module inside it has named them."""
        seen = {self.number[id(t)] for t in inputs if id(t) in self.number} | {-1}
        pending = [self.number.get(id(output), -1)]
        while pending:
            i = pending.pop()
            if i not in seen:
                seen.add(i)
                if i not in self.layer:
                    self.layer[i] = self._paths.get(id(module), "")
                    pending += [self.number[id(a)] for a in self.steps[i][1] if id(a) in self.number]

    def where(self, i: int) -> str:
        """The op of step i and its layer, for an error."""
        layer = self.layer.get(i, "")
        return f"the op {self.steps[i][0].__name__!r}" + (f" in layer {layer!r}" if layer else "")


def _compared(run: Run, again: Run) -> Graph:
    """The graph that both runs are cases of."""
    values = {-1: Value(tuple(_size(a, b) for a, b in zip(run.x.shape, again.x.shape)))}
    nodes = []
    for i, (op, args, hyper, y) in enumerate(run.steps):
        differs = CompileError(f"{run.where(i)} is computed otherwise for other images: the net's values depend on the "
                               "images or on their number, but not through ops alone; replace .data, NumPy and "
                               "numbers of images in its forward by ops")  # fmt: skip
        if i >= len(again.steps):
            raise differs
        op2, args2, hyper2, y2 = again.steps[i]
        if op2 is not op or len(args) != len(args2) or hyper.keys() != hyper2.keys() or y.ndim != y2.ndim:
            raise differs
        try:
            both = [_argument(run, again, values, a, b) for a, b in zip(args, args2)]
            options = {key: _same(hyper[key], hyper2[key]) for key in hyper}
            values[i] = Value(tuple(_size(a, b) for a, b in zip(y.shape, y2.shape)))
        except _DiffersError:
            raise differs from None
        nodes.append(Node(op.__name__, op, both, options, values[i], run.layer.get(i, "")))
    if len(run.steps) != len(again.steps) or run.output != again.output:
        raise CompileError("the net computes other ops for other images: decide in its forward by ops alone")
    out = values[run.output]
    if out.shape[:1] != (Batch(),):
        raise CompileError(f"for {IMAGES[0]} images the net's output has shape {run.y.shape}: it must have one "
                           "row for each image")
    return Graph(values[-1], out, nodes)


class _DiffersError(Exception):
    pass


def _argument(run, again, values, a, b):
    if (id(a) in run.number) != (id(b) in again.number):
        raise _DiffersError
    if id(a) in run.number:
        if run.number[id(a)] != again.number[id(b)]:
            raise _DiffersError
        return values[run.number[id(a)]]
    a, b = (t.data if isinstance(t, Tensor) else t for t in (a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return a.copy()                                        # the model's own arrays may change later
        if (a.ndim and (len(a), len(b)) == IMAGES and a.shape[1:] == b.shape[1:]
                and all((row == a[0]).all() for row in (*a, *b))):  # fmt: skip
            return Rows(a[0].copy())
        raise _DiffersError
    return _same(a, b)


def _same(a, b):
    """What two hyper-parameters are cases of."""
    if type(a) is not type(b):
        raise _DiffersError
    if isinstance(a, (tuple, list)) and len(a) == len(b):
        return type(a)(_same(i, j) for i, j in zip(a, b))
    if isinstance(a, slice):
        return slice(*(_same(i, j) for i, j in zip((a.start, a.stop, a.step), (b.start, b.stop, b.step))))
    if isinstance(a, np.ndarray):
        if np.array_equal(a, b):
            return a.copy()
        raise _DiffersError
    if isinstance(a, int) and not isinstance(a, bool):
        return _size(a, b)
    if a is not b and a != b:
        raise _DiffersError
    return a


def _size(a, b):
    if a == b:
        return a
    factor, rest = divmod(a, IMAGES[0])
    if rest or b != factor * IMAGES[1]:
        raise _DiffersError
    return Batch(factor)
