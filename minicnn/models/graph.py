"""A net that is data: layers, arrays, and a list of steps, each of which calls a layer or an op.

So is a net that was read from an ONNX file: nobody has written a class for it. Its description is plain JSON, which a
model file carries, and nothing of it is run but the layers of minicnn.nn and the ops of minicnn.ops that it names:

    {"inputs": ["x"], "outputs": ["x3"],
     "layers": {"conv1": ["Conv2d", {"in_channels": 3, "out_channels": 8, "kernel_size": [3, 3]}]},
     "arrays": {"shift": [[8, 1, 1], "float32", true]},
     "steps": [{"to": "x1", "layer": "conv1", "of": ["x"]},
               {"to": "x2", "op": "relu", "of": ["x1"]},
               {"to": "x3", "op": "add", "of": ["x2", "shift"]}]}

arrays: shape, dtype, and whether it is trained (a Parameter) or not (a Buffer).   of: names of values and arrays,
numbers, or null for an optional array.   with: an op's settings; in them {"N": 2} is twice the number of images, and in
the index of getitem {"slice": [0, 4, null]} is 0:4 and a list is an array of places.   "input": [3, 224, 224], the
images that the net is for, and "batch": 1, where it takes so many at a time, may be left out.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from minicnn import nn, ops
from minicnn.names import MAX_CLASSES, short, unknown
from minicnn.nn import Buffer, Module, Parameter, init
from minicnn.tensor import Tensor

NAME = "graph"
"""What models.build calls such a net: models.build("graph", graph=description)."""

MAX_STEPS, MAX_NAME, MAX_NUMBERS = 20_000, 200, 4096
"""The most steps, the longest name, and the most numbers in one setting."""
MAX_VALUES = 2**28
"""The largest array that one image may need: 1 GB of float32."""
NAMED = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")

ODD = (TypeError, IndexError, OverflowError, AttributeError, ZeroDivisionError)
"""What layers and ops may raise besides ValueError where a description gives them settings that no net has."""

NO_LAYERS = ("Sequential", "CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss")
NO_OPS = ("dropout", "dropout2d", "stochastic_depth", "cross_entropy", "mse_loss", "binary_cross_entropy_with_logits")
"""Containers, losses, and ops that need random masks: no step calls them."""


@cache
def layer_kinds() -> dict[str, type[Module]]:
    """{name: class} of the layers that a description may name."""
    found = {name: getattr(nn, name) for name in nn.__all__ if name not in NO_LAYERS}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Module)
            and kind is not Module}  # fmt: skip


@cache
def op_names() -> dict[str, Callable[..., Any]]:
    """{name: op} of the ops that a description may name."""
    return {name: getattr(ops, name) for name in ops.__all__ if name not in NO_OPS}


class Graph(Module):
    """The net that a description (see the module's docstring) describes.   images (N,…) → outputs

    num_classes: with another number than the description's, the last Linear or Conv2d gets that many outputs.
    `description` is what a model file carries; `layers` and `arrays` hold the weights, under their names.
    """

    def __init__(self, graph: dict[str, Any], num_classes: int | None = None, in_channels: int | None = None):
        check(graph)
        if "input" in graph and in_channels not in (None, input_of(graph)[0]):
            raise ValueError(f"in_channels (={short(in_channels)}) must be {input_of(graph)[0]}, that of this graph")
        self.description = graph if num_classes is None else with_classes(graph, num_classes)
        self.inputs, self.outputs = tuple(graph["inputs"]), tuple(graph["outputs"])
        self.layers = {name: _layer(name, *made) for name, made in self.description["layers"].items()}
        self.arrays = {name: _array(*made) for name, made in graph["arrays"].items()}
        self.steps = tuple(graph["steps"])
        self._last = _last_uses(graph)
        self._macs = self._images = 0

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """The layers and arrays, under their own names."""
        yield from self.layers.items()
        yield from self.arrays.items()

    def forward(self, *inputs: Tensor) -> Any:
        """The output; a tuple where the description names several."""
        B = self.description.get("batch", 0)
        if B and inputs and len(inputs[0]) != B:           # the net is for B images at a time
            if len(inputs[0]) % B or len(self.outputs) > 1:
                raise ValueError(f"this graph takes {B} images at a time, and not {len(inputs[0])}")
            parts = [tuple(x[i : i + B] for x in inputs) for i in range(0, len(inputs[0]), B)]
            return ops.concat(*(self._run(*part) for part in parts), axis=0)
        return self._run(*inputs)

    def _run(self, *inputs: Tensor) -> Any:
        if len(inputs) != len(self.inputs):
            raise ValueError(f"this graph takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), not "
                             f"{len(inputs)}")
        values: dict[str, Any] = {**self.arrays, **dict(zip(self.inputs, inputs))}
        N = len(inputs[0]) if inputs and inputs[0].ndim else 1
        self._macs, self._images = 0, N
        for step, last in zip(self.steps, self._last):
            values[step["to"]] = self._do(step, values, N)
            for name in last:
                del values[name]
        found = tuple(values[name] for name in self.outputs)
        return found if len(found) != 1 else found[0]

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """The multiply-adds of the matrix products that no layer does, for one image of the last call."""
        return self._macs // max(1, self._images)

    def _do(self, step: dict[str, Any], values: dict[str, Any], N: int) -> Tensor:
        args = [values[a] if isinstance(a, str) else a for a in step["of"]]
        try:
            if "layer" in step:
                return self.layers[step["layer"]](*args)
            y = op_names()[step["op"]](*args, **read_settings(step["op"], step.get("with", {}), N))
            if step["op"] == "matmul":
                self._macs += y.size * args[0].shape[-1]
        except ODD as problem:
            raise ValueError(f"{step['to']} = {step.get('op', step.get('layer'))}(…): {problem}") from None
        if y.device == "meta" and y.size > MAX_VALUES:
            raise ValueError(f"{step['to']} = {step['op']}(…) has {y.size:,} values, and at most {MAX_VALUES:,} are "
                             "computed")
        return y


# --------------------------------------------------------------------------------------------------- reading the data


def read_settings(op: str, settings: dict[str, Any], N: int) -> dict[str, Any]:
    """An op's settings from JSON, for N images: tuples for lists, slices and index arrays for getitem."""
    read = _index_part if op == "getitem" else _plain
    return {name: tuple(read(v, N) for v in value) if isinstance(value, list) else _plain(value, N)
            for name, value in settings.items()}


def _plain(value: Any, N: int) -> Any:
    if isinstance(value, dict):
        return value["N"] * N
    return tuple(_plain(v, N) for v in value) if isinstance(value, list) else value


def _index_part(value: Any, N: int) -> Any:
    if isinstance(value, dict):
        return slice(*value["slice"]) if "slice" in value else value["N"] * N
    return np.array(value, np.int64) if isinstance(value, list) else value


def _layer(name: str, kind: str, settings: dict[str, Any]) -> Module:
    made = layer_kinds()[kind]
    given = {key: _plain(value, 1) for key, value in settings.items()}
    try:
        inspect.signature(made).bind(**given)
        return made(**given)
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"the layer {short(name)} can't be a {kind}: {problem}") from None


def _array(shape: list[int], dtype: str, trained: bool) -> Parameter | Buffer:
    zeros = init.constant(tuple(shape), 0)
    return Buffer(zeros.astype(dtype)) if not trained else Parameter(zeros)


def _last_uses(graph: dict[str, Any]) -> list[list[str]]:
    """For each step the values that no later step reads."""
    needed, found = set(graph["outputs"]), []
    for step in reversed(graph["steps"]):
        names = {step["to"], *(a for a in step["of"] if isinstance(a, str))} - needed - graph["arrays"].keys()
        found.append(sorted(names))
        needed |= names
    return found[::-1]


def with_classes(graph: dict[str, Any], count: int) -> dict[str, Any]:
    """The description with `count` outputs of its last Linear or Conv2d. ValueError where it has none."""
    if type(count) is not int or not 1 <= count <= MAX_CLASSES:
        raise ValueError(f"num_classes (={short(count)}) must be a whole number from 1 to {MAX_CLASSES:,}")
    for step in reversed(graph["steps"]):
        kind, settings = graph["layers"].get(step.get("layer"), ("", {}))
        wanted = {"Linear": "out_features", "Conv2d": "out_channels"}.get(kind)
        if wanted:
            if settings[wanted] == count:
                return graph
            layers = {**graph["layers"], step["layer"]: [kind, {**settings, wanted: count}]}
            return {**graph, "layers": layers}
    raise ValueError(f"this graph has no Linear and no Conv2d layer, so it can't be built for {count} classes")


def input_of(graph: Any) -> tuple[int, ...]:
    """(C,H,W) of the images that a description says it is for. ValueError where it does not."""
    size = graph.get("input") if isinstance(graph, dict) else None
    if not (isinstance(size, list) and len(size) == 3 and all(type(n) is int and 0 < n < 2**20 for n in size)):
        raise ValueError(f"the graph's input (={short(size)}) must be [channels, height, width] of an image")
    return tuple(size)


# -------------------------------------------------------------------------------------------------------------- checks


def check(graph: Any) -> None:
    """ValueError, one sentence, unless `graph` is a description: known layers and ops, each value made before its use.

    Sizes and settings are checked by the layers and ops themselves, when the net is built and runs on "meta".
    """
    if not isinstance(graph, dict) or not {"inputs", "outputs", "layers", "arrays", "steps"} <= graph.keys():
        raise ValueError("a graph must have inputs, outputs, layers, arrays and steps")
    steps = graph["steps"]
    if not isinstance(steps, list) or len(steps) > MAX_STEPS:
        raise ValueError(f"a graph's steps must be a list, of at most {MAX_STEPS:,}")
    known = _names("inputs", graph["inputs"]) | _check_arrays(graph["arrays"])
    _check_layers(graph["layers"], graph["arrays"])
    for step in steps:
        _check_step(step, known, graph["layers"])
        known.add(step["to"])
    for name in _names("outputs", graph["outputs"]):
        if name not in known:
            raise ValueError(f"the output {short(name)} is made by no step")
    if "batch" in graph and not (type(graph["batch"]) is int and 1 <= graph["batch"] < 2**20):
        raise ValueError(f"the graph's batch (={short(graph['batch'])}) must be a number of images")
    if not graph["outputs"]:
        raise ValueError("a graph must have an output")


def _names(what: str, names: Any) -> set[str]:
    if not isinstance(names, list) or len(names) > 1000 or not all(map(_is_name, names)):
        raise ValueError(f"a graph's {what} must be a list of names of letters, digits, _ and dots")
    return set(names)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= MAX_NAME and NAMED.fullmatch(name) is not None


def _check_arrays(arrays: Any) -> set[str]:
    if not isinstance(arrays, dict) or not all(map(_is_name, arrays)):
        raise ValueError("a graph's arrays must be named with letters, digits, _ and dots")
    for name, made in arrays.items():
        fits = (isinstance(made, list) and len(made) == 3 and made[1] in ("float32", "int64")
                and type(made[2]) is bool and isinstance(made[0], list) and len(made[0]) <= 8
                and all(type(n) is int and n >= 0 for n in made[0]) and math.prod(made[0]) <= 2**40)
        if not fits:
            raise ValueError(f"the array {short(name)} must be [shape, \"float32\" or \"int64\", true or false]")
        if made[1] == "int64" and (made[2] or math.prod(made[0]) > MAX_NUMBERS**2):
            raise ValueError(f"the array {short(name)} of integers can't be trained, and may have {MAX_NUMBERS**2:,} "
                             "values")
    return set(arrays)


def _check_layers(layers: Any, arrays: dict[str, Any]) -> None:
    if not isinstance(layers, dict) or not all(map(_is_name, layers)) or len(layers) > MAX_STEPS:
        raise ValueError("a graph's layers must be named with letters, digits, _ and dots")
    for name, made in layers.items():
        if not (isinstance(made, list) and len(made) == 2 and isinstance(made[0], str) and isinstance(made[1], dict)):
            raise ValueError(f"the layer {short(name)} must be [kind, settings]")
        if made[0] not in layer_kinds():
            raise ValueError(unknown("kind of layer", short(made[0]), layer_kinds()))
        if name in arrays:
            raise ValueError(f"{short(name)} is the name of a layer and of an array")
        _check_settings(f"the layer {short(name)}", made[1])


def _check_step(step: Any, known: set[str], layers: dict[str, Any]) -> None:
    if not (isinstance(step, dict) and _is_name(step.get("to")) and isinstance(step.get("of"), list)
            and ("layer" in step) != ("op" in step)):
        raise ValueError("a step of a graph must have a name to store its value under, what it reads (of), and a layer "
                         "or an op")
    where = f"the step {short(step['to'])}"
    if step["to"] in known:
        raise ValueError(f"{where} makes a value that is there already")
    for a in step["of"]:
        number = type(a) in (int, float) and abs(a) < 1e38
        if not (a is None or number or (isinstance(a, str) and a in known)):
            raise ValueError(f"{where} reads {short(a)}, which no earlier step makes")
    if "layer" in step:
        if not isinstance(step["layer"], str) or step["layer"] not in layers:
            raise ValueError(f"{where} calls {short(step['layer'])}, which is no layer of the graph")
        if len(step["of"]) != 1 or not isinstance(step["of"][0], str):
            raise ValueError(f"{where} must give its layer one array")
    elif not isinstance(step["op"], str) or step["op"] not in op_names():
        raise ValueError(f"{where}: {unknown('op', short(step['op']), op_names())}")
    else:
        _check_settings(where, step.get("with", {}))


def _check_settings(where: str, settings: Any) -> None:
    if not isinstance(settings, dict) or not all(isinstance(key, str) and key.isidentifier() for key in settings):
        raise ValueError(f"{where} must have settings by name")
    for key, value in settings.items():
        if not _is_setting(value):
            raise ValueError(f"{where}: {short(key)} (={short(value)}) must be a number, a word, a switch, or a short "
                             "list of such")


def _is_setting(value: Any, depth: int = 0) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, (int, float)):
        return isinstance(value, float) or abs(value) < 2**62
    if isinstance(value, str):
        return len(value) <= 40
    if isinstance(value, dict):
        if value.keys() == {"slice"}:
            part = value["slice"]
            return isinstance(part, list) and len(part) == 3 and all(
                v is None or (type(v) is int and abs(v) < 2**62) for v in part)
        return value.keys() == {"N"} and type(value["N"]) is int and 1 <= value["N"] < 2**20
    return (isinstance(value, list) and len(value) <= MAX_NUMBERS and depth < 4
            and all(_is_setting(v, depth + 1) for v in value))
