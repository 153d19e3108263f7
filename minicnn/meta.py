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

from minicnn import receptive_field as rf
from minicnn.receptive_field import HERE, Fields, Places

name = "meta"
recomputes_relu = False
NO_VALUES = "an array on 'meta' has a shape but no values: build the model without the device 'meta'"


class ndarray:
    """A shape, a dtype and, if it was computed from an image, the receptive field of its first element.

    places: the axes along which the field moves down and across; None where all elements have one field. By default the
    last two axes of four or more.
    """

    base = None

    def __init__(self, shape, dtype=np.float32, fields: Fields | None = None, places: Places | None = None):
        self.shape, self.dtype, self.fields = tuple(int(n) for n in shape), np.dtype(dtype), fields
        last = (self.ndim - 2, self.ndim - 1) if self.ndim >= 4 else (None, None)
        self.places: Places = last if places is None else places

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
        return _combine(self, other).astype(bool)

    __lt__ = __ge__ = __le__ = __and__ = __rand__ = __gt__

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """An elementwise function that is called as NumPy's, such as np.exp(x) in an op of a user's own."""
        if method != "__call__" or ufunc.signature or ufunc.nout != 1 or options:
            raise TypeError(_missing(f"array function {ufunc.__name__!r}"))
        ghosts = [asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        found = _combine(*ghosts)
        with np.errstate(all="ignore"):
            dtype = ufunc(*(np.ones(1, x.dtype) if isinstance(x, ndarray) else x for x in ghosts)).dtype
        return ndarray(found.shape, dtype, found.fields, found.places)

    def __matmul__(self, other):
        if other.ndim == 4 and self.ndim == 2 and other.places == (2, 3):      # rows mixed: pooling as a product
            return ndarray((*other.shape[:2], self.shape[0], other.shape[3]), other.dtype,
                           rf.spread(other.fields, (-(-other.shape[2] // self.shape[0]), 1)))
        if self.ndim == 4 and other.ndim == 2 and self.places == (2, 3):       # columns mixed
            return ndarray((*self.shape[:3], other.shape[1]), self.dtype,
                           rf.spread(self.fields, (1, -(-self.shape[3] // other.shape[1]))))
        lead = np.broadcast_shapes(self.shape[:-2], other.shape[:-2])
        shape = (*lead, self.shape[-2], other.shape[-1])
        if self.fields is not None and other.fields is None:                   # a weight mixes the last axis
            fields, places = rf.whole(self, {self.ndim - 1})
            return ndarray(shape, self.dtype, fields, rf.moved(places, len(shape) - self.ndim))
        return ndarray(shape, self.dtype, *rf.of_all([rf.whole(self), rf.whole(other)], shape))

    def __getitem__(self, index):
        if isinstance(index, ndarray):                     # an index array without values: one row for each entry
            return ndarray((*index.shape, *self.shape[1:]), self.dtype, self.fields)
        shape = np.broadcast_to(np.int8(0), self.shape)[index].shape
        return ndarray(shape, self.dtype, *rf.indexed(self, index if isinstance(index, tuple) else (index,)))

    def __setitem__(self, index, value):
        if getattr(value, "fields", None):
            self.fields, _ = rf.of_all([(self.fields, self.places), rf.whole(value)], self.shape)

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(self.size // known if n == -1 else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape array of size {self.size} into shape {shape}")
        return ndarray(shape, self.dtype, *rf.reshaped(self, shape))

    def transpose(self, *axes):
        axes = axes[0] if axes and isinstance(axes[0], tuple) else axes or tuple(reversed(range(self.ndim)))
        axes = [a % self.ndim for a in axes]
        places = tuple(None if p is None else axes.index(p) for p in self.places)
        return ndarray([self.shape[a] for a in axes], self.dtype, self.fields, places)

    def astype(self, dtype):
        return ndarray(self.shape, dtype, self.fields, self.places)

    def copy(self):
        return self

    def sum(self, axis=None, keepdims=False):
        axes = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = {a % self.ndim for a in axes}
        shape = [1 if a in axes else n for a, n in enumerate(self.shape) if keepdims or a not in axes]
        kept = [a for a in range(self.ndim) if keepdims or a not in axes]
        places = tuple(kept.index(p) if p in kept else None for p in self.places)
        return ndarray(shape, self.dtype, rf.whole(self, axes)[0], places)

    mean = max = min = prod = sum

    def argmax(self, axis):
        return self.sum(axis).astype(np.int64)

    argmin = argmax


def _combine(*args, **ignored):
    """The result of any elementwise function: broadcast shape, common dtype, joined fields."""
    arrays = [a for a in args if isinstance(a, ndarray)]
    dtype, shape = np.result_type(*(a.dtype for a in arrays)), np.broadcast_shapes(*(a.shape for a in arrays))
    return ndarray(shape, dtype, *rf.of_all([rf.broadcast(a, shape) for a in arrays], shape))


def _filled(shape, value=None, dtype=np.float32):
    return ndarray(shape, dtype)


def _concatenate(arrays, axis):
    shape = list(arrays[0].shape)
    axis, shape[axis] = axis % len(shape), sum(a.shape[axis] for a in arrays)
    # parts of one axis of pixels: an element may come from any of them
    return ndarray(shape, arrays[0].dtype, *rf.of_all([rf.whole(a, {axis}) for a in arrays], shape))


def _padded(array, widths, mode, constant_values=0):
    """What numpy.pad returns. Pixels of the border are counted as pixels outside the image, also mirrored ones."""
    fields = rf.padded(array, [before for before, _ in widths])
    return ndarray([n + sum(ends) for n, ends in zip(array.shape, widths)], array.dtype, fields, array.places)


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
    broadcast_to=lambda a, shape: _combine(a, ndarray(shape, a.dtype)),
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
    """An input image (N,C,H,W) or signal (N,C,L): the field of each pixel is the pixel itself."""
    return ndarray(shape, np.float32, HERE, None if len(shape) != 3 else (None, 2))


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
    fields = rf.as_maps(dy)
    return ndarray((g.N, g.C, g.H, g.W), dy.dtype, fields and (fields[0].transposed(g.vertical),
                                                               fields[1].transposed(g.horizontal)))  # fmt: skip


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
    fields = rf.as_maps(x)
    return fields and (fields[0].through(g.vertical), fields[1].through(g.horizontal))
