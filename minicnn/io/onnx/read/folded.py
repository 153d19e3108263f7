"""Operators of constants, computed with NumPy while the file is read: arithmetic with shapes, and what makes arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.io.onnx.read.node import Node

MOST = 2**28
"""The most values of one array."""


def _checked(shape: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in np.asarray(shape).reshape(-1))
    if any(n < 0 for n in shape) or len(shape) > 8 or math.prod(shape) > MOST:
        raise ValueError(f"a constant of shape {list(shape)[:8]} is impossible, or has more than {MOST:,} values")
    return shape


def _elementwise(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def computed(node: Node, *arrays: np.ndarray) -> np.ndarray:
        _checked(np.broadcast_shapes(*(a.shape for a in arrays)))
        with np.errstate(all="ignore"):
            found = np.asarray(function(*arrays))
        numbers = [a.dtype for a in arrays if a.dtype.kind != "b"]
        return found if found.dtype.kind == "b" or not numbers else found.astype(numbers[-1])

    return computed


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Division; of integers it rounds towards 0."""
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        raise ValueError("a division by 0")
    return np.where((a < 0) != (b < 0), -(np.abs(a) // np.abs(b)), np.abs(a) // np.abs(b))


def _mod(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "iu" and not b.all():
        raise ValueError("a division by 0")
    return _elementwise(np.fmod if node.integer("fmod", 0) else np.mod)(node, a, b)


def _power(node: Node, x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """x^e, of the type of x"""
    _checked(np.broadcast_shapes(x.shape, exponent.shape))
    with np.errstate(all="ignore"):
        return np.asarray(np.power(x.astype(np.float64), exponent)).astype(x.dtype)


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    from minicnn.io.onnx.read.proto import BFLOAT16, DTYPES, FLOAT16

    to = node.integer("to")
    if to not in DTYPES:
        raise ValueError(f"the type number {to} is not read")
    kind = "f4" if to in (BFLOAT16, FLOAT16) else DTYPES[to][0].lstrip("<")
    with np.errstate(all="ignore"):
        return x.astype(kind)


def _constant(node: Node) -> np.ndarray:
    found = node.attributes
    if isinstance(found.get("value"), np.ndarray):
        return found["value"]
    for name, kind in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                       ("value_ints", np.int64)):
        if name in found:
            return np.array(found[name], kind)
    raise ValueError("a constant must be numbers")


def _constant_of_shape(node: Node, shape: np.ndarray) -> np.ndarray:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ValueError("the value of a ConstantOfShape must be one number")
    return np.broadcast_to(value.reshape(()), _checked(shape))


def _range(node: Node, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    first, last, step = (v.reshape(()).item() for v in (start, limit, delta))
    if not step or not math.isfinite((last - first) / step):
        raise ValueError("the step of a Range must not be 0")
    _checked([max(0, math.ceil((last - first) / step))])
    return np.arange(first, last, step, dtype=start.dtype)


def _tile(node: Node, x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    if repeats.size != x.ndim:
        raise ValueError("a Tile must repeat each axis")
    _checked([n * int(r) for n, r in zip(x.shape, repeats.reshape(-1))])
    return np.tile(x, [int(r) for r in repeats.reshape(-1)])


def _where(node: Node, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    _checked(np.broadcast_shapes(c.shape, a.shape, b.shape))
    return np.where(c, a, b)


def _scatter_nd(node: Node, x: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A copy of x with other values at some places: the last axis of `places` holds the indices of each."""
    node.one_of("reduction", "none", ("none",))
    at = index_of(places, x.shape)
    if values.shape != (*places.shape[:-1], *x.shape[len(at) :]):
        raise ValueError(f"values of shape {list(values.shape)[:8]} do not fit places of shape "
                         f"{list(places.shape)[:8]} in an array of shape {list(x.shape)[:8]}")
    y = x.copy()
    y[at] = values
    return y


def index_of(places: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The index of the places (indices) in an array of this shape: their last axis holds one number for each axis."""
    if places.dtype.kind not in "iu" or not places.ndim or not 1 <= places.shape[-1] <= len(shape):
        raise ValueError(f"places (indices) of shape {list(places.shape)[:8]} do not index {list(shape)[:8]}")
    sizes = np.array(shape[: places.shape[-1]])
    if places.size and not ((places >= -sizes) & (places < sizes)).all():
        raise ValueError(f"a place (index) lies outside the shape {list(shape)[:8]}")
    return tuple(np.moveaxis(places, -1, 0).astype(np.int64))


def _folded(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Of one array or more, one after the other: Max, Min, Sum."""
    def computed(node: Node, *arrays: np.ndarray) -> np.ndarray:
        found = arrays[0]
        for other in arrays[1:]:
            found = _elementwise(function)(node, found, other)
        return found

    return computed


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Neg": np.negative, "Abs": np.abs,
    "Equal": np.equal, "Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal, "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
    "Ceil": np.ceil, "Floor": np.floor, "Round": np.round, "Sign": np.sign,
}  # fmt: skip

FOLDED: dict[str, Callable[..., Any]] = {
    **{name: _elementwise(function) for name, function in ELEMENTWISE.items()},
    "Max": _folded(np.maximum), "Min": _folded(np.minimum), "Sum": _folded(np.add), "Mod": _mod, "Cast": _cast,
    "CastLike": lambda node, x, like: x.astype(like.dtype), "Constant": _constant,
    "ConstantOfShape": _constant_of_shape, "Range": _range, "Tile": _tile, "Where": _where,
    "ScatterND": _scatter_nd,
}  # fmt: skip
"""{operator: its function of the node and NumPy arrays}. Operators that only move values are read as ops."""
