"""Turns nodes into calls of ops: each node's reader runs once, on arrays that have shapes but no values ("meta").

A value that depends on no image is computed here, so that only the result is left of the arithmetic with shapes (Shape,
Gather, Concat). The number of images must stay free: so the nodes are read for two batches, and merge.py compares the
results.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minicnn import meta, ops
from minicnn.io.onnx.read.folded import FOLDED
from minicnn.io.onnx.read.node import Node, decimal
from minicnn.io.onnx.read.proto import Content
from minicnn.names import short
from minicnn.tensor import Tensor, no_grad

MAX_VALUES = 2**28
"""The largest array that is computed, for one batch: 1 GB of float32."""
LIMIT = 2**30
"""Bytes of all constants that are computed while loading (VGG-19 has 0.6 GB of weights)."""


class NeedsValueError(ValueError):
    """A value must be known when the file is loaded, but depends on the input `name`."""

    def __init__(self, message: str, name: str):
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, eq=False)
class Value:
    """An array of the graph: a constant with its values, or one that is computed, with its shape on "meta"."""

    name: str
    array: np.ndarray | None = None
    like: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, with the number of images of this batch."""
        return self.array.shape if self.array is not None else self.like.shape  # type: ignore[union-attr]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self.array.dtype if self.array is not None else self.like.dtype  # type: ignore[union-attr]


Argument = Value | float | None


@dataclass
class Call:
    """One call of an op. more: what its layer needs beyond the op's settings."""

    op: str
    inputs: list[Argument]
    settings: dict[str, Any]
    output: Value
    node: Node
    more: dict[str, Any] = field(default_factory=dict)


class Builder:
    """Reads the nodes for one batch of N images into `calls` and `outputs`."""

    def __init__(self, content: Content, readers: Mapping[str, Callable[..., Any]], inputs: dict[str, Value], N: int,
                 memo: dict[int, Any], free: bool = True):
        self.content, self.readers, self.N, self.memo = content, readers, N, memo
        self.values = {name: Value(name, array) for name, array in content.arrays.items()} | inputs
        self.inputs = [v for v in inputs.values() if v.array is None]
        self.dtype = next((v.dtype for v in self.inputs if v.dtype.kind == "f"), np.dtype(np.float32))
        """The type of the floats that are computed."""
        self.calls: list[Call] = []
        self.bytes = 0
        self.node: Node
        first = content.inputs[0].shape if content.inputs else None
        self.file_batch = first[0] if free and first and isinstance(first[0], int) else None
        """The number of images that the file was made for; None where it is free."""

    def run(self) -> list[Value]:
        """Read all nodes. → the outputs"""
        with no_grad():
            for node in self.content.nodes:
                self._read(node)
        return [self.values[name] for name in self.content.outputs]

    def _read(self, node: Node) -> None:
        given = [self.values[name] if name else None for name in node.inputs]
        arrays = [v.array for v in given if v is not None]
        constant = all(a is not None for a in arrays)
        known, made = self.memo.get(id(node), ((), None))
        if constant and made is not None and len(known) == len(arrays) and all(a is b for a, b in zip(known, arrays)):
            self.values |= zip(node.outputs, made)         # computed for the other batch
            return
        self.node = node
        try:
            found = self._values(node, given, constant)
        except NeedsValueError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError, ZeroDivisionError) as problem:
            text = str(problem)
            raise ValueError(text if text.startswith("node ") else f"{node.where}: {text}") from None
        if constant:
            self.memo[id(node)] = arrays, found
        self.values |= zip(node.outputs, found)

    def _values(self, node: Node, given: list[Value | None], constant: bool) -> Sequence[Value]:

        if node.domain:
            raise ValueError(f"the operator belongs to {short(node.domain)}, and only ONNX's own are read")
        if constant and node.op in FOLDED:
            _check_inputs(FOLDED[node.op], 1, given)
            array = FOLDED[node.op](node, *(None if v is None else v.array for v in given))
            self._charge(array.size * array.itemsize)
            return [self.constant(array, node.outputs[0], given)] if node.outputs else []
        if node.op not in self.readers:
            if node.op in FOLDED:
                raise ValueError("this operator is read of constants only, and an input depends on the images")
            raise ValueError("this operator is not read; docs/onnx.md lists those that are")
        _check_inputs(self.readers[node.op], 2, given)
        made = self.readers[node.op](self, node, *given)
        parts = made if isinstance(made, tuple) else (made,)
        needed = [name for name in node.outputs[len(parts):] if name]
        if needed:
            raise ValueError(f"its output {short(needed[0])} is not computed")
        return parts

    # ---------------------------------------------------------------------------------------------- what readers use

    def call(self, op: str, *inputs: Argument, more: dict[str, Any] | None = None, **settings: Any) -> Value:
        """The output of an op of minicnn.ops. It is computed now where all arrays are constants.

        Ops that take a mask take it of any dtype; all others compute with floats, or move known integers.
        """
        function = getattr(ops, op)
        values = [a for a in inputs if isinstance(a, Value)]
        if any(v.dtype.kind != "f" for v in values) and not set(function.constants):
            return self._of_integers(function, inputs, settings)
        like = function(*(_on_meta(a) for a in inputs), **settings)
        if like.size > MAX_VALUES * max(1, self.N):
            raise ValueError(f"its output of shape {short(list(like.shape))} has {like.size:,} values, and at most "
                             f"{MAX_VALUES:,} for an image are computed")
        if values and all(v.array is not None for v in values):
            self._charge(like.size * values[0].dtype.itemsize)
            plain = [a.array if isinstance(a, Value) else a for a in inputs]
            return self.constant(function(*plain, **settings).numpy(), self._name(), inputs)
        output = Value(f"x{len(self.calls) + 1}", like=like)
        self.calls.append(Call(op, list(inputs), settings, output, self.node, more or {}))
        return output

    def _of_integers(self, function: Any, inputs: tuple[Argument, ...], settings: dict[str, Any]) -> Value:
        """The output of an op that moves integers: they must be constants, such as the sizes of a shape."""
        if math.prod(settings.get("shape", ())) > MAX_VALUES:
            raise ValueError(f"its output of shape {short(list(settings['shape']))} is too large to be computed")
        arrays = [self.array(a, f"its array of {a.dtype}") if isinstance(a, Value) else a for a in inputs]
        y = function.__wrapped__(*arrays, **settings)[0]   # the op as a function of plain arrays
        return self.constant(np.asarray(y.compute() if hasattr(y, "compute") else y), self._name(), inputs)

    def layer(self, kind: str, x: Value, **settings: Any) -> Value:
        """The output of a layer that has no op of its own, and leaves the shape as it is: Dropout."""
        output = Value(f"x{len(self.calls) + 1}", like=x.like)
        self.calls.append(Call("", [x], settings, output, self.node, {"kind": kind}))
        return output

    def constant(self, array: np.ndarray, name: str = "", given: Sequence[Any] = ()) -> Value:
        """A constant; one that is another float constant in another shape keeps that one's name."""
        floats = [v for v in given if isinstance(v, Value) and v.array is not None and v.array.dtype.kind == "f"
                  and v.array.size > 1]
        if len(floats) == 1 and floats[0].name:
            name = floats[0].name
        if array.size > MAX_VALUES:
            raise ValueError(f"its output of shape {short(list(array.shape))} is too large to be computed here")
        return Value(name or self._name(), array)

    def _name(self) -> str:
        return next(filter(None, self.node.outputs), self.node.name)

    def _charge(self, size: int) -> None:
        self.bytes += size
        if self.bytes > LIMIT:
            raise ValueError(f"the constants that are computed while loading take more than {LIMIT / 1e9:.1f} GB")

    def array(self, value: Value | None, what: str) -> np.ndarray:
        """The values of a constant."""
        if value is None:
            raise ValueError(f"{self.node.where}: {what} is missing")
        if value.array is None:
            raise NeedsValueError(f"{self.node.where}: {what} must be known when the file is loaded, but is computed "
                                  "from an input", self._source(value))
        return value.array

    def _source(self, value: Value) -> str:
        """The name of the input that a computed value depends on; "" where there are several or none."""
        return value.name if any(value is v for v in self.inputs) else ""

    def ints(self, value: Value | None, what: str, count: int | None = None) -> list[int]:
        """The values of a constant of integers, as a list."""
        array = self.array(value, what)
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 4096:
            raise ValueError(f"{self.node.where}: {what} must be a list of integers")
        found = [int(v) for v in array.reshape(-1)]
        if count is not None and len(found) != count:
            raise ValueError(f"{self.node.where}: {what} (={short(found)}) must have {count} entries")
        return found

    def number(self, value: Value | None, what: str) -> float:
        """The value of a constant of one number."""
        array = self.array(value, what)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise ValueError(f"{self.node.where}: {what} must be one number, not of shape {short(list(array.shape))}")
        return decimal(array.reshape(()))

    def axis(self, axis: int, ndim: int) -> int:
        """An axis counted from the front."""
        if not -ndim <= axis < ndim:
            raise ValueError(f"{self.node.where}: the axis {axis} does not fit {ndim} axes")
        return axis % ndim


def _check_inputs(function: Callable[..., Any], first: int, given: Sequence[Any]) -> None:
    """ValueError unless the node has as many inputs as the function takes, none of which it needs is left out."""
    parameters = list(inspect.signature(function).parameters.values())[first:]
    plain = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    needed = sum(p.default is p.empty for p in plain)
    if len(given) < needed or (len(given) > len(plain) and len(plain) == len(parameters)):
        more = f" to {len(plain)}" if len(plain) > needed else " or more" * (len(plain) < len(parameters))
        raise ValueError(f"it has {len(given)} inputs, and must have {needed}{more}")
    several = len(plain) < len(parameters) and not plain
    if any(v is None for v in (given if several and parameters[0].name != "inputs" else given[:needed])):
        raise ValueError("one of its inputs is left out, which it needs")


def _on_meta(a: Argument) -> Any:
    if not isinstance(a, Value):
        return a
    return a.like if a.array is None else Tensor(meta.ndarray(a.array.shape, a.array.dtype))
