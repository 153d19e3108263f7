"""Tracing a net: its forward runs, and every op that depends on the image becomes ONNX nodes.

An op whose inputs are all constants gives a constant, which is computed here. A value may also depend on the image or
on the size of the batch without passing through ops: `len(x)`, or `x.data` in a layer's Python. So the net runs twice,
on two images and on three other ones, and is refused where the two graphs differ.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import arguments, devices
from minicnn.io.onnx.graph import Graph, Node, Value
from minicnn.io.onnx.handlers import HANDLERS, TRAINING_ONLY
from minicnn.names import short
from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.recording import no_grad, watch_ops
from minicnn.tensor import Tensor

BATCHES = (2, 3)


def trace(model: Module, shape: tuple[int, ...]) -> Graph:
    """The graph of `model` in eval mode, from "image" (N,C,H,W) to "logits" (N,…), for images of `shape` (C,H,W).

    ValueError names the layer and the op that has no handler, or the layer whose values do not come from ops alone.
    """
    arguments.instance("model", model, Module)
    if not (isinstance(shape, (tuple, list)) and len(shape) == 3):
        raise ValueError(f"shape (={short(shape)}) must be (C, H, W) of one image, such as (3, 224, 224)")
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device
    if parameter is not None and parameter.dtype != np.float32:
        raise ValueError(f"the net's parameters are {parameter.dtype}, but ONNX files are written in float32: call "
                         "net.astype('float32') first")
    rng = np.random.default_rng(0)
    with model.evaluating():
        graph, again = (record(model, Tensor(rng.standard_normal((N, *shape)).astype(np.float32), device=device))
                        for N in BATCHES)  # fmt: skip
    if differs := graph.differs(again):
        raise ValueError(f"{differs.rpartition('/')[0] or 'the net'} can't be exported: its values depend on the "
                         "images or their number, but not through ops alone; replace .data and NumPy in its forward by "
                         "ops")
    N = graph.input.shape[0]
    if graph.output.shape[:1] != (N,):
        raise ValueError(f"the net can't be exported: for {N} images its output has shape {graph.output.shape}, but "
                         "it must have one row for each image")
    return graph


def record(model: Module, x: Tensor) -> Graph:
    """The ops of model(x), as a graph from "image" to "logits"."""
    graph, parameters = Graph(input=Value("image", x.shape)), _member_names(model)
    values = {id(x): graph.input}
    alive: list[object] = [x]                              # keeps ids unique: an id is reused once its object is freed
    made: dict[str, Node] = {}                             # by the name of its output
    paths: dict[int, str] = {}
    for name, module in model.named_modules():
        paths.setdefault(id(module), name)

    def write(op: Callable[..., Any], args: Any, hyper: dict[str, Any], y: Any) -> None:
        if not any(id(a) in values for a in args):
            return                                         # a constant: it does not depend on the image
        given = [_value(graph, values, parameters, a) for a in args]
        done = len(graph.nodes)
        values[id(y)] = _handle(op, graph, given, hyper)
        if values[id(y)].shape != y.shape:
            raise AssertionError(f"{op.__name__} to ONNX: shape {values[id(y)].shape}, but the op's is {y.shape}")
        made.update({node.output: node for node in graph.nodes[done:]})
        alive.append(y)

    def name_nodes(module: Module, inputs: Any, output: Any) -> None:
        """Name the nodes between a module's inputs and its output, unless a module inside it has named them."""
        if id(output) not in values:
            return
        seen = {values[id(t)].name for t in inputs if id(t) in values}
        pending = [values[id(output)].name]
        while pending:
            value = pending.pop()
            if value in made and value not in seen:
                node = made[value]
                seen.add(value)
                pending += node.inputs
                node.name = node.name or f"{paths.get(id(module), '')}/{node.op}".lstrip("/")

    with no_grad(), watch_ops(write), watch(name_nodes):
        y = model(x)
    if not isinstance(y, Tensor) or id(y) not in values:
        raise ValueError(f"the net can't be exported: its output ({type(y).__name__}) does not depend on the image "
                         "through ops")
    graph.output = values[id(y)]
    _name_values(graph)
    return graph


def _handle(op: Callable[..., Any], graph: Graph, given: list[Value | None], hyper: dict[str, Any]) -> Value:
    name = op.__name__
    if name in TRAINING_ONLY:
        raise ValueError(f"the op {name!r} is for training only and can't be exported: leave it out of forward in eval "
                         "mode")
    if name not in HANDLERS:
        raise ValueError(f"the op {name!r} has no ONNX handler: add one to minicnn.io.onnx.HANDLERS, or use the ops "
                         f"that have one, {', '.join(sorted(HANDLERS))}")
    bound = inspect.signature(op).bind(*given, **hyper)    # with the op's own defaults
    bound.apply_defaults()
    return HANDLERS[name](graph, *bound.args, **bound.kwargs)


def _value(graph: Graph, values: dict[int, Value], parameters: dict[int, str], argument: Any) -> Value | None:
    if argument is None:
        return None
    if id(argument) in values:
        return values[id(argument)]
    if isinstance(argument, Tensor):
        return graph.constant(argument.numpy(), name=parameters.get(id(argument), ""))
    device = devices.find(argument)
    return graph.constant(device.to_numpy(argument)) if device else graph.constant(argument, np.float32)


def _member_names(model: Module) -> dict[int, str]:
    """{id of a parameter or buffer: its name}; one that two layers share keeps its first name."""
    found: dict[int, str] = {}
    for path, module in model.named_modules():
        for name, member in module.members():
            if isinstance(member, (Parameter, Buffer)):
                found.setdefault(id(member), f"{path}.{name}".lstrip("."))
    return found


def _name_values(graph: Graph) -> None:
    """Give each node a unique name, made from that of its layer, and its output the same name."""
    taken: dict[str, int] = {}
    new = {}
    for node in graph.nodes:
        name = node.name or node.op
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        new[node.output] = "logits" if node.output == graph.output.name else node.name
    graph.rename(new)
