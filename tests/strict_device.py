"""A device that computes with NumPy and yet refuses NumPy, as a GPU's arrays do.

Its arrays hold a NumPy array but are none: `np.exp(x)`, `np.asarray(x)` and `x + numpy_array` all raise TypeError. An
op that runs on it uses only `device.xp`, the array's own methods and the primitives of the Device interface.
"""

import numpy as np

from minicnn import cpu
from minicnn.device import Device
from tests.emulator.arrays import HiddenArray, bare, bare_index


class StrictArray(HiddenArray):
    """A NumPy array that NumPy cannot reach."""

    __slots__ = ()


class _Xp:
    """The module numpy, for StrictArrays alone."""

    ndarray = StrictArray

    def __getattr__(self, name):
        found = getattr(np, name)
        return StrictArray.function(found) if callable(found) and not isinstance(found, type) else found


PRIMITIVES = sorted(n for n, f in vars(Device).items() if callable(f) and not n.startswith("_"))
"""The methods that Device names."""


class StrictDevice:
    """A backend that calls the primitives of minicnn.cpu on the hidden arrays."""

    name = "strict"
    recomputes_relu = False
    xp = _Xp()

    def asarray(self, values, dtype=None):
        """From NumPy or from itself; the same object if no conversion is needed, as numpy.asarray."""
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
        cpu.add_at(bare(target), bare_index(index), bare(values))


for _name in set(PRIMITIVES) - set(vars(StrictDevice)):
    setattr(StrictDevice, _name, staticmethod(StrictArray.function(getattr(cpu, _name))))
