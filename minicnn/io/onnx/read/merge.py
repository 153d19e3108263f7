"""One list of calls from those of two batches: what differs between them depends on the number of images.

A size that is k times the number of images becomes {"N": k}, the first size of a reshape −1, and a constant that has a
row for each image one row. Anything else that differs can't be computed for any number of images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Builder, Call, Value

ROWS = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "greater_equal",
        "less", "less_equal", "equal", "logical_and", "logical_or", "where")
"""Ops that broadcast one row over all images by themselves."""


class BatchError(ValueError):
    """The net can't be computed for any number of images."""


def encoded(value: Any) -> Any:
    """A setting as JSON: lists for tuples and index arrays, {"slice": […]} for slices."""
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [encoded(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def merged(first: Builder, second: Builder) -> list[Call]:
    """The calls for any number of images. BatchError names the first that depends on it in another way."""
    if [c.op for c in first.calls] != [c.op for c in second.calls]:
        raise BatchError("its operators depend on the number of images")
    made: list[Call] = []
    for a, b in zip(first.calls, second.calls):
        settings = {key: _setting(a, encoded(value), encoded(b.settings[key]), first.N, second.N)
                    for key, value in a.settings.items()}
        if a.op == "reshape":
            settings["shape"] = _open(settings["shape"])
        inputs = [_input(made, a, x, y, first.N, second.N) for x, y in zip(a.inputs, b.inputs)]
        made.append(Call(a.op, inputs, settings, a.output, a.node, a.more))
    return made


def single(builder: Builder) -> list[Call]:
    """The calls of one batch, as they are."""
    return [Call(c.op, c.inputs, {key: encoded(v) for key, v in c.settings.items()}, c.output, c.node, c.more)
            for c in builder.calls]


def _setting(call: Call, a: Any, b: Any, N: int, M: int) -> Any:
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [_setting(call, x, y, N, M) for x, y in zip(a, b)]
    if a == b and type(a) is type(b):
        return a
    if type(a) is type(b) is int and a * M == b * N and a % N == 0 and a > 0:
        return {"N": a // N}
    raise _error(call)


def _open(shape: list[Any]) -> list[Any]:
    """The shape of a reshape with −1 in place of its only size that depends on the number of images."""
    free = [i for i, n in enumerate(shape) if isinstance(n, dict)]
    return [-1 if i in free else n for i, n in enumerate(shape)] if len(free) == 1 else shape


def _input(made: list[Call], call: Call, a: Any, b: Any, N: int, M: int) -> Any:
    if not isinstance(a, Value) or a.array is None:
        return a
    if a.array is b.array or (a.shape == b.shape and np.array_equal(a.array, b.array, equal_nan=True)):
        return a
    rows = a.array[:1]
    same = (a.shape[:1] == (N,) and b.shape == (M, *a.shape[1:]) and np.array_equal(b.array[:1], rows)
            and (a.array == rows).all() and (b.array == rows).all())
    if not same:
        raise _error(call)
    row = Value(a.name, np.ascontiguousarray(rows))
    if call.op in ROWS and all(isinstance(v, Value) and v.ndim == a.ndim for v in call.inputs):
        return row
    whole = Value(f"{call.output.name}_rows{len(made)}", like=call.output.like)
    made.append(Call("broadcast_to", [row], {"shape": [{"N": 1}, *a.shape[1:]]}, whole, call.node))
    return whole


def _error(call: Call) -> BatchError:
    return BatchError(f"{call.node.where} depends on the number of images in a way that can't be kept for any number")
