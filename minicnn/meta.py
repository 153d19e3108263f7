"""A backend that computes no values, only shapes and receptive fields: the device "meta".

A net on "meta" runs its own forward code, but each array knows only its shape, its dtype, and which pixels of the
image one of its elements depends on. So `inspect.summary` measures VGG-19 in milliseconds, without its memory. Code
that needs values or gradients gets a clear error: every primitive and function that is missing here raises one.
Receptive fields: receptive_field.py.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from minicnn.receptive_field import HERE, Field, Fields

name = "meta"
recomputes_relu = False
NO_VALUES = "an array on 'meta' has a shape but no values: build the model without the device 'meta'"


class ndarray:
    """A shape, a dtype and, if it was computed from an image, the receptive field of its first element."""

    base = None

    def __init__(self, shape, dtype=np.float32, fields: Fields | None = None):
        self.shape, self.dtype, self.fields = tuple(int(n) for n in shape), np.dtype(dtype), fields

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    T = property(lambda self: self.transpose())

    def __getattr__(self, name):
        raise AttributeError(_missing(f"array method {name!r}"))

    def __len__(self):
        return self.shape[0]

    def item(self, *index):
        raise TypeError(NO_VALUES)

    __bool__ = __int__ = __float__ = __index__ = item

    def __neg__(self):
        return self

    def __add__(self, other):
        return _combine(self, other)

    __radd__ = __iadd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
    __pow__ = __rpow__ = __add__

    def __gt__(self, other):
        return ndarray(_combine(self, other).shape, bool, self.fields)

    __lt__ = __ge__ = __le__ = __and__ = __rand__ = __gt__

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """An elementwise function that is called as NumPy's, such as np.exp(x) in an op of a user's own."""
        if method != "__call__" or ufunc.signature or ufunc.nout != 1 or options:
            raise TypeError(_missing(f"array function {ufunc.__name__!r}"))
        ghosts = [asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        found = _combine(*ghosts)
        with np.errstate(all="ignore"):
            dtype = ufunc(*(np.ones(1, x.dtype) if isinstance(x, ndarray) else x for x in ghosts)).dtype
        return ndarray(found.shape, dtype, found.fields)

    def __matmul__(self, other):
        if other.ndim == 4 and self.ndim == 2:             # rows mixed: pooling written as a product
            return ndarray((*other.shape[:2], self.shape[0], other.shape[3]), other.dtype,
                           _spread(other, (-(-other.shape[2] // self.shape[0]), 1)))
        if self.ndim == 4 and other.ndim == 2:             # columns mixed
            return ndarray((*self.shape[:3], other.shape[1]), self.dtype,
                           _spread(self, (1, -(-self.shape[3] // other.shape[1]))))
        lead = np.broadcast_shapes(self.shape[:-2], other.shape[:-2])
        return ndarray((*lead, self.shape[-2], other.shape[-1]), self.dtype, _joined(self, other))

    def __getitem__(self, index):
        if isinstance(index, ndarray):                     # an index array without values: one row for each entry
            return ndarray((*index.shape, *self.shape[1:]), self.dtype, self.fields)
        shape = np.broadcast_to(np.int8(0), self.shape)[index].shape
        fields = self.fields
        named = isinstance(index, tuple) and not any(i is Ellipsis or i is None for i in index)
        if fields and self.ndim == 4 and named:
            cuts = (*index[2:], slice(None), slice(None))
            down, across = (_taken(f, i, n) for f, i, n in zip(fields, cuts, self.shape[2:]))
            fields = (down, across)
        return ndarray(shape, self.dtype, fields)

    def __setitem__(self, index, value):
        if getattr(value, "fields", None):
            self.fields = _joined(self, value)

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(self.size // known if n == -1 else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape array of size {self.size} into shape {shape}")
        squeezed = (*self.shape[:2], *(n for n in self.shape[2:] if n != 1))
        flattened = self.ndim == 4 and len(shape) < 4 and shape != squeezed
        fields = _spread(self, self.shape[2:]) if flattened else _shuffled(self, shape)
        return ndarray(shape, self.dtype, fields)

    def transpose(self, *axes):
        axes = axes[0] if axes and isinstance(axes[0], tuple) else axes or tuple(reversed(range(self.ndim)))
        return ndarray([self.shape[a] for a in axes], self.dtype, self.fields)

    def astype(self, dtype):
        return ndarray(self.shape, dtype, self.fields)

    def copy(self):
        return self

    def sum(self, axis=None, keepdims=False):
        axes = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = {a % self.ndim for a in axes}
        shape = [1 if a in axes else n for a, n in enumerate(self.shape) if keepdims or a not in axes]
        taken = [self.shape[a] if self.ndim >= 4 and a in axes else 1 for a in (self.ndim - 2, self.ndim - 1)]
        return ndarray(shape, self.dtype, _spread(self, taken))

    mean = max = min = prod = sum

    def argmax(self, axis):
        return self.sum(axis).astype(np.int64)

    argmin = argmax


def _combine(*args, **ignored):
    """The result of any elementwise function: broadcast shape, common dtype, joined fields."""
    arrays = [a for a in args if isinstance(a, ndarray)]
    dtype, shape = np.result_type(*(a.dtype for a in arrays)), np.broadcast_shapes(*(a.shape for a in arrays))
    return ndarray(shape, dtype, _joined(*(_broadcast(a, shape) for a in arrays)))


def _broadcast(array, shape):
    """The array with jump 0 along broadcast axes, where all positions read one element."""
    if array.fields is None or array.ndim < 4 or array.shape[-2:] == shape[-2:]:
        return array
    down, across = (Field(f.size, 0, f.start) if n == 1 != out else f
                    for f, n, out in zip(array.fields, array.shape[-2:], shape[-2:]))  # fmt: skip
    return ndarray(array.shape, array.dtype, (down, across))


def _joined(*arrays) -> Fields | None:
    fields = [a.fields for a in arrays if a.fields is not None]
    if not fields:
        return None
    down, across = fields[0]
    for other in fields[1:]:
        down, across = down.joined(other[0]), across.joined(other[1])
    return down, across


def _spread(array, counts) -> Fields | None:
    """The fields of one element that depends on `counts` elements of `array`, down and across."""
    if array.fields is None:
        return None
    down, across = (Field(f.size + (n - 1) * f.jump, f.jump * n, f.start) for f, n in zip(array.fields, counts))
    return down, across


def _taken(field, index, size):
    """The field of one axis of maps after indexing it."""
    if isinstance(index, slice):
        return field.cut(index)
    return field.picked(index, size) if isinstance(index, np.ndarray) else field


def _shuffled(array, shape) -> Fields | None:
    """The fields after a reshape that splits the pixels into blocks, or joins blocks to pixels, as pixel_shuffle does.

    (N,C,H,W) → (N,C,H/r,r,W/q,q): the fields of r·q pixels; (N,C,H,r,W,q) → (N,C,H·r,W·q): r·q pixels read the same.
    """
    if array.fields is None:
        return None
    down, across = array.fields
    if array.ndim == 4 and len(shape) == 6 and (shape[2] * shape[3], shape[4] * shape[5]) == array.shape[2:]:
        return _spread(array, (shape[3], shape[5]))
    if array.ndim == 6 and len(shape) == 4 and shape[1:] == (array.shape[1], array.shape[2] * array.shape[3],
                                                             array.shape[4] * array.shape[5]):  # fmt: skip
        return down.divided(array.shape[3]), across.divided(array.shape[5])
    return array.fields


def _filled(shape, value=None, dtype=np.float32):
    return ndarray(shape, dtype)


def _concatenate(arrays, axis):
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return ndarray(shape, arrays[0].dtype, _joined(*arrays))


def _padded(array, widths, mode, constant_values=0):
    """What numpy.pad returns. Pixels of the border are counted as pixels outside the image, also mirrored ones."""
    fields = array.fields
    if fields is not None:
        down, across = (Field(f.size, f.jump, f.start - before * f.jump) for f, (before, _) in zip(fields, widths[-2:]))
        fields = (down, across)
    return ndarray([n + sum(ends) for n, ends in zip(array.shape, widths)], array.dtype, fields)


def _where(mask, a, b):
    return _combine(mask.astype(bool) if isinstance(mask, ndarray) else mask, a, b)


class _Xp(SimpleNamespace):
    def __getattr__(self, name):
        raise AttributeError(_missing(f"array function {name!r}"))


xp: Any = _Xp(
    ndarray=ndarray,
    concatenate=_concatenate,
    full=_filled,
    pad=_padded,
    zeros=lambda shape, dtype=np.float32: ndarray(shape, dtype),
    empty=lambda shape, dtype=np.float32: ndarray(shape, dtype),
    zeros_like=lambda a: ndarray(a.shape, a.dtype),
    broadcast_to=lambda a, shape: ndarray(shape, a.dtype, a.fields),
    arange=lambda n: ndarray((n,), np.int64),
    **dict.fromkeys(
        ("abs", "add", "clip", "divide", "exp", "expm1", "isfinite", "log", "log1p", "maximum", "minimum", "multiply",
         "power", "sign", "sqrt", "subtract", "tanh"), _combine
    ),
    **dict.fromkeys(("equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not",
                     "logical_or"), lambda *arrays: _combine(*arrays).astype(bool)),
    where=_where,
)


# ------------------------------------------------------------------------------------------------------ the primitives


def __getattr__(name):
    raise AttributeError(_missing(f"primitive {name!r}"))


def _missing(what):
    return f"device 'meta' has no {what}: it computes shapes in a forward pass, but no values and no gradients"


def image(shape) -> ndarray:
    """An input image (N,C,H,W): the field of each pixel is the pixel itself."""
    return ndarray(shape, np.float32, HERE)


def asarray(values, dtype=None):
    return values if isinstance(values, ndarray) and dtype is None else ndarray(values.shape, dtype or values.dtype)


def to_numpy(array):
    raise TypeError(NO_VALUES)


def synchronize():
    """There is nothing to wait for."""


def elementwise(function, *arrays):
    return function(*arrays)


def evaluate(formula, *arguments):
    return formula(xp, *arguments)


def relu(x):
    return x


def add(a, b):
    return _combine(a, b)


add_relu = add


def matmul(a, b, bias=None):
    return a @ b


def conv2d(x, w, b, g, relu=False):
    return ndarray((g.N, g.O, g.OH, g.OW), x.dtype, _through(x, g))


def conv2d_dx(dy, w, g):
    fields = dy.fields
    if fields is not None:
        fields = (fields[0].transposed(g.vertical), fields[1].transposed(g.horizontal))
    return ndarray((g.N, g.C, g.H, g.W), dy.dtype, fields)


def max_pool2d(x, g):
    y = ndarray((g.N, g.C, g.OH, g.OW), x.dtype, _through(x, g))
    return y, y.astype(np.int32)


def avg_pool2d(x, g, count_include_pad):
    return max_pool2d(x, g)[0]


def lp_pool2d(x, p, g):
    return max_pool2d(x, g)[0]


def batch_norm_stats(x):
    return ndarray((x.shape[1],), x.dtype), ndarray((x.shape[1],), x.dtype)


def batch_norm_apply(x, mean, scale, shift, *, add=None, relu=False):
    return x if add is None else _combine(x, add)


def local_response_norm(x, size, alpha, beta, k):
    return x, x


def cross_entropy(logits, labels, smoothing):
    return logits.sum(1), logits


def dropout_mask(shape, p, seed, draw, start=0):
    return ndarray(shape, bool)


def _through(x, g) -> Fields | None:
    if x.fields is None:
        return None
    return x.fields[0].through(g.vertical), x.fields[1].through(g.horizontal)
