"""Arrays of a simulated device: NumPy refuses them, and they refuse NumPy's arrays, as CuPy's do.

HiddenArray holds a NumPy array and is none. The emulated GPU's `ndarray` puts it into memory of its own, filled with
NaN (integers: all bits set) and ending at a page that must not be touched, so that a kernel that forgets an output, or
writes beyond the end, is caught.
"""

import ctypes
import math
import mmap
import operator
import types
import weakref

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_PAGE = mmap.PAGESIZE
_FORBIDDEN = 16 * _PAGE  # behind each array: a kernel that misses by some thousand values is caught, and harms no one


def guarded(shape, dtype):
    """New memory as a NumPy array, filled with NaN, forbidden pages behind its last byte."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    room = -(-count * dtype.itemsize // 16) * 16
    pages = max(1, -(-room // _PAGE))
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    base = _libc.mmap(None, pages * _PAGE + _FORBIDDEN, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise MemoryError(f"the emulated device has no memory for {shape} {dtype}")
    _libc.mprotect(base + pages * _PAGE, _FORBIDDEN, 0)
    buffer = (ctypes.c_char * max(room, 1)).from_address(base + pages * _PAGE - room)
    weakref.finalize(buffer, _libc.munmap, base, pages * _PAGE + _FORBIDDEN)
    ctypes.memset(ctypes.addressof(buffer), 0xFF, room)
    return np.frombuffer(buffer, dtype, count).reshape(shape)


class HiddenArray:
    """An array of a simulated device. `base`: the array whose memory it is a view of, or None."""

    __slots__ = ("__weakref__", "base", "hidden")
    __hash__ = None
    __array_ufunc__ = None                                         # NumPy then asks our own operators, which refuse it

    def __init__(self, hidden, base=None):
        self.hidden, self.base = hidden, base

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} called with an array of the device")

    shape = property(lambda self: self.hidden.shape)
    ndim = property(lambda self: self.hidden.ndim)
    size = property(lambda self: self.hidden.size)
    dtype = property(lambda self: self.hidden.dtype)
    itemsize = property(lambda self: self.hidden.itemsize)
    nbytes = property(lambda self: self.hidden.nbytes)
    strides = property(lambda self: self.hidden.strides)
    flags = property(lambda self: self.hidden.flags)
    T = property(lambda self: self.wrap(self.hidden.T, [self]))

    def get(self):
        """A NumPy copy."""
        return np.ascontiguousarray(self.hidden).reshape(self.shape).copy()

    def item(self):
        """The one value, as a Python number."""
        return self.hidden.item()

    def __getitem__(self, index):
        return self.wrap(self.hidden[bare_index(index)], [self])

    def __setitem__(self, index, value):
        self.hidden[bare_index(index)] = bare(value)

    def __len__(self):
        return len(self.hidden)

    def __repr__(self):
        return f"{type(self).__name__}({self.hidden!r})"

    def __float__(self):
        return float(self.hidden)

    def __int__(self):
        return int(self.hidden)

    def __bool__(self):
        return bool(self.hidden)

    @classmethod
    def of(cls, value):
        """A NumPy result as a new array of the device."""
        return cls(value)

    @classmethod
    def wrap(cls, value, sources=()):
        """What NumPy computed, as arrays of the device, 0-d ones too: a view of a source stays a view of it."""
        if isinstance(value, (tuple, list)):
            return type(value)(cls.wrap(v, sources) for v in value)
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        value = np.asarray(value)
        for source in sources:
            if source.hidden is value:
                return source
            if value.size and np.may_share_memory(value, source.hidden):
                return cls(value, source if source.base is None else source.base)
        return cls.of(value)

    @classmethod
    def function(cls, function):
        """A function of NumPy arrays as one of the device's arrays."""
        def call(*args, **kwargs):
            sources = [a for a in args if isinstance(a, HiddenArray)]
            return cls.wrap(function(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}), sources)

        call.__name__ = function.__name__
        return call


def _method(name):
    def call(self, *args, **kwargs):
        value = getattr(self.hidden, name)(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()})
        return self.wrap(value, [self])

    return call


def _operator(function, swapped=False):
    def call(self, other):
        a, b = self.hidden, bare(other)
        return self.wrap(function(b, a) if swapped else function(a, b))

    return call


def _in_place(function):
    def call(self, other):
        function(self.hidden, bare(other))
        return self

    return call


for _name in ("sum", "prod", "mean", "var", "max", "min", "argmax", "argmin", "reshape", "transpose", "swapaxes",
              "copy", "astype", "ravel", "view", "__neg__", "__abs__", "__invert__"):  # fmt: skip
    setattr(HiddenArray, _name, _method(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(HiddenArray, f"__{_name}__", _operator(_function))
    setattr(HiddenArray, f"__r{_name}__", _operator(_function, swapped=True))
    setattr(HiddenArray, f"__i{_name}__", _in_place(getattr(operator, f"__i{_name}__")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(HiddenArray, f"__{_name}__", _operator(getattr(operator, _name)))


class ndarray(HiddenArray):
    """An array of the emulated GPU: its memory is guarded, and kernels get its address."""

    __slots__ = ()
    writes = 0                                                     # assignments to parts of any array: nccl.py asks
    data = property(lambda self: types.SimpleNamespace(ptr=self.hidden.ctypes.data))

    def __setitem__(self, index, value):
        ndarray.writes += 1
        super().__setitem__(index, value)

    @classmethod
    def of(cls, value):
        return cls(moved(value))


def bare(value):
    """The NumPy array inside; TypeError for a NumPy array, which is on another device. Numbers pass."""
    if isinstance(value, HiddenArray):
        return value.hidden
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: move it to the device with asarray")
    if isinstance(value, (tuple, list)):
        return type(value)(map(bare, value))
    return value


def bare_index(index):
    """As `bare`, but index arrays may be NumPy's: CuPy takes them."""
    if isinstance(index, tuple):
        return tuple(map(bare_index, index))
    return index.hidden if isinstance(index, HiddenArray) else index


def moved(value):
    """A copy in guarded memory; axes lie in the same order."""
    order = sorted(range(value.ndim), key=lambda i: (-abs(value.strides[i]), i))
    copy = guarded(tuple(value.shape[i] for i in order), value.dtype).transpose(np.argsort(order))
    copy[...] = value
    return copy
