"""What the names in a PyTorch checkpoint make: the places of tensors in storages, and plain dictionaries.

A tensor that can't be read keeps the reason as its `problem`, which matters only if it is one of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minicnn.files import arrays
from minicnn.files.arrays import DAMAGED
from minicnn.files.pickle_values import Global, Unknown, as_key
from minicnn.names import short


@dataclass(frozen=True)
class Storage:
    """Consecutive values in the file. problem: why they can't be read, which matters only where a weight needs them."""

    code: str
    key: str
    count: int
    problem: str = ""


@dataclass(frozen=True)
class TensorPlace:
    """The position of a tensor's values in its storage; offset and strides count values, not bytes."""

    storage: Storage
    offset: int = 0
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    problem: str = ""


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *flags_and_hooks: Any) -> TensorPlace:
    """The place of a tensor, checked to be within its storage; gradient flags and hooks are ignored."""
    if not isinstance(storage, Storage) or storage.problem:
        nothing = "it has a tensor without a storage: " + DAMAGED
        return TensorPlace(Storage("", "", 0), problem=getattr(storage, "problem", nothing))
    try:
        for numbers in (shape, strides):
            arrays.check_shape(numbers)
    except ValueError as problem:
        return TensorPlace(storage, problem=str(problem))
    if type(offset) is not int or offset < 0 or len(shape) != len(strides) or len(flags_and_hooks) > 3:
        return TensorPlace(storage, problem=f"it has a tensor at {short(offset)} with the shape {short(shape)} and the "
                                            f"strides {short(strides)}: {DAMAGED}")
    count = math.prod(shape)
    end = offset + sum((n - 1) * step for n, step in zip(shape, strides)) + 1 if count else 0
    if end > storage.count or count > storage.count:  # more values than the storage has: an expanded tensor
        return TensorPlace(storage, problem=f"it has a tensor of shape {short(shape)} beyond its storage of "
                                            f"{storage.count} values, or expanded: in PyTorch, save its .contiguous() "
                                            "copy, or get the file again")
    return TensorPlace(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any, attributes: Any = None) -> Any:
    """A parameter is saved as a call with its tensor."""
    if not isinstance(tensor, (TensorPlace, Unknown)):
        raise TypeError
    return tensor


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, attributes: Any) -> Any:
    """A tensor with attributes, or of a class of its own, is saved as the call that makes the tensor alone."""
    if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
        return function if isinstance(function, Unknown) else Unknown("a tensor of a class of its own")
    return function.call(*arguments)


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise TypeError
    return {as_key(key): value for key, value in pairs}


def _counter(counts: Any = ()) -> dict[Any, Any]:
    return dict(counts) if isinstance(counts, dict) else _ordered(counts)


def _default(factory: Any = None, *pairs: Any) -> dict[Any, Any]:
    return _counter(*pairs)


def _size(axes: Any) -> tuple[int, ...]:
    arrays.check_shape(axes)
    return tuple(axes)


def _known(calls: dict[str, Callable[..., Any]], storages: dict[str, str]) -> dict[str, Global]:
    return {name: Global(name, call) for name, call in calls.items()} | {
        f"torch.{kind}Storage": Global(f"torch.{kind}Storage", about=code) for kind, code in storages.items()
    }


KNOWN = _known(
    {
        "collections.OrderedDict": _ordered,
        "collections.Counter": _counter,
        "collections.defaultdict": _default,
        "__builtin__.dict": _counter,
        "builtins.dict": _counter,
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
        "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
        "torch.Size": _size,
    },
    {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": arrays.BFLOAT16, "Long": "<i8", "Int": "<i4",
     "Short": "<i2", "Char": "|i1", "Byte": "|u1", "Bool": "|b1"},
)  # fmt: skip


SIZES = {f"torch.{kind}Storage": f"|V{size}" for kind, size in (
    ("ComplexDouble", 16), ("ComplexFloat", 8), ("QUInt8", 1), ("QInt8", 1), ("QInt32", 4), ("QUInt4x2", 1),
    ("QUInt2x4", 1))}  # fmt: skip
"""Storages of numbers that are not real ones, and the bytes of each: the old format has them among the others."""
