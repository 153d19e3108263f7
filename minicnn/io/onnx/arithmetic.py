"""Ops that compute each element for itself, sums, products and softmax, as ONNX nodes."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from minicnn.io.onnx.graph import TRANSLATIONS, Graph, Value, translation

ALONE = {"negative": "Neg", "abs": "Abs", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "relu": "Relu", "tanh": "Tanh",
         "sigmoid": "Sigmoid", "hardswish": "HardSwish"}  # fmt: skip
TOGETHER = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div"}
"""Ops that are one operator of ONNX, of one array and of two, which are broadcast alike."""


def _alone(op: str, graph: Graph, x: Value) -> Value:
    return graph.add(op, x)


def _together(op: str, graph: Graph, a: Value, b: Value) -> Value:
    return graph.add(op, _one_row(a, b), _one_row(b, a), shape=np.broadcast_shapes(a.shape, b.shape))


def _one_row(a: Value, other: Value) -> Value:
    """A constant that holds the same row for each image of the batch, as one row: broadcasting does the rest."""
    if a.array is None or other.array is not None or a.ndim != other.ndim or a.ndim == 0 or a.shape[0] == 1:
        return a
    if a.shape[0] == other.shape[0] and (a.array == a.array[:1]).all():
        return Value("", (1, *a.shape[1:]), a.array[:1])
    return a


TRANSLATIONS.update({name: partial(_alone, op) for name, op in ALONE.items()})
TRANSLATIONS.update({name: partial(_together, op) for name, op in TOGETHER.items()})


@translation
def power(graph, x, *, exponent):
    """Pow, by a constant."""
    return graph.add("Pow", x, graph.constant(exponent, np.float32))


@translation
def matmul(graph, a, b):
    """MatMul broadcasts as NumPy does."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return graph.add("MatMul", a, b, shape=(*lead, a.shape[-2], b.shape[-1]))


# ------------------------------------------------------------------------------------------------- sums over some axes


@translation
def sum(graph, x, *, axis, keepdims):
    """ReduceSum, whose axes are an input since opset 13."""
    axes, shape = _over(x, axis, keepdims)
    return graph.add("ReduceSum", x, graph.ints(*axes), shape=shape, keepdims=int(keepdims))


@translation
def mean(graph, x, *, axis, keepdims):
    """ReduceMean, whose axes are an attribute until opset 17."""
    axes, shape = _over(x, axis, keepdims)
    return graph.add("ReduceMean", x, shape=shape, axes=axes, keepdims=int(keepdims))


@translation
def max(graph, x, *, axis, keepdims):
    """ReduceMax, whose axes are an attribute until opset 17."""
    axes, shape = _over(x, axis, keepdims)
    return graph.add("ReduceMax", x, shape=shape, axes=axes, keepdims=int(keepdims))


@translation
def min(graph, x, *, axis, keepdims):
    """ReduceMin, whose axes are an attribute until opset 17."""
    axes, shape = _over(x, axis, keepdims)
    return graph.add("ReduceMin", x, shape=shape, axes=axes, keepdims=int(keepdims))


def _over(x: Value, axis, keepdims) -> tuple[list[int], tuple[int, ...]]:
    """(the axes, the shape without them)"""
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = sorted(a % x.ndim for a in given)
    return axes, tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)


# --------------------------------------------------------------------------------------------------------- activations


@translation
def clip(graph, x, *, low, high):
    """Clip, whose bounds are inputs and may be left out."""
    bounds = [None if limit is None else graph.constant(limit, np.float32) for limit in (low, high)]
    return graph.add("Clip", x, *bounds)


@translation
def relu6(graph, x):
    """Clip, whose bounds are inputs."""
    return graph.add("Clip", x, graph.constant(0, np.float32), graph.constant(6, np.float32))


@translation
def leaky_relu(graph, x, *, negative_slope):
    """LeakyRelu, whose slope is called alpha."""
    return graph.add("LeakyRelu", x, alpha=float(negative_slope))


@translation
def silu(graph, x):
    """x·Sigmoid(x): the operator Swish is younger than this opset."""
    return graph.add("Mul", x, graph.add("Sigmoid", x))


@translation
def hardsigmoid(graph, x):
    """max(0, min(1, x/6 + ½)), which is ours multiplied out."""
    return graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@translation
def softmax(graph, x, *, axis):
    """Softmax, over one axis or several."""
    return _softmax(graph, "Softmax", x, axis)


@translation
def log_softmax(graph, x, *, axis):
    """LogSoftmax, over one axis or several."""
    return _softmax(graph, "LogSoftmax", x, axis)


def _softmax(graph, op, x, axis):
    """Over several axes at once: they are made one, at the end."""
    if not isinstance(axis, tuple) and axis is not None:
        return graph.add(op, x, axis=axis % x.ndim)
    axes, _ = _over(x, axis, True)
    order = [*(i for i in range(x.ndim) if i not in axes), *axes]
    moved = graph.add("Transpose", x, perm=order, shape=[x.shape[i] for i in order])
    rows = graph.add("Flatten", moved, axis=x.ndim - len(axes),
                     shape=(math.prod(moved.shape[: -len(axes)]), math.prod(moved.shape[-len(axes) :])))  # fmt: skip
    back = graph.add("Reshape", graph.add(op, rows, axis=1), graph.add("Shape", moved, shape=(x.ndim,)),
                     shape=moved.shape)  # fmt: skip
    return graph.add("Transpose", back, perm=[order.index(i) for i in range(x.ndim)], shape=x.shape)
