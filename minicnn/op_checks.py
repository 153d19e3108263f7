"""Checks of an op's arguments and results. Each error is one sentence: the op, the argument, the rule and the fix."""

from __future__ import annotations

import math
import zlib

import numpy as np

from minicnn import devices

_PLAIN = {int, float, bool, str, type(None)}                       # types of hyper-parameters that need no check
_FLOAT32 = np.dtype(np.float32)
_REAL = (int, float, np.integer, np.floating)


def dtype(array):
    """`array`; TypeError unless a Tensor may hold its dtype."""
    if str(array.dtype) not in ("float32", "float64") and array.dtype.kind not in "iub":
        raise TypeError(f"a Tensor holds float32, float64, integers or booleans, not {array.dtype}: "
                        "convert the array with .astype('float32')")
    return array


def from_lists(data):
    """Numbers and nested lists as an array on the CPU."""
    try:
        return np.asarray(data)
    except ValueError:
        raise ValueError("Tensor: nested lists must hold numbers, the same count in every row") from None


def declaration(op):
    """TypeError unless the op has arrays, and the names given to `@op` are names of its arrays."""
    unknown = {*op.constants, *op.optional, *op.numbers} - {*op.arguments}
    if unknown or not op.arguments:
        raise TypeError(f"{op.__name__}: an op takes one array or more, and constants, optional and numbers name some "
                        f"of them; its arrays are {op.arguments}" + f", not {sorted(unknown)}" * bool(unknown))


def names(op, count):
    """The names of an op's first `count` arrays; all arrays of a `*xs` are called xs."""
    known = op.arguments
    return known if count <= len(known) else (*known, *known[-1:] * (count - len(known)))


def arguments(op, args, hyper):
    """(the device of the arguments, the dtype they share, the arguments as arrays, numbers or None), checked."""
    for key, value in hyper.items():
        if type(value) not in _PLAIN:
            hyper[key] = _plain(op, key, value)
    device = dtype = first = kind_of_array = None
    arrays = []
    for name, a in zip(names(op, len(args)), args):
        if hasattr(a, "requires_grad"):
            a = a.data
        if type(a) is kind_of_array:
            home = device                                          # the type of an array tells its device
        elif (home := devices.find(a)) is None:
            arrays.append(_number_or_none(op, name, a))
            continue
        if device is None:
            device, first, kind_of_array = home, name, type(a)
        elif device is not home and name in op.constants and isinstance(a, np.ndarray):
            a = device.asarray(a)                                  # labels as a loader makes them
        elif device is not home:
            raise ValueError(f"{op.__name__}: {first} is on {device.name} but {name} is on {home.name}: "
                             f"move one of them with .to({device.name!r})")
        kind = a.dtype
        if kind is not dtype and name not in op.constants:
            if kind is not _FLOAT32 and (kind.kind != "f" or kind.itemsize not in (4, 8)):
                raise TypeError(f"{op.__name__}: {name} is {kind}, but ops compute in float32 or float64: "
                                "convert it with .astype('float32')")
            if dtype is None:
                dtype = kind
            elif dtype != kind:
                raise TypeError(f"{op.__name__}: {first} is {dtype} but {name} is {kind}: "
                                f"convert {first} with .astype('{kind}')")
        arrays.append(a)
    if device is None:
        raise TypeError(f"{op.__name__}: none of the arguments is a Tensor or an array: wrap one in Tensor(...)")
    return device, dtype, arrays


def _plain(op, key, value):
    """A hyper-parameter as a plain Python value: eps=np.float64(1e-5) must not decide the dtype."""
    if key in op.arguments:
        raise TypeError(f"{op.__name__}: {key} was given twice, by position and by name")
    if type(value) is tuple and _PLAIN.issuperset(map(type, value)):
        return value
    if any(hasattr(v, "requires_grad") for v in (value if isinstance(value, (tuple, list)) else (value,))):
        raise TypeError(f"{op.__name__}: {key} is a Tensor, but hyper-parameters are plain Python values: "
                        f"pass {key}={key}.item(), or {key}={key}.data for an index")
    return value.item() if isinstance(value, (np.number, np.bool_)) else value


def _number_or_none(op, name, value):
    if value is None and name in op.optional:
        return None
    if isinstance(value, _REAL) and name in op.numbers:
        return _finite(value.item() if isinstance(value, np.number) else value, f"{op.__name__}: {name}")
    rule = "a Tensor, an array or a number" if name in op.numbers else "a Tensor or an array"
    fix = ": pass several Tensors one by one" if isinstance(value, (list, tuple)) else ""
    raise TypeError(f"{op.__name__}: {name} must be {rule}, not {brief(value)}{fix}")


def brief(value):
    """A wrong value for an error message: its repr if that is short, else its type."""
    return repr(value) if value is None or (isinstance(value, (*_REAL, complex, str)) and len(repr(value)) < 40) else (
        f"a {type(value).__name__}")


def number(op_name, key, value, least=-math.inf, below=math.inf):
    """The hyper-parameter `value`, if it is a finite number with least ≤ value < below; else an error."""
    if isinstance(value, bool) or not isinstance(value, _REAL):
        raise TypeError(f"{op_name}: {key} must be a number, not {brief(value)}")
    if not (math.isfinite(_finite(value, f"{op_name}: {key}")) and least <= value < below):
        limits = [f"at least {least}"] * math.isfinite(least) + [f"below {below}"] * math.isfinite(below)
        raise ValueError(f"{op_name}: {key} (={value}) must be {' and '.join(limits) or 'finite'}")
    return value


def _finite(value, what):
    """The number `value`; ValueError if it is an integer too large for a float."""
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{what} is an integer of {len(str(value))} digits: use a number below 1e308") from None
    return value


def flag(op_name, key, value):
    """The hyper-parameter `value`; TypeError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op_name}: {key} must be True or False, not {brief(value)}")
    return bool(value)


def result(op, args, result):
    """(y, the gradient functions, aux) from the value that the op's function returned, checked."""
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        got = f"{len(result)} values" if isinstance(result, tuple) else f"only a {type(result).__name__}"
        raise _breaks_the_rule(op, f"it returned {got}", "y, (dx, dw)")
    y, vjps, aux = result if len(result) == 3 else (*result, ())
    if len(result) == 3 and (callable(aux) or (isinstance(aux, tuple) and any(map(callable, aux)))):
        raise _breaks_the_rule(op, "it returned gradient functions as the third item", "y, (dx, dw)")
    if not isinstance(aux, tuple) or callable(y):
        wrong = "the first item is a function" if callable(y) else f"aux is a {type(aux).__name__}, not a tuple"
        raise _breaks_the_rule(op, wrong, "y, (dx, dw), (mean, var)")
    if not isinstance(vjps, tuple):
        vjps = (vjps,)
    count = len(args) if op.variadic else len(op.arguments)
    if len(vjps) != count:
        raise _breaks_the_rule(op, f"there are {count} arrays ({', '.join(names(op, count))}) and "
                                   f"{len(vjps)} gradients", "y, (dx, dw)")
    for i, vjp in enumerate(vjps):
        if vjp is None:
            if i < len(args) and getattr(args[i], "requires_grad", False) and not {*op.arguments} <= {*op.constants}:
                name = names(op, count)[i]
                raise TypeError(f"{op.__name__}: {name} requires a gradient, but this op has none for it: "
                                f"pass {name}.detach()")
        elif not callable(vjp):
            raise _breaks_the_rule(op, f"the gradient of {names(op, count)[i]} is a {type(vjp).__name__}",
                                   "functions of dy")
    return y, vjps, aux


def _breaks_the_rule(op, what, fix):
    return TypeError(f"{op.__name__}: an op returns (y, gradients) or (y, gradients, aux), with one function dy → dx "
                     f"for each array, but {what}: return {fix}")


def _is_on(y, device):
    found = devices.find(y)                                        # by name: the CPU has two implementations
    return found is not None and found.name == device.name


def value(op, device, dtype, y):
    """y as an array of the op's device and dtype."""
    if type(y) is device.xp.ndarray and y.dtype == dtype:          # nearly always
        return y
    if isinstance(y, (int, float)) and not isinstance(y, np.number):
        return device.asarray(y, dtype)                            # a Python number does not decide the dtype
    if hasattr(y, "requires_grad") or not (isinstance(y, np.generic) or _is_on(y, device)):
        raise TypeError(f"{op.__name__}: it computed a {type(y).__name__}, but the function under @op works on plain "
                        f"arrays of {device.name!r}: compute y with operators and device.xp")
    y = device.asarray(y)
    if y.dtype.kind not in "iub" and y.dtype != dtype and dtype is not None:
        raise TypeError(f"{op.__name__}: it computed {y.dtype} from {dtype} arguments: "
                        "return y.astype(x.dtype), or leave NumPy's float64 numbers out of the formula")
    return y


def missing(op, device, problem):
    """Raise NotImplementedError if an AttributeError means that the device lacks a function of the op; else return."""
    owner = problem.obj
    if owner is device or owner is device.xp or (device.name == "meta" and devices.find(owner) is device):
        raise NotImplementedError(f"{op.__name__}: device {device.name!r} has no {problem.name!r}: "
                                  "compute on 'cpu'") from problem


def direction(y, dy):
    """`dy`, from which `backward` starts, as an array with the shape and dtype of the Tensor y; 1 for a scalar."""
    if dy is None and y.size != 1:
        raise ValueError(f"backward: dy may be left out only for a scalar, but this Tensor has shape {y.shape}: "
                         "pass an array of that shape")
    device = devices.of(y.data)
    dy = device.xp.ones_like(y.data) if dy is None else dy.data if hasattr(dy, "requires_grad") else dy
    dy = device.asarray(dy, y.dtype)
    if dy.shape != y.shape:
        raise ValueError(f"backward: dy has shape {dy.shape}, but the Tensor has shape {y.shape}: "
                         "the two must be the same")
    return dy


def gradient(op_name, parent, dx):
    """`dx`; AssertionError unless it has its argument's shape and dtype."""
    x = parent.data
    if type(dx) is type(x) and dx.shape == x.shape and dx.dtype == x.dtype:
        return dx
    home = devices.of(x)
    array = home.asarray(dx) if isinstance(dx, (np.ndarray, np.generic, float)) else dx
    if devices.find(array) is not home or array.shape != x.shape or array.dtype != x.dtype:
        what = f"of shape {array.shape} and {array.dtype}" if devices.find(array) else f"that is a {type(dx).__name__}"
        raise AssertionError(f"{op_name}: gradient {what} for an argument of shape {x.shape} and {x.dtype}: "
                             "a gradient function must return an array of its argument's shape and dtype")
    return array


def checksums(named, arrays):
    """(name, array, checksum) of each array, to detect later whether it was changed in place."""
    return tuple((name, a, checksum(a)) for name, a in zip(named, arrays) if devices.find(a) is not None)


def unchanged(op_name, sums):
    """RuntimeError if one of the arrays was changed after its checksum was computed."""
    for name, array, before in sums:
        if checksum(array) != before:
            raise RuntimeError(f"backward: {name} of {op_name!r} was changed in place after the forward pass, so that "
                               "the gradient would be wrong: change a copy, or change it after backward")


def checksum(array):
    """A number that changes when a value of `array` does."""
    values = np.ascontiguousarray(devices.of(array).to_numpy(array))
    return zlib.crc32(values.data.cast("B")) if values.size else 0
