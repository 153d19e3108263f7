"""A device that computes with NumPy and yet refuses NumPy, as a GPU's arrays do.

Its arrays hold a NumPy array but are none: `np.exp(x)`, `np.asarray(x)` and `x + numpy_array` all raise TypeError. An
op that runs on it uses nothing but `device.xp`, the array's own methods and the primitives of the Device interface.
"""

import operator

import numpy as np

from minicnn import cpu
from minicnn.device import Device


class StrictArray:
    """A NumPy array behind glass."""

    __array_ufunc__ = None  # np.exp(x) raises, and numpy_array + x asks our __radd__, which raises

    def __init__(self, hidden):
        self.hidden = hidden

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion of a StrictArray to NumPy")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} called with a StrictArray")

    def __repr__(self):
        return f"Strict{self.hidden!r}"

    shape = property(lambda self: self.hidden.shape)
    ndim = property(lambda self: self.hidden.ndim)
    size = property(lambda self: self.hidden.size)
    dtype = property(lambda self: self.hidden.dtype)
    nbytes = property(lambda self: self.hidden.nbytes)
    base = property(lambda self: self.hidden.base)
    T = property(lambda self: wrap(self.hidden.T))

    def __getitem__(self, index):
        return wrap(self.hidden[_bare_index(index)])

    def __setitem__(self, index, value):
        self.hidden[_bare_index(index)] = bare(value)

    def item(self):
        return self.hidden.item()

    def __len__(self):
        return len(self.hidden)

    def __int__(self):
        return int(self.hidden)

    def __float__(self):
        return float(self.hidden)

    def __bool__(self):
        return bool(self.hidden)

    __hash__ = None


def _method(name):
    def call(self, *args, **kwargs):
        return wrap(getattr(self.hidden, name)(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}))

    return call


def _operator(function, swapped=False):
    def call(self, other):
        a, b = self.hidden, bare(other)
        return wrap(function(b, a) if swapped else function(a, b))

    return call


def _in_place(function):
    def call(self, other):
        function(self.hidden, bare(other))  # ndarray's own += and the like: the hidden array changes
        return self

    return call


for _name in [
    "sum",
    "mean",
    "var",
    "max",
    "min",
    "argmax",
    "argmin",
    "reshape",
    "transpose",
    "swapaxes",
    "copy",
    "astype",
]:
    setattr(StrictArray, _name, _method(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(StrictArray, f"__{_name}__", _operator(_function))
    setattr(StrictArray, f"__r{_name}__", _operator(_function, swapped=True))
    setattr(StrictArray, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(StrictArray, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(StrictArray, f"__{_name}__", _method(f"__{_name}__"))


def bare(value):
    """The NumPy array inside; TypeError for a NumPy array, which lives somewhere else. Numbers pass."""
    if isinstance(value, StrictArray):
        return value.hidden
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array among StrictArrays: move it with device.asarray")
    if isinstance(value, (tuple, list)):
        return type(value)(map(bare, value))
    return value


def _bare_index(index):
    """As `bare`, but index arrays may be NumPy's: they say where, and CuPy takes them too."""
    if isinstance(index, tuple):
        return tuple(map(_bare_index, index))
    return index.hidden if isinstance(index, StrictArray) else index


def wrap(value):
    """Every array in the result of a NumPy function behind glass; 0-d ones too, as on a GPU."""
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(value))
    return tuple(map(wrap, value)) if isinstance(value, tuple) else value


def guarded(function):
    """`function`, from StrictArrays to StrictArrays."""

    def call(*args, **kwargs):
        return wrap(function(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}))

    return call


class _Xp:
    """The module numpy, for StrictArrays alone."""

    ndarray = StrictArray

    def __getattr__(self, name):
        found = getattr(np, name)
        return guarded(found) if callable(found) and not isinstance(found, type) else found


PRIMITIVES = sorted(n for n, f in vars(Device).items() if callable(f) and not n.startswith("_"))
"""The methods that Device names."""


class StrictDevice:
    """The contract, kept by minicnn.cpu behind glass."""

    name = "strict"
    xp = _Xp()

    def asarray(self, values, dtype=None):
        """From NumPy or from itself; the same object where nothing is to be done, as numpy.asarray."""
        if isinstance(values, StrictArray):
            return values if dtype is None or values.dtype == dtype else StrictArray(values.hidden.astype(dtype))
        return StrictArray(np.array(values, dtype))  # a copy, as from a host to a device

    def to_numpy(self, array):
        return array.hidden.copy()

    def synchronize(self):
        pass

    def elementwise(self, function, *arrays):
        return function(*arrays)  # which speaks this device's language

    def add_at(self, target, index, values):
        cpu.add_at(bare(target), _bare_index(index), bare(values))


for _name in set(PRIMITIVES) - set(vars(StrictDevice)):
    setattr(StrictDevice, _name, staticmethod(guarded(getattr(cpu, _name))))
