"""Readers of elementwise operators: arithmetic and activations."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Argument, Builder, Value
from minicnn.io.onnx.read.node import Node, decimal

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805
"""The constants of Klambauer et al. 2017, which ONNX gives as defaults."""


def unary(op: str, g: Builder, node: Node, x: Value) -> Value:
    """An op of one array."""
    return g.call(op, x)


def binary(op: str, g: Builder, node: Node, a: Value, b: Value) -> Value:
    """An op of two arrays, which broadcast as in NumPy; a constant of one value is written as a number.

    Up to opset 6 the axes of b are those of a from `axis` on, by default the last ones.
    """
    if node.opset < 7 and "axis" in node.attributes and 0 < b.ndim < a.ndim:
        behind = a.ndim - g.axis(node.integer("axis"), a.ndim) - b.ndim
        if behind < 0:
            raise ValueError(f"its axis does not fit shapes {list(a.shape)[:8]} and {list(b.shape)[:8]}")
        b = g.call("reshape", b, shape=(*b.shape, *[1] * behind)) if behind else b
    if a.array is None:
        return g.call(op, a, _number(b, a))
    return g.call(op, _number(a, b), b) if b.array is None else g.call(op, a, b)


def _number(value: Value, other: Value) -> Argument:
    if value.array is not None and value.size == 1 and value.ndim <= other.ndim and value.dtype.kind == "f":
        number = decimal(value.array.reshape(()))
        return number if math.isfinite(number) else value
    return value


def compare(op: str, g: Builder, node: Node, a: Value, b: Value) -> Value:
    """Greater, GreaterOrEqual, Less, LessOrEqual, Equal of computed values: of floats, or Equal of masks."""
    if {a.dtype.kind, b.dtype.kind} == {"b"}:              # equal masks: both, or neither
        both, neither = g.call("logical_and", a, b), g.call("logical_not", g.call("logical_or", a, b))
        return g.call("logical_or", both, neither)
    if {a.dtype.kind, b.dtype.kind} != {"f"}:
        raise ValueError("values that depend on the image are compared as floats only")
    return binary(op, g, node, a, b)


def invert(g: Builder, node: Node, mask: Value) -> Value:
    """Not."""
    return g.call("logical_not", mask)


def where(g: Builder, node: Node, mask: Value, a: Value, b: Value) -> Value:
    """Where: of a mask, or of values, or of both, that depend on the image."""
    if mask.dtype.kind != "b":
        raise ValueError("its condition must be booleans")
    if {a.dtype.kind, b.dtype.kind} != {"f"}:
        raise ValueError("it chooses between floats only where it depends on the image")
    whole = mask if mask.ndim >= max(a.ndim, b.ndim) else b if b.ndim >= a.ndim else a
    first = _number(a, whole) if whole is not a else a
    if isinstance(first, float) and b.size == 1 and b.array is not None:
        return g.call("where", mask, first, b)             # one of the two says the dtype
    return g.call("where", mask, first, _number(b, whole) if whole is not b else b)


def sign(g: Builder, node: Node, x: Value) -> Value:
    """Sign: 1 above 0, −1 below, as two masks; its gradient is 0."""
    negative = g.constant(np.full((1,) * x.ndim, -1, g.dtype), "minus_one")
    return g.call("where", g.call("greater", x, 0.0), 1.0, g.call("where", g.call("less", x, 0.0), negative, 0.0))


def several(op: str, g: Builder, node: Node, *xs: Value) -> Value:
    """Sum, Max or Min of one array or more."""
    return functools.reduce(lambda a, b: binary(op, g, node, a, b), xs)


def mean(g: Builder, node: Node, *xs: Value) -> Value:
    """Mean of one array or more."""
    total = several("add", g, node, *xs)
    return total if len(xs) == 1 else g.call("multiply", total, 1 / len(xs))


def power(g: Builder, node: Node, x: Value, exponent: Value) -> Value:
    """Pow by a number, or by an array. Integers stay integers, so both must be known."""
    if x.dtype.kind in "iu":
        base, by = g.array(x, "a base of integers"), g.array(exponent, "the exponent of integers")
        return g.constant(np.power(base.astype(np.float64), by).astype(base.dtype))
    if exponent.array is not None and exponent.size == 1 and exponent.ndim <= x.ndim:
        return g.call("power", x, exponent=decimal(exponent.array.reshape(())))
    if exponent.dtype.kind != "f":
        exponent = g.constant(g.array(exponent, "an exponent of integers").astype(x.dtype))
    return g.call("power", x, exponent)


def reciprocal(g: Builder, node: Node, x: Value) -> Value:
    """1/x"""
    return g.call("divide", 1.0, x)


def identity(g: Builder, node: Node, x: Value, *more: Any) -> Value:
    """The array itself."""
    return x


def cast(g: Builder, node: Node, x: Value) -> Value:
    """Cast of computed values: between floats, which all have one type here, and masks, which are 1 or 0 as floats."""
    to = node.integer("to")
    if to not in (1, 9, 10, 11, 16):
        raise ValueError("values that depend on the image can be cast to floats and booleans only")
    if (to == 9) == (x.dtype.kind == "b"):
        return x
    if to == 9:
        return g.call("logical_not", g.call("equal", x, 0.0))
    return g.call("where", x, g.constant(np.ones((1,) * x.ndim, g.dtype), "one"), 0.0)


# --------------------------------------------------------------------------------------------------------- activations


def clip(g: Builder, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """Clip, whose bounds are attributes up to opset 10. Where they cross, the upper one wins."""
    if node.opset < 11:
        bounds = [node.attributes.get("min"), node.attributes.get("max")]
    else:
        bounds = [None if v is None else g.number(v, name) for v, name in ((low, "min"), (high, "max"))]
    a, b = (None if v is None or abs(v) > 3e38 else float(v) for v in bounds)
    if a is None and b is None:
        return x
    if a is not None and b is not None and a > b:
        return g.call("minimum", g.call("maximum", x, a), b)
    if a == 0 and b is None:
        return g.call("relu", x)
    return g.call("relu6", x) if (a, b) == (0, 6) else g.call("clip", x, low=a, high=b)


def leaky_relu(g: Builder, node: Node, x: Value) -> Value:
    """LeakyRelu."""
    return g.call("leaky_relu", x, negative_slope=node.number("alpha", 0.01))


def prelu(g: Builder, node: Node, x: Value, slope: Value) -> Value:
    """PRelu with a slope for each channel or one for all; other slopes as relu(x) + slope·min(x, 0)."""
    C = x.shape[1] if x.ndim > 1 else 1
    if node.opset < 7 and slope.shape == (C,):
        return g.call("prelu", x, slope)
    per_channel = (slope.shape == (1,) * (slope.ndim - (x.ndim - 1)) + (C,) + (1,) * (x.ndim - 2)
                   if slope.ndim >= x.ndim - 1 else slope.ndim == 1 == slope.size or (x.ndim == 2 and slope.size == C))
    if per_channel or slope.size == 1:
        return g.call("prelu", x, g.call("reshape", slope, shape=(slope.size,)) if slope.ndim != 1 else slope)
    return g.call("add", g.call("relu", x), g.call("multiply", slope, g.call("minimum", x, 0.0)))


def elu(g: Builder, node: Node, x: Value) -> Value:
    """Elu."""
    return g.call("elu", x, alpha=node.number("alpha", 1.0))


def selu(g: Builder, node: Node, x: Value) -> Value:
    """Selu, with the paper's constants or others."""
    alpha, gamma = node.number("alpha", SELU_ALPHA), node.number("gamma", SELU_GAMMA)
    if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and math.isclose(gamma, SELU_GAMMA, rel_tol=1e-6):
        return g.call("selu", x)
    return g.call("multiply", g.call("elu", x, alpha=alpha), gamma)


def celu(g: Builder, node: Node, x: Value) -> Value:
    """Celu: max(x, 0) + min(0, α(e^(x/α) − 1)) = α·elu(x/α)"""
    alpha = node.number("alpha", 1.0)
    return g.call("multiply", g.call("elu", g.call("multiply", x, 1 / alpha)), alpha)


def gelu(g: Builder, node: Node, x: Value) -> Value:
    """Gelu, exact or with tanh."""
    return g.call("gelu", x, approximate=node.one_of("approximate", "none", ("none", "tanh")))


def hardsigmoid(g: Builder, node: Node, x: Value) -> Value:
    """max(0, min(1, αx + β))"""
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return g.call("hardsigmoid", x)
    return g.call("clip", g.call("add", g.call("multiply", x, alpha), beta), low=0.0, high=1.0)


def softplus(g: Builder, node: Node, x: Value) -> Value:
    """ln(1 + e^x)"""
    return g.call("softplus", x)


def softsign(g: Builder, node: Node, x: Value) -> Value:
    """x/(1 + |x|)"""
    return g.call("divide", x, g.call("add", g.call("abs", x), 1.0))


def swish(g: Builder, node: Node, x: Value) -> Value:
    """x·σ(αx)"""
    alpha = node.number("alpha", 1.0)
    return g.call("silu", x) if alpha == 1 else g.call("multiply", x, g.call("sigmoid", g.call("multiply", x, alpha)))


def softmax(op: str, g: Builder, node: Node, x: Value) -> Value:
    """Softmax or LogSoftmax over one axis; up to opset 12 over all axes from that one on."""
    if node.opset < 13:
        first = g.axis(node.integer("axis", 1), x.ndim)
        axes = tuple(range(first, x.ndim))
        return g.call(op, x, axis=axes[0] if len(axes) == 1 else axes)
    return g.call(op, x, axis=g.axis(node.integer("axis", -1), x.ndim))


def dropout(g: Builder, node: Node, x: Value, ratio: Value | None = None, training: Value | None = None) -> Any:
    """Dropout, which drops while the net is trained here. Its second output, the mask, is all true."""
    p = node.number("ratio", 0.5) if node.opset < 12 else 0.5 if ratio is None else g.number(ratio, "ratio")
    if p and training is not None and bool(g.array(training, "training_mode").any()):
        raise ValueError("a Dropout in training mode draws random numbers, so its output is not defined by the file: "
                         "export the net in inference mode")
    if not 0 <= p < 1:
        raise ValueError(f"the ratio {p:g} must be at least 0 and below 1")
    y = g.layer("Dropout", x, p=p) if x.array is None and p else x
    return (y, g.constant(np.ones(x.shape, bool))) if len(node.outputs) > 1 else y
