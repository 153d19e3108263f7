"""Python's operators and the common methods of a Tensor: `a + b` is ops.add(a, b), `x.mean()` is ops.mean(x).

Installed on Tensor here, because the engine (minicnn/tensor.py) imports no op. Comparisons and argmax have no gradient:
they return plain arrays of booleans or integers.
"""

import operator
from collections.abc import Callable

import numpy as np

from minicnn import devices
from minicnn.ops.arithmetic import (
    abs,
    add,
    clip,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sqrt,
    subtract,
)
from minicnn.ops.axes import normalise_axis
from minicnn.ops.linear import matmul
from minicnn.ops.reduce import max, mean, min, prod, sum
from minicnn.ops.shape import flatten, getitem, reshape, squeeze, transpose
from minicnn.tensor import Op, Tensor


def _swapped(function):
    return lambda self, other: function(other, self)


def _comparison(name):
    compare = getattr(operator, name)

    def method(self, other):
        other = other.data if isinstance(other, Tensor) else other
        if not (isinstance(other, (int, float, list, tuple, np.generic)) or devices.find(other)):
            return NotImplemented                              # == is then False, < Python's own TypeError
        try:
            return compare(self.data, other)
        except (ValueError, TypeError) as problem:
            raise type(problem)(f"{name}: a Tensor of shape {self.shape} can't be compared with "
                                f"{getattr(other, 'shape', other)}: {problem}") from None

    return method


def _on_arrays(compare):
    return lambda *operands: compare(*(a.data if isinstance(a, Tensor) else a for a in operands))


class _ArrayFunction:
    """`__array_ufunc__`: NumPy asks the class for it and gets the function below; CuPy asks the Tensor and gets None.

    With None, CuPy leaves `cupy_array + tensor` to Tensor.__radd__ (NEP 13).
    """

    def __get__(self, tensor, owner):
        return _numpy_function if tensor is None else None


def _numpy_function(self, ufunc, method, *inputs, **options):
    """NumPy's functions of Tensors: np.exp(t) is ops.exp(t); TypeError for a function without an op."""
    function = _NUMPY.get(ufunc.__name__)
    if function is None or method != "__call__" or options:
        called = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        raise TypeError(f"np.{called}{'(…, ' + ', '.join(options) + '=…)' if options else ''} can't record a gradient: "
                        "use the functions of minicnn.ops, or .numpy() if no gradient is needed")
    return function(*inputs)


def _reduction(function):
    def method(self, axis=None, keepdims=False):
        return function(self, axis=axis, keepdims=keepdims)

    method.__doc__, method.__name__ = function.__doc__, function.__name__
    return method


def _reshape(self, *shape):
    """The same values in another shape: `.reshape(2, -1)` or `.reshape((2, -1))`."""
    return reshape(self, shape=shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


def _transpose(self, *axes):
    """The axes in another order, by default reversed: `.transpose(0, 2, 1)` or `.transpose((0, 2, 1))`."""
    return transpose(self, axes=(axes[0] if isinstance(axes[0], (tuple, list)) else axes) if axes else None)


def _clip(self, low=None, high=None):
    """min(max(x, low), high); None for no limit."""
    return clip(self, low=low, high=high)


def _flatten(self, start_axis=0):
    """Merge all axes from `start_axis` on into one; by default all axes, as in NumPy's and PyTorch's method."""
    return flatten(self, start_axis=start_axis)


def _squeeze(self, axis=None):
    """Without the axes of size 1: all of them, or those in `axis`."""
    return squeeze(self, axis=axis)


def _argmax(self, axis=None):
    """The index of the largest value along `axis` (None: in the flattened values), as a plain array."""
    if self.size == 0:
        raise ValueError(f"argmax: shape {self.shape} has no values")
    return self.data.argmax(None if axis is None else normalise_axis("argmax", self.data, axis))


_METHODS = {
    "__getitem__": lambda self, index: getitem(self, index=index),
    "__neg__": negative, "__abs__": abs, "abs": abs, "exp": exp, "log": log, "sqrt": sqrt, "clip": _clip,
    "sum": _reduction(sum), "mean": _reduction(mean), "max": _reduction(max), "min": _reduction(min),
    "prod": _reduction(prod),
    "argmax": _argmax, "reshape": _reshape, "transpose": _transpose, "flatten": _flatten, "squeeze": _squeeze,
    "T": property(_transpose, doc="The axes reversed."),
    **{f"__{name}__": _comparison(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "__array_ufunc__": _ArrayFunction(),
}  # fmt: skip
_BINARY: dict[str, Op] = {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "matmul": matmul,
                         "pow": power}
for _name, _op in _BINARY.items():
    _METHODS |= {f"__{_name}__": _op, f"__r{_name}__": _swapped(_op)}
_COMPARISONS = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt",
                "greater_equal": "ge"}  # fmt: skip
_SAME_NAME = (add, subtract, multiply, divide, matmul, negative, exp, log, sqrt, power, maximum, minimum)
_NUMPY: dict[str, Callable] = {function.__name__: function for function in _SAME_NAME}
_NUMPY |= {name: _on_arrays(getattr(operator, symbol)) for name, symbol in _COMPARISONS.items()} | {"absolute": abs}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
