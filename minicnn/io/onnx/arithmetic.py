"""Handlers of elementwise ops, matrix products, reductions and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.formulas import SELU_ALPHA, SELU_SCALE
from minicnn.io.onnx.graph import Graph, Value


def unary(operator: str, graph: Graph, x: Value) -> Value:
    """One ONNX operator, element by element."""
    return graph.add(operator, x)


def binary(operator: str, graph: Graph, a: Value, b: Value) -> Value:
    """One ONNX operator of two arrays, which broadcast as in NumPy."""
    return graph.add(operator, _one_row(a, b), _one_row(b, a), shape=np.broadcast_shapes(a.shape, b.shape))


def _one_row(a: Value, other: Value) -> Value:
    """A constant whose rows are equal for all images of the batch, as one row, so that it fits a batch of any size."""
    if a.array is None or other.array is not None or a.ndim != other.ndim or a.ndim == 0 or a.shape[0] == 1:
        return a
    if a.shape[0] == other.shape[0] and (a.array == a.array[:1]).all():
        return Value("", (1, *a.shape[1:]), a.array[:1])
    return a


def logical(operator: str, graph: Graph, *masks: Value) -> Value:
    """And, Or, Not, of booleans."""
    masks = tuple(_booleans(graph, mask) for mask in masks)
    return binary(operator, graph, *masks) if len(masks) == 2 else unary(operator, graph, *masks)


def where(graph: Graph, mask: Value, a: Value, b: Value) -> Value:
    """Where, of a mask of booleans."""
    given = _booleans(graph, mask), a, b
    computed = next(v for v in given if v.array is None)
    shape = np.broadcast_shapes(mask.shape, a.shape, b.shape)
    return graph.add("Where", *(_one_row(v, computed) for v in given), shape=shape)


def _booleans(graph: Graph, mask: Value) -> Value:
    """The mask; of a constant one of numbers, all but 0 are true."""
    return mask if mask.array is None or mask.array.dtype == bool else graph.constant(mask.array != 0)


def matmul(graph: Graph, a: Value, b: Value) -> Value:
    """MatMul, which broadcasts as in NumPy."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return graph.add("MatMul", a, b, shape=(*lead, a.shape[-2], b.shape[-1]))


# ---------------------------------------------------------------------------------------------------------- reductions


def reduce_sum(graph: Graph, x: Value, *, axis: Any, keepdims: bool) -> Value:
    """ReduceSum, whose axes are an input since opset 13."""
    axes, shape = _reduced(x, axis, keepdims)
    return graph.add("ReduceSum", x, graph.ints(*axes), shape=shape, keepdims=int(keepdims))


def reduce(operator: str, graph: Graph, x: Value, *, axis: Any, keepdims: bool) -> Value:
    """ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceLogSumExp; their axes are an attribute up to opset 17."""
    axes, shape = _reduced(x, axis, keepdims)
    return graph.add(operator, x, shape=shape, axes=axes, keepdims=int(keepdims))


def _reduced(x: Value, axis: Any, keepdims: bool) -> tuple[list[int], tuple[int, ...]]:
    """(the reduced axes, the shape that is left)"""
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = sorted(a % x.ndim for a in given)
    return axes, tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)


# --------------------------------------------------------------------------------------------------------- activations


def clip(graph: Graph, x: Value, *, low: float | None, high: float | None) -> Value:
    """Clip, whose bounds are optional inputs."""
    bounds = (None if limit is None else graph.constant(limit, np.float32) for limit in (low, high))
    return graph.add("Clip", x, *bounds)


def relu6(graph: Graph, x: Value) -> Value:
    """Clip to 0 … 6."""
    return clip(graph, x, low=0, high=6)


def leaky_relu(graph: Graph, x: Value, *, negative_slope: float) -> Value:
    """LeakyRelu, whose slope is called alpha."""
    return graph.add("LeakyRelu", x, alpha=float(negative_slope))


def silu(graph: Graph, x: Value) -> Value:
    """x·Sigmoid(x): the operator Swish came after opset 17."""
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def gelu(graph: Graph, x: Value, *, approximate: str) -> Value:
    """½·x·(1 + Erf(x/√2)), or with Tanh: the operator Gelu came after opset 17."""
    if approximate == "tanh":
        cube = graph.add("Pow", x, graph.constant(3, np.float32))
        sum_ = graph.add("Add", x, graph.add("Mul", cube, graph.constant(0.044715, np.float32)))
        inner = graph.add("Mul", sum_, graph.constant(math.sqrt(2 / math.pi), np.float32))
        s = graph.add("Tanh", inner)
    else:
        s = graph.add("Erf", graph.add("Mul", x, graph.constant(math.sqrt(0.5), np.float32)))
    half = graph.add("Mul", x, graph.constant(0.5, np.float32))
    return graph.add("Mul", half, graph.add("Add", s, graph.constant(1, np.float32)))


def selu(graph: Graph, x: Value) -> Value:
    """Selu, whose λ is called gamma."""
    return graph.add("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE)


def elu(graph: Graph, x: Value, *, alpha: float) -> Value:
    """Elu."""
    return graph.add("Elu", x, alpha=float(alpha))


def softplus(graph: Graph, x: Value, *, beta: float) -> Value:
    """Softplus, which has no β: ln(1 + e^(βx))/β."""
    if beta == 1:
        return graph.add("Softplus", x)
    b = graph.constant(beta, np.float32)
    return graph.add("Div", graph.add("Softplus", graph.add("Mul", x, b)), b)


def mish(graph: Graph, x: Value) -> Value:
    """x·Tanh(Softplus(x)): the operator Mish came after opset 17."""
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def prelu(graph: Graph, x: Value, w: Value) -> Value:
    """PRelu, whose slope broadcasts to x: a channel's stands before axes of length 1."""
    shape = (-1, *[1] * (x.ndim - 2))
    slope = graph.constant(w.array.reshape(shape), name=w.name) if w.array is not None else graph.add(
        "Reshape", w, graph.ints(*shape), shape=(w.shape[0], *shape[1:]))
    return graph.add("PRelu", x, slope)


def hardsigmoid(graph: Graph, x: Value) -> Value:
    """max(0, min(1, x/6 + ½)), which equals relu6(x + 3)/6."""
    return graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def softmax(operator: str, graph: Graph, x: Value, *, axis: Any) -> Value:
    """Softmax or LogSoftmax over one axis; several axes are first moved to the end and flattened into one."""
    if not isinstance(axis, tuple) and axis is not None:
        return graph.add(operator, x, axis=axis % x.ndim)
    axes, _ = _reduced(x, axis, True)
    order = [*(i for i in range(x.ndim) if i not in axes), *axes]
    moved = graph.add("Transpose", x, perm=order, shape=[x.shape[i] for i in order])
    rows = graph.add("Flatten", moved, axis=x.ndim - len(axes),
                     shape=(math.prod(moved.shape[: -len(axes)]), math.prod(moved.shape[-len(axes) :])))  # fmt: skip
    back = graph.add("Reshape", graph.add(operator, rows, axis=1), graph.add("Shape", moved, shape=(x.ndim,)),
                     shape=moved.shape)  # fmt: skip
    return graph.add("Transpose", back, perm=[order.index(i) for i in range(x.ndim)], shape=x.shape)
