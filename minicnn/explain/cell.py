"""What is known about one number of an op's output: what it read, with which factors, by which formula."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray
Box = tuple[range, ...]
Index = tuple[int, ...]


ELEMENTS = {
    "relu": "y = max(x, 0)", "relu6": "y = min(max(x, 0), 6)", "leaky_relu": "y = x where x > 0, else s·x",
    "tanh": "y = tanh(x)", "sigmoid": "y = 1/(1 + e^(−x))", "silu": "y = x/(1 + e^(−x))",
    "hardsigmoid": "y = min(max(x + 3, 0), 6)/6", "hardswish": "y = x·min(max(x + 3, 0), 6)/6",
    "elu": "y = x where x > 0, else α·(e^x − 1)", "selu": "y = 1.050701·x where x > 0, else 1.758099·(e^x − 1)",
    "gelu": "y = x·(1 + erf(x/√2))/2", "softplus": "y = ln(1 + e^(β·x))/β", "mish": "y = x·tanh(ln(1 + e^x))",
    "prelu": "y = x where x > 0, else w·x", "erf": "y = erf(x)", "maximum": "y = max(a, b)", "minimum": "y = min(a, b)",
    "negative": "y = −x", "power": "y = x^p", "exp": "y = e^x", "log": "y = ln(x)", "sqrt": "y = √x", "abs": "y = |x|",
    "clip": "y = min(max(x, low), high)", "add": "y = a + b", "subtract": "y = a − b", "multiply": "y = a · b",
    "divide": "y = a / b", "where": "y = a where m > 0, else b", "add_relu": "y = max(a + b, 0)",
}  # fmt: skip
"""The formulas of ops that compute each element from the elements at the same place."""
GELU_TANH = "y = x·(1 + tanh(√(2/π)·(x + 0.044715·x^3)))/2"
"""That of gelu with approximate="tanh"."""
LETTERS = {"negative_slope": "s", "exponent": "p", "low": "low", "high": "high", "alpha": "α", "beta": "β"}


@dataclass(frozen=True)
class Part:
    """What a cell reads of one of its op's arrays."""

    argument: int
    """The array's place among the op's arguments."""
    name: str
    box: Box
    """The indices along each axis. Those outside the array are padding."""
    values: Array
    factors: Array
    """∂y/∂value, of the same shape."""

    @property
    def products(self) -> Array:
        """values · factors"""
        return np.where(self.factors == 0, 0, self.values) * self.factors      # −∞, max pooling's padding, has factor 0


@dataclass(frozen=True)
class Cell:
    """One number y[at] of an op's output.

    kind: "products": y = Σ parts[0].products + bias; "winner": y = parts[0].values[winner]; "copy": y is the number
    read; "formula": y follows from the formula.
    """

    op: str
    at: Index
    value: float
    kind: str
    parts: tuple[Part, ...]
    formula: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The formula's letters."""
    winner: Index | None = None
    bias: float | None = None

    def in_numbers(self, digits: int = 4) -> str:
        """The right side of the formula with the numbers in it: "max(−0.3100, 0)"."""
        names = "|".join(map(re.escape, sorted(self.numbers, key=len, reverse=True)))
        right = self.formula.partition(" = ")[2]
        if not names:
            return right
        return re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda m: number(self.numbers[m[0]], digits), right)


def number(value: float, digits: int = 4) -> str:
    """The number as text: fixed where that shows `digits` digits, else with an exponent; − for a negative one."""
    size = abs(value)
    if not math.isfinite(value):
        text = str(value)
    elif value == int(value) and size < 1e9:
        text = str(int(value))
    elif 10**-digits <= size < 1e6:
        text = f"{value:.{digits}f}"
    else:
        text = f"{value:.{digits - 1}e}"
    text = text.replace("-", "−").replace("inf", "∞")
    return f"({text})" if text.startswith("−") else text


def take(x: Array, box: Box, fill: float = 0.0) -> Array:
    """The values of a box, `fill` outside the array."""
    places = [np.array(r, int) for r in box]
    values = x[np.ix_(*(p.clip(0, max(n - 1, 0)) for p, n in zip(places, x.shape)))]
    outside = np.zeros(values.shape, bool)
    for axis, (p, n) in enumerate(zip(places, x.shape)):
        outside |= ((p < 0) | (p >= n)).reshape([-1 if a == axis else 1 for a in range(len(places))])
    return np.where(outside, np.asarray(fill, x.dtype), values) if outside.any() else values


def one(*at: int) -> Box:
    """The box of one element."""
    return tuple(range(i, i + 1) for i in at)


@dataclass(frozen=True)
class Call:
    """An op's call, and the place of one number of its output y."""

    op: Any
    args: list[Any]
    hyper: dict[str, Any]
    y: Array
    at: Index

    def cell(self, kind: str, parts: Sequence[Part], formula: str, numbers=None, winner=None, bias=None) -> Cell:
        """The number, explained."""
        return Cell(self.op.__name__, self.at, float(self.y[self.at]), kind, tuple(parts), formula, numbers or {},
                    winner, bias)

    def part(self, argument: int, box: Box, factors: Array, fill: float = 0.0) -> Part:
        """What it reads of one argument."""
        values = take(self.args[argument], box, fill)
        return Part(argument, self.name(argument), box, values, np.broadcast_to(factors, values.shape))

    def name(self, argument: int) -> str:
        """The op's name of an argument."""
        names = getattr(self.op, "arguments", ())
        return names[min(argument, len(names) - 1)] if names else "x"
