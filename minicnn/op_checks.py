"""Checks of what an op is given and what it returns: one sentence with the op, the argument, the rule and the fix."""

from __future__ import annotations

import zlib
from numbers import Number

import numpy as np

from minicnn import devices


def dtype(array):
    """`array`, if a Tensor may hold its dtype."""
    if str(array.dtype) not in ("float32", "float64") and array.dtype.kind not in "iub":
        raise TypeError(f"a Tensor holds float32, float64, integers or booleans, not {array.dtype}: "
                        "convert the array with .astype('float32')")
    return array


def names(op, count):
    """The names of an op's first `count` arrays; those of a `*xs` all have its name."""
    return [op.arguments[min(i, len(op.arguments) - 1)] for i in range(count)]


def arguments(op, values, hyper):
    """(the device of the arguments, the arguments as arrays, numbers or None), once they are known to fit together."""
    for key, value in hyper.items():
        if any(hasattr(v, "requires_grad") for v in (value if isinstance(value, (tuple, list)) else (value,))):
            raise TypeError(f"{op.__name__}: {key} is a Tensor, but hyper-parameters are plain Python values: "
                            f"pass {key}={key}.item(), or {key}={key}.data for an index")
        if isinstance(value, Number) and hasattr(value, "item"):
            hyper[key] = value.item()                              # eps=np.float64(1e-5) must not decide the dtype
    device = kind = first = None
    arrays = []
    for name, a in zip(names(op, len(values)), values):
        home = devices.find(a)
        if home is None:
            if a is None and name not in op.optional:
                raise TypeError(f"{op.__name__}: {name} must be a Tensor or an array, not None")
            if a is not None and not isinstance(a, Number):
                raise TypeError(f"{op.__name__}: {name} must be a Tensor, an array or a number, not a "
                                f"{type(a).__name__}: wrap numbers in Tensor(...), pass several Tensors one by one")
            arrays.append(a.item() if hasattr(a, "item") else a)   # a NumPy scalar must not decide the dtype
            continue
        if device not in (None, home):
            raise ValueError(f"{op.__name__}: {first} is on {device.name} but {name} is on {home.name}: "
                             f"move one of them with .to({device.name!r})")
        device, first = home, first or name
        if name not in op.constants:
            if a.dtype.kind != "f" or a.dtype.itemsize not in (4, 8):
                raise TypeError(f"{op.__name__}: {name} is {a.dtype}, but ops compute in float32 or float64: "
                                "convert it with .astype('float32')")
            if kind is not None and kind != a.dtype:               # not `in (None, …)`: NumPy reads None as float64
                raise TypeError(f"{op.__name__}: {first} is {kind} but {name} is {a.dtype}: "
                                f"convert {first} with .astype('{a.dtype}')")
            kind = a.dtype
        arrays.append(a)
    if device is None:
        raise TypeError(f"{op.__name__}: none of the arguments is a Tensor or an array: wrap one in Tensor(...)")
    return device, arrays


def result(op, args, result):
    """(y, the gradient functions, aux) of what the op's function returned."""
    rule = "an op returns (y, gradients) or (y, gradients, aux), with one gradient function for each array"
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        got = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__} alone"
        raise TypeError(f"{op.__name__}: {rule}, but it returned {got}: return y, (dx, dw)")
    y, vjps, *aux = result
    if aux and callable(aux[0]):
        raise TypeError(f"{op.__name__}: {rule}: put several gradient functions in a tuple, return y, (dx, dw)")
    vjps = vjps if isinstance(vjps, tuple) else (vjps,)
    if not all(vjp is None or callable(vjp) for vjp in vjps):
        kinds = ", ".join("None" if vjp is None else type(vjp).__name__ for vjp in vjps)
        raise TypeError(f"{op.__name__}: {rule}, but its gradients are {kinds}: return functions of dy")
    count = max(len(op.arguments), len(args))
    if len(vjps) != count:
        raise TypeError(f"{op.__name__}: {rule}, but {count} array(s) ({', '.join(op.arguments)}) have "
                        f"{len(vjps)} gradient function(s)")
    for name, a, vjp in zip(names(op, len(args)), args, vjps):
        if vjp is None and getattr(a, "requires_grad", False):
            raise TypeError(f"{op.__name__}: {name} requires a gradient, but this op has none for it: "
                            f"pass {name}.detach()")
    return y, vjps, aux[0] if aux else ()


def gradient(op_name, parent, dx):
    """`dx`, if it has its argument's shape and dtype."""
    home = devices.of(parent.data)
    array = home.asarray(dx) if isinstance(dx, (np.ndarray, np.generic, float)) else dx
    if devices.find(array) is not home or array.shape != parent.shape or array.dtype != parent.dtype:
        what = f"of shape {array.shape} and {array.dtype}" if devices.find(array) else f"that is a {type(dx).__name__}"
        raise AssertionError(f"{op_name}: gradient {what} for an argument of shape {parent.shape} and {parent.dtype}: "
                             "a gradient function must return an array of its argument's shape and dtype")
    return array


def checksums(named, arrays):
    """(name, array, checksum) of each array, to find out later whether it was changed in place."""
    return tuple((name, a, _checksum(a)) for name, a in zip(named, arrays) if devices.find(a) is not None)


def unchanged(op_name, sums):
    """A sentence if one of the arrays was changed after its checksum was taken."""
    for name, array, before in sums:
        if _checksum(array) != before:
            raise RuntimeError(f"backward: {name} of {op_name!r} was changed in place after the forward pass, so that "
                               "the gradient would be wrong: change a copy, or change it after backward")


def _checksum(array):
    return zlib.crc32(np.ascontiguousarray(devices.of(array).to_numpy(array)).data.cast("B"))
