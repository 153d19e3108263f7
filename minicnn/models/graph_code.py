"""Steps of a graph as Python's statements: expressions that take in the one before, names that are free again."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WIDTH, MOST = 110, 90
"""The longest line, and the longest expression that takes in the one before it."""
OPS = {
    "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu",
    "Hardsigmoid": "hardsigmoid", "Hardswish": "hardswish", "ELU": "elu", "SELU": "selu", "GELU": "gelu",
    "Softplus": "softplus", "Mish": "mish", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Flatten": "flatten",
    "MaxPool2d": "max_pool2d", "AvgPool2d": "avg_pool2d", "LPPool2d": "lp_pool2d",
    "AdaptiveAvgPool2d": "adaptive_avg_pool2d", "AdaptiveMaxPool2d": "adaptive_max_pool2d",
    "LocalResponseNorm": "local_response_norm", "GlobalAvgPool2d": "global_avg_pool2d",
    "GlobalMaxPool2d": "global_max_pool2d",
}  # fmt: skip
"""Layers without weights, and the ops that they call with their settings."""
INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}
SHORT = {"Conv1d": "conv", "Conv2d": "conv", "ConvTranspose2d": "up", "BatchNorm2d": "bn", "Linear": "fc",
         "PReLU": "prelu", "Dropout": "dropout"}  # fmt: skip
POSITIONAL = {"Conv1d": ("in_channels", "out_channels", "kernel_size"), "Linear": ("in_features", "out_features"),
              "BatchNorm2d": ("num_features",), "Dropout": ("p",)}  # fmt: skip
POSITIONAL["Conv2d"] = POSITIONAL["ConvTranspose2d"] = POSITIONAL["Conv1d"]
DEFAULTS = {"BatchNorm2d": {"eps": 1e-5, "momentum": 0.1}}



class Names:
    """The names of values in a forward method: x, y, z, …; a name is free again when its value is not read any more."""

    def __init__(self, uses: dict[str, int]):
        self.left = dict(uses)
        self.names: dict[str, str] = {}

    def read(self, value: str) -> str:
        """The name of a value that is read once more."""
        self.left[value] -= 1
        return self.names[value]

    def bind(self, value: str, wish: str = "") -> str:
        """A name for a new value: `wish`, or the first that is free."""
        taken = {name for v, name in self.names.items() if self.left.get(v, 0) > 0}
        more = (f"{c}{i or ''}" for i in itertools.count() for c in "abcdefgh")
        free = itertools.chain(filter(None, (wish, "x", "y", "z")), more)
        self.names[value] = next(n for n in free if n not in taken)
        return self.names[value]


@dataclass
class Body:
    """The statements of a forward method."""

    graph: dict[str, Any]
    names: Names
    uses: dict[str, int]
    lines: list[str] = field(default_factory=list)
    waiting: tuple[str, str, bool] | None = None
    """(value, its expression, whether it is an operation with two sides), not yet written: it may go into the next"""

    def step(self, step: dict[str, Any], layer: str, arrays: dict[str, str], settings: Any) -> None:
        """Add a step. layer: its attribute, "" for an op; arrays: {array: its attribute}; settings: as Python"""
        reads = [a for a in step["of"] if isinstance(a, str) and a not in arrays]
        heavy = bool(layer) and self.graph["layers"][step["layer"]][0].startswith(("Conv", "Linear"))
        held = self.waiting
        if held is not None and not (reads.count(held[0]) == 1 and self.uses[held[0]] == 1 and not heavy
                                     and len(held[1]) < 60):  # fmt: skip
            self.flush()
            held = None
        infix = not layer and step.get("op") in INFIX

        def text(a: Any) -> str:
            if isinstance(a, str) and a in arrays:
                return f"self.{arrays[a]}"
            if held is not None and a == held[0]:
                return f"({held[1]})" if held[2] and infix else held[1]
            return self.names.names[a] if isinstance(a, str) else repr(a)

        written = expression(self.graph, step, layer, [text(a) for a in step["of"]], settings)
        if held is not None and len(written) > MOST:
            self.flush()
            held = None
            written = expression(self.graph, step, layer, [text(a) for a in step["of"]], settings)
        for a in reads:
            self.names.left[a] -= 1
        self.waiting = (step["to"], written, infix)

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting is not None:
            value, text, _ = self.waiting
            self.assign(value, text)
            self.waiting = None

    def assign(self, value: str, text: str) -> None:
        """A statement that binds a value."""
        first = re.match(r"(?:[a-z_.0-9]+\()*([a-h]\d*|x|y|z)\b", text)
        wish = first.group(1) if first else ""
        self.lines.append(f"{self.names.bind(value, wish)} = {text}")

    def end(self, values: list[str]) -> list[str]:
        """All statements and the return."""
        if self.waiting is not None and values == [self.waiting[0]]:
            self.lines.append(f"return {self.waiting[1]}")
        else:
            self.flush()
            self.lines.append("return " + ", ".join(self.names.read(v) for v in values))
        return self.lines


def expression(graph: dict[str, Any], step: dict[str, Any], layer: str, args: list[str], settings: Any) -> str:
    """The call of a step. layer: its attribute, "" for an op; args: the expressions that it reads."""
    if layer:
        return f"self.{layer}({args[0]})"
    if "layer" in step:
        op = OPS[graph["layers"][step["layer"]][0]]
    else:
        op = step["op"]
        if op in INFIX:
            return f"{args[0]} {INFIX[op]} {args[1]}"
        if op == "getitem":
            return f"{_bracketed(args[0])}[{', '.join(map(_index, settings['index']))}]"
        if op in ("reshape", "transpose"):
            values = settings["shape" if op == "reshape" else "axes"]
            return f"{_bracketed(args[0])}.{op}({', '.join(map(value_text, values))})"
    given = [f"{name}={value_text(v)}" for name, v in settings.items()]
    return f"ops.{op}({', '.join([*args, *given])})"


def _bracketed(text: str) -> str:
    return f"({text})" if " " in re.sub(r"\(.*\)", "", text) else text


def _index(value: Any) -> str:
    if isinstance(value, dict) and "slice" in value:
        start, stop, step = ("" if v is None else value_text(v) for v in value["slice"])
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return f"[{', '.join(map(value_text, value))}]" if isinstance(value, list) else value_text(value)


@dataclass(frozen=True)
class Raw:
    """Text that is Python already: the name of an argument."""

    text: str


def value_text(value: Any) -> str:
    """A setting as Python: a tuple for a list, N for the number of images."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "N" if value["N"] == 1 else f"{value['N']} * N"
    if isinstance(value, list):
        return "(" + ", ".join(map(value_text, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def constructor(kind: str, settings: dict[str, Any]) -> str:
    """nn.Conv2d(3, 8, 5, stride=2)"""
    settings = {k: v for k, v in settings.items() if isinstance(v, Raw) or DEFAULTS.get(kind, {}).get(k) != v}
    first = []
    for name in POSITIONAL.get(kind, ()):
        if name not in settings:
            break
        first.append(value_text(settings.pop(name)))
    return f"nn.{kind}({', '.join([*first, *(f'{k}={value_text(v)}' for k, v in settings.items())])})"


def arguments(value: Any) -> list[str]:
    """The arguments of the class that settings contain."""
    if isinstance(value, Raw):
        return [value.text]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for v in inner for name in arguments(v)]


def of_self(value: Any) -> Any:
    """Settings as forward reads them: the arguments as attributes."""
    if isinstance(value, Raw):
        return Raw(f"self.{value.text}")
    if isinstance(value, dict):
        return {key: of_self(v) for key, v in value.items()}
    return [of_self(v) for v in value] if isinstance(value, list) else value


def uses_of(steps: Iterable[dict[str, Any]], outputs: Iterable[str] = ()) -> dict[str, int]:
    """{value: how often these steps, and the outputs, read it}"""
    found: dict[str, int] = {}
    for name in [a for s in steps for a in s["of"] if isinstance(a, str)] + list(outputs):
        found[name] = found.get(name, 0) + 1
    return found


def settings_of(graph: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """The settings of a step's layer or op."""
    return graph["layers"][step["layer"]][1] if "layer" in step else step.get("with", {})


def is_attribute(graph: dict[str, Any], step: dict[str, Any]) -> bool:
    """Whether the step calls a layer that the code keeps as an attribute: with weights, or dropout."""
    return "layer" in step and graph["layers"][step["layer"]][0] not in OPS


def wrapped(lines: Iterable[str], indent: str) -> list[str]:
    """Lines, cut where they are too long, after a comma."""
    found = []
    for line in lines:
        inner = line[: len(line) - len(line.lstrip())]
        found += textwrap.wrap(line, WIDTH - len(indent), subsequent_indent=f"{inner}    ", break_long_words=False,
                               break_on_hyphens=False) or [""]  # fmt: skip
    return [indent + line for line in found]
