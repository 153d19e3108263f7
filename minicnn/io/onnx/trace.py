"""Writing down what a net does: its forward runs on two images, and every op that it calls becomes ONNX nodes.

What an op makes of constants alone is a constant itself, and computed here. What depends on the image becomes nodes.
Something may depend on the image or the size of the batch without passing through ops: `len(x)`, or `x.data` in a
layer's Python. So the net runs twice, on a batch of two images and on one of three others: what is not the same both
times can't be written down.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from minicnn import devices
from minicnn.io.onnx import arithmetic, layers, shapes, windows  # noqa: F401 - they enter their translations
from minicnn.io.onnx.graph import TRANSLATIONS, Graph, Node, Value
from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.recording import no_grad, watch_ops
from minicnn.tensor import Tensor

TRAINING_ONLY = ("batch_norm", "dropout", "dropout2d", "stochastic_depth", "cross_entropy", "mse_loss",
                 "binary_cross_entropy_with_logits")  # fmt: skip
"""Ops of the losses and of training: they use the labels, chance, or the batch's own statistics."""

BATCHES = (2, 3)


def trace(model: Module, shape: tuple[int, ...]) -> Graph:
    """What `model` computes, in eval mode, from images of `shape` (C,H,W): from "image" (N,C,H,W) to "logits" (N,…).

    ValueError names the layer and the op that has no counterpart in ONNX, or that depends on more than the image.
    """
    modes = [(m, m.training) for _, m in model.named_modules()]
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device
    if parameter is not None and parameter.dtype != np.float32:
        raise ValueError(f"the net's parameters are {parameter.dtype}, and an ONNX file is written in float32: "
                         "net.astype('float32') first")
    rng = np.random.default_rng(0)
    try:
        model.eval()
        graph, again = (write_down(model, Tensor(rng.standard_normal((N, *shape)).astype(np.float32), device=device))
                        for N in BATCHES)  # fmt: skip
    finally:
        for module, mode in modes:
            module.training = mode
    if differs := graph.differs(again):
        raise ValueError(f"{differs.rpartition('/')[0] or 'the net'} can't be exported: what it computes with depends "
                         "on the images or their number, but not through ops alone; replace .data and NumPy in its "
                         "forward by ops")
    N = graph.input.shape[0]
    if graph.output.shape[:1] != (N,):
        raise ValueError(f"the net can't be exported: for {N} images its output has shape {graph.output.shape}, but "
                         "one row an image is needed")
    return graph


def write_down(model: Module, x: Tensor) -> Graph:
    """The ops of model(x), as a graph from "image" to "logits"."""
    graph, parameters = Graph(input=Value("image", x.shape)), _names(model)
    values = {id(x): graph.input}
    alive: list[object] = [x]                              # an id is worth nothing once its object is gone
    made: dict[str, Node] = {}                             # by the value that the node computes
    paths: dict[int, str] = {}
    for name, module in model.named_modules():
        paths.setdefault(id(module), name)

    def write(op, args, hyper, y):
        if not any(id(a) in values for a in args):
            return                                         # it will be the same for every image
        given = [_value(graph, values, parameters, a) for a in args]
        done = len(graph.nodes)
        values[id(y)] = _translate(op, graph, given, hyper)
        if values[id(y)].shape != y.shape:
            raise AssertionError(f"{op.__name__} to ONNX: shape {values[id(y)].shape}, but the op's is {y.shape}")
        made.update({node.output: node for node in graph.nodes[done:]})
        alive.append(y)

    def name_nodes(module, inputs, output):
        """The nodes between a module's inputs and its output that no module inside it has claimed are its own."""
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


def _translate(op: Callable, graph: Graph, given: list[Value | None], hyper: dict) -> Value:
    name = op.__name__
    if name in TRAINING_ONLY:
        raise ValueError(f"the op {name!r} works in training alone and has no place in an exported net: leave it out "
                         "of forward in eval mode")
    if name not in TRANSLATIONS:
        raise ValueError(f"the op {name!r} has no counterpart in ONNX here: those that have one are "
                         f"{', '.join(sorted(TRANSLATIONS))}")
    bound = inspect.signature(op).bind(*given, **hyper)    # with the op's own defaults
    bound.apply_defaults()
    return TRANSLATIONS[name](graph, *bound.args, **bound.kwargs)


def _value(graph, values, parameters, argument) -> Value | None:
    if argument is None:
        return None
    if id(argument) in values:
        return values[id(argument)]
    if isinstance(argument, Tensor):
        return graph.constant(argument.numpy(), name=parameters.get(id(argument), ""))
    home = devices.find(argument)
    return graph.constant(home.to_numpy(argument)) if home else graph.constant(argument, np.float32)


def _names(model) -> dict[int, str]:
    """{id of a parameter or buffer: its name}; one that two layers share has its first name."""
    found: dict[int, str] = {}
    for path, module in model.named_modules():
        for name, member in module.members():
            if isinstance(member, (Parameter, Buffer)):
                found.setdefault(id(member), f"{path}.{name}".lstrip("."))
    return found


def _name_values(graph: Graph) -> None:
    """Each node gets a name of its own, that of its layer, and its output the same."""
    taken: dict[str, int] = {}
    new = {}
    for node in graph.nodes:
        name = node.name or node.op
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        new[node.output] = "logits" if node.output == graph.output.name else node.name
    graph.rename(new)
