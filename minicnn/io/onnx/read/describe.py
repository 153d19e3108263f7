"""From calls of ops to the description of a models.graph.Graph, and its weights.

A call of an op that has a layer becomes that layer, with the arrays that it reads as its parameters. Which arrays are
trained: those that a layer holds as parameters, and float arrays of more than one value that are added or multiplied,
or are a factor of a matrix product. All other arrays are Buffers: the statistics of batch norm, and what is subtracted
or divided by (the mean and the deviation of a normalisation). One value alone is a number in its step.

A layer has the name of its weights without its end ("conv1.weight", "conv1_w_0" → conv1), where the file has names, or
that of its node, or its kind with a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minicnn import nn
from minicnn.io.onnx.read import norms
from minicnn.io.onnx.read.build import Call, Value
from minicnn.models.graph import MAX_NAME
from minicnn.models.graph_code import OPS

PLAIN = {op: layer for layer, op in OPS.items()}
"""Ops of one array, and their layers, whose arguments have the same names as the op's settings."""

TRAINED = ("add", "multiply", "matmul", "conv1d", "conv2d", "conv_transpose2d", "linear", "batch_norm",
           "batch_norm_inference", "layer_norm", "group_norm", "instance_norm", "prelu")  # fmt: skip
"""Ops whose float arrays are trained, of batch_norm_inference the first two."""

ENDS = re.compile(r"[._/]?(?:weight|kernel|filter|gamma|scale|slope|[ws])(?:_\d+)?(?::0)?$", re.IGNORECASE)
NUMBERED = re.compile(r"(n|node|op)_?\d*|(node_)?[A-Z][A-Za-z]+(_\d+)?|node_[a-z0-9_]+")
"""Names that programs give to nodes without one: n12, Relu_12, node_relu_3."""
Arrays = dict[str, np.ndarray]


def describe(inputs: Iterable[Value], calls: list[Call], outputs: list[Value]) -> tuple[dict[str, Any], Arrays]:
    """(the description, the state of its net: {name: array})"""
    made = _Description(_common(calls))
    names = {id(v): made.input(v) for v in inputs}
    for call in calls:
        made.step(call, names)
    ends = [names[id(v)] if id(v) in names else made.array(v, trained=False) for v in outputs]
    graph = {"inputs": made.inputs, "outputs": ends, "layers": made.layers, "arrays": made.arrays, "steps": made.steps}
    return graph, made.state


class _Description:
    def __init__(self, common: str) -> None:
        self.common = common
        self.inputs: list[str] = []
        self.layers: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self.steps: list[dict[str, Any]] = []
        self.state: Arrays = {}
        self.taken: set[str] = set()
        self.known: dict[Any, str] = {}

    def input(self, value: Value) -> str:
        name = "x" if not self.inputs else self._unique(_clean(value.name) or "input")
        self.taken.add(name)
        self.inputs.append(name)
        return name

    def step(self, call: Call, names: dict[int, str]) -> None:
        to = f"x{len(self.steps) + 1}"
        names[id(call.output)] = to
        layer = _as_layer(call)
        if layer is not None:
            kind, settings, held = layer
            first = call.inputs[0]
            assert isinstance(first, Value)
            of = names[id(first)] if first.array is None else self.array(first, trained=False)
            self.steps.append({"to": to, "layer": self._layer(call, kind, settings, held), "of": [of]})
            return
        read: list[Any] = []
        for i, a in enumerate(call.inputs):
            if not isinstance(a, Value):
                read.append(a)
            elif a.array is None:
                read.append(names[id(a)])
            else:
                read.append(self.array(a, call.op in TRAINED and not (call.op == "batch_norm_inference" and i > 2)))
        self.steps.append({"to": to, "op": call.op, "of": read, **({"with": call.settings} if call.settings else {})})

    def array(self, value: Value, trained: bool) -> str:
        """The name of a constant among the graph's own arrays."""
        array = value.array
        assert array is not None
        trained = trained and array.dtype.kind == "f"
        key = (id(array), array.shape, trained)
        if key not in self.known:
            name = self.known[key] = self._unique(_clean(value.name.removeprefix(self.common)) or "array")
            kind = "float32" if array.dtype.kind == "f" else "int64"
            self.arrays[name] = [list(array.shape), kind, trained]
            self.state[name] = array
        return self.known[key]

    def _layer(self, call: Call, kind: str, settings: dict[str, Any], held: dict[str, np.ndarray]) -> str:
        shared = "weight" in held and kind in ("Conv1d", "Conv2d", "ConvTranspose2d", "Linear")
        key = (kind, repr(settings), tuple((part, id(a)) for part, a in held.items()))
        if shared and key in self.known:                   # the same weights again: the same layer
            return self.known[key]
        name = self._unique(_name_of(call, held, self.common) or f"{kind.lower()}{self._count(kind)}")
        self.layers[name] = [kind, settings]
        self.state |= {f"{name}.{part}": array for part, array in held.items()}
        if shared:
            self.known[key] = name
        return name

    def _count(self, kind: str) -> int:
        return 1 + sum(made[0] == kind for made in self.layers.values())

    def _unique(self, name: str) -> str:
        name = name[: MAX_NAME - 10].rstrip(".")
        found, n = name, 1
        while found in self.taken or any(f"{found}.{end}" in self.taken for end in ("weight", "bias")):
            n += 1
            found = f"{name}_{n}"
        self.taken.add(found)
        return found


# --------------------------------------------------------------------------------------------------------------- names


def _clean(name: str) -> str:
    """A name of letters, digits, _ and dots; "" where nothing but a number is left."""
    if "::" in name:                                       # PyTorch's "onnx::Conv_193" is no name
        return ""
    parts = (re.sub(r"[^A-Za-z0-9_]+", "_", part).strip("_") for part in name.split("."))
    found = ".".join(filter(None, parts))
    return "" if found.replace("_", "").replace(".", "").isdigit() else found


def _common(calls: list[Call]) -> str:
    """The folder that the names of all arrays begin with, such as "gpu_0/"; "" where there is none."""
    names = [a.name for call in calls for a in call.inputs if isinstance(a, Value) and a.array is not None]
    folders = {name.rpartition("/")[0].partition("/")[0] if "/" in name else "" for name in names}
    folder = f"{folders.pop()}/" if len(folders) == 1 and "" not in folders else ""
    return folder if all(ENDS.sub("", name.removeprefix(folder)) for name in names) else ""


def _name_of(call: Call, held: dict[str, np.ndarray], common: str) -> str:
    weight = next((a for a in call.inputs[1:] if isinstance(a, Value)), None) if held else None
    if weight is not None and (name := _clean(ENDS.sub("", weight.name.removeprefix(common)))):
        return name
    return of_node(call.node.title)


def of_node(title: str) -> str:
    """"layer1.0.conv1" for "/layer1/layer1.0/conv1/Conv", as PyTorch writes it, and for "layer1.0.conv1/Conv"."""
    parts = [p for p in title.split("/") if p]
    if len(parts) > 1:
        parts.pop()                                        # the operator
    whole = ""
    for part in parts:
        whole = part if part.startswith(f"{whole}.") or not whole else f"{whole}.{part}"
    found = _clean(whole)
    return "" if NUMBERED.fullmatch(found) else found


# -------------------------------------------------------------------------------------------------------------- layers


def _as_layer(call: Call) -> tuple[str, dict[str, Any], dict[str, np.ndarray]] | None:
    """(the kind of layer, its settings, its arrays), or None for a call that stays one of an op."""
    if "kind" in call.more:
        return call.more["kind"], call.settings, {}
    x = call.inputs[0]
    if not isinstance(x, Value):
        return None
    if call.op in PLAIN and hasattr(nn, PLAIN[call.op]):
        return PLAIN[call.op], call.settings, {}
    given = call.inputs[1:]
    if call.op not in LAYERS or not all(a is None or (isinstance(a, Value) and a.array is not None) for a in given):
        return None
    return LAYERS[call.op](call, x, *(a.array if isinstance(a, Value) else None for a in given))


def _held(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if array is not None}


def _conv(kind: str, call: Call, x: Value, w: np.ndarray, b: np.ndarray | None = None) -> Any:
    s, groups = call.settings, call.settings["groups"]
    channels = (w.shape[1] * groups, w.shape[0]) if kind != "ConvTranspose2d" else (w.shape[0], w.shape[1] * groups)
    K: Any = list(w.shape[2:])
    K = K[0] if len(set(K)) == 1 else K
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    rest = {name: s[name] for name in usual if name in s and s[name] != usual[name]}
    settings = {"in_channels": channels[0], "out_channels": channels[1], "kernel_size": K, **rest}
    return kind, settings | ({"bias": False} if b is None else {}), _held(weight=w, bias=b)


def _linear(call: Call, x: Value, w: np.ndarray, b: np.ndarray | None = None) -> Any:
    settings = {"in_features": w.shape[1], "out_features": w.shape[0], **({"bias": False} if b is None else {})}
    return "Linear", settings, _held(weight=w, bias=b)


def _batch_norm(call: Call, x: Value, gamma: Any, beta: Any, mean: np.ndarray, var: np.ndarray) -> Any:
    if gamma is None or beta is None:
        return None
    settings = {"num_features": len(mean), "eps": call.settings["eps"], "momentum": call.more.get("momentum", 0.1)}
    return "BatchNorm2d", settings, _held(weight=gamma, bias=beta, running_mean=mean, running_var=var)


LAYERS: dict[str, Callable[..., Any]] = {
    "conv1d": lambda *given: _conv("Conv1d", *given),
    "conv2d": lambda *given: _conv("Conv2d", *given),
    "conv_transpose2d": lambda *given: _conv("ConvTranspose2d", *given),
    "linear": _linear,
    "batch_norm_inference": _batch_norm,
    "layer_norm": norms.layer_norm,
    "group_norm": norms.group_norm,
    "instance_norm": norms.instance_norm,
    "prelu": norms.prelu,
}
"""{op with weights: function of the call, its input and its arrays}"""
