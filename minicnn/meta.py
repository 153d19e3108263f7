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

Places = tuple[int | None, int | None]
NOWHERE: Places = (None, None)

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
                           _spread(other, (-(-other.shape[2] // self.shape[0]), 1)))
        if self.ndim == 4 and other.ndim == 2 and self.places == (2, 3):       # columns mixed
            return ndarray((*self.shape[:3], other.shape[1]), self.dtype,
                           _spread(self, (1, -(-self.shape[3] // other.shape[1]))))
        lead = np.broadcast_shapes(self.shape[:-2], other.shape[:-2])
        shape = (*lead, self.shape[-2], other.shape[-1])
        if self.fields is not None and other.fields is None:                   # a weight mixes the last axis
            mixed = _whole(self, {self.ndim - 1})
            return ndarray(shape, self.dtype, mixed.fields, _moved(mixed, len(shape) - self.ndim))
        return ndarray(shape, self.dtype, _joined(_whole(self), _whole(other)), NOWHERE)

    def __getitem__(self, index):
        if isinstance(index, ndarray):                     # an index array without values: one row for each entry
            return ndarray((*index.shape, *self.shape[1:]), self.dtype, self.fields)
        shape = np.broadcast_to(np.int8(0), self.shape)[index].shape
        return ndarray(shape, self.dtype, *_indexed(self, index if isinstance(index, tuple) else (index,)))

    def __setitem__(self, index, value):
        if getattr(value, "fields", None):
            self.fields = _joined(self, _whole(value))

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(self.size // known if n == -1 else n for n in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"cannot reshape array of size {self.size} into shape {shape}")
        return ndarray(shape, self.dtype, *_reshaped(self, shape))

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
        return ndarray(shape, self.dtype, _whole(self, axes).fields, places)

    mean = max = min = prod = sum

    def argmax(self, axis):
        return self.sum(axis).astype(np.int64)

    argmin = argmax


def _combine(*args, **ignored):
    """The result of any elementwise function: broadcast shape, common dtype, joined fields."""
    arrays = [a for a in args if isinstance(a, ndarray)]
    dtype, shape = np.result_type(*(a.dtype for a in arrays)), np.broadcast_shapes(*(a.shape for a in arrays))
    return ndarray(shape, dtype, *_of_all([_broadcast(a, shape) for a in arrays]))


def _broadcast(array, shape):
    """The array in a larger shape, with jump 0 along broadcast axes, where all positions read one element."""
    if array.fields is None or array.shape == shape:
        return array
    places = _moved(array, len(shape) - array.ndim)
    down, across = (Field(f.size, 0, f.start) if p is not None and array.shape[p - len(shape)] == 1 != shape[p] else f
                    for f, p in zip(array.fields, places))  # fmt: skip
    return ndarray(shape, array.dtype, (down, across), places)


def _of_all(arrays) -> tuple[Fields | None, Places]:
    """(fields, places) of elements that depend on the elements at the same position of several arrays of one shape."""
    seen = [a for a in arrays if a.fields is not None]
    if not seen:
        return None, NOWHERE
    places, aligned = [], [list(a.fields) for a in seen]
    for d in (0, 1):
        there = {a.places[d] for a in seen} - {None}
        if len(there) > 1:                                 # one moves along another axis than the other: all of both
            for fields, a in zip(aligned, seen):
                fields[d] = _whole(a).fields[d]
        elif there and len(seen) > 1:
            for fields, a in zip(aligned, seen):
                if a.places[d] is None:
                    fields[d] = Field(fields[d].size, 0, fields[d].start)
        places.append(there.pop() if len(there) == 1 else None)
    down, across = aligned[0]
    for other in aligned[1:]:
        down, across = down.joined(other[0]), across.joined(other[1])
    return (down, across), (places[0], places[1])


def _moved(array, further) -> Places:
    """The places where there are `further` more axes in front."""
    return tuple(None if p is None else p + further for p in array.places)  # type: ignore[return-value]


def _whole(array, axes=None):
    """The array as one whose elements depend on all elements along these axes, by default along all."""
    if array.fields is None:
        return array
    counts = [array.shape[p] if p is not None and (axes is None or p in axes) else 1 for p in array.places]
    return ndarray(array.shape, array.dtype, _spread(array, counts), NOWHERE if axes is None else tuple(
        None if p in axes else p for p in array.places))  # fmt: skip


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
    down, across = (_spread_one(f, n) for f, n in zip(array.fields, counts))
    return down, across


def _spread_one(f, n):
    return Field(f.size + (n - 1) * f.jump, f.jump * n, f.start)


def _indexed(array, index) -> tuple[Fields | None, Places]:
    """(fields, places) after indexing."""
    arrays = [i for i in index if isinstance(i, (np.ndarray, list))]
    if array.fields is None or len(arrays) > 1 or any(np.asarray(i).dtype == bool for i in arrays):
        return _whole(array).fields, NOWHERE
    gaps = array.ndim - sum(i is not None and i is not Ellipsis for i in index)
    if Ellipsis in [i for i in index if not isinstance(i, np.ndarray)]:
        at = next(k for k, i in enumerate(index) if i is Ellipsis)
        index = (*index[:at], *[slice(None)] * gaps, *index[at + 1 :])
    else:
        index = (*index, *[slice(None)] * gaps)
    fields, places = list(array.fields), list(NOWHERE)
    axis = to = 0
    for i in index:
        for d in (0, 1):
            if i is not None and array.places[d] == axis:
                fields[d] = _taken(fields[d], i, array.shape[axis])
                places[d] = to if isinstance(i, slice) or np.ndim(i) == 1 else None
        axis += i is not None
        to += 1 if i is None or isinstance(i, slice) else np.ndim(i)
    return (fields[0], fields[1]), (places[0], places[1])


def _taken(field, index, size):
    """The field of one axis of maps after indexing it."""
    if isinstance(index, slice):
        start, _, step = index.indices(size)
        return field.cut(slice(start, None, step))
    return field.picked(np.asarray(index).reshape(-1) % size, size)


def _reshaped(array, shape) -> tuple[Fields | None, Places]:
    """(fields, places) after a reshape.

    An axis of pixels may stay as it is, be split into blocks of pixels, or be joined with the axes behind it, whose
    elements read the same pixels: so pixel_shuffle works. Otherwise each element depends on the whole axis.
    """
    if array.fields is None:
        return None, NOWHERE
    fields, places = list(array.fields), list(NOWHERE)
    groups = list(_groups(array.shape, shape))
    for d in (0, 1):
        if array.places[d] is None:
            continue
        old, new = next(group for group in groups if array.places[d] in group[0])
        pixels = array.shape[array.places[d]]
        others = {a for a in old if a != array.places[d] and array.shape[a] != 1}
        larger = [a for a in new if shape[a] != 1]
        if not others and larger:                          # the axis itself, or blocks of it
            fields[d] = _spread_one(fields[d], pixels // shape[larger[0]])
            places[d] = larger[0]
        elif not others and new:                           # one pixel
            places[d] = new[0]
        elif others and min(others) > array.places[d] and len(larger) == 1 and not others & set(array.places):
            fields[d], places[d] = fields[d].divided(shape[larger[0]] // pixels), larger[0]
        else:
            fields[d] = _spread_one(fields[d], pixels)
    return (fields[0], fields[1]), (places[0], places[1])


def _groups(old, new):
    """(axes of the old shape, axes of the new shape) that hold the same elements, from the first axes to the last."""
    a = b = 0
    while a < len(old) or b < len(new):
        of_old, of_new = [a] if a < len(old) else [], [b] if b < len(new) else []
        here, there = math.prod(old[a : a + 1]), math.prod(new[b : b + 1])
        a, b = a + len(of_old), b + len(of_new)
        while here != there:
            if here < there:
                here, a = here * old[a], a + 1
                of_old.append(a - 1)
            else:
                there, b = there * new[b], b + 1
                of_new.append(b - 1)
        yield of_old, of_new


def _filled(shape, value=None, dtype=np.float32):
    return ndarray(shape, dtype)


def _concatenate(arrays, axis):
    shape = list(arrays[0].shape)
    axis, shape[axis] = axis % len(shape), sum(a.shape[axis] for a in arrays)
    # parts of one axis of pixels: an element may come from any of them
    return ndarray(shape, arrays[0].dtype, *_of_all([_whole(a, {axis}) for a in arrays]))


def _padded(array, widths, mode, constant_values=0):
    """What numpy.pad returns. Pixels of the border are counted as pixels outside the image, also mirrored ones."""
    fields = array.fields
    if fields is not None:
        down, across = (f if p is None else Field(f.size, f.jump, f.start - widths[p][0] * f.jump)
                        for f, p in zip(fields, array.places))  # fmt: skip
        fields = (down, across)
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
    fields = _as_maps(dy)
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
    fields = _as_maps(x)
    return fields and (fields[0].through(g.vertical), fields[1].through(g.horizontal))


def _as_maps(x) -> Fields | None:
    """The fields of maps (N,C,H,W), whose fields move along the last two axes; the whole, where they did not."""
    if x.fields is None:
        return None
    of_all = _whole(x).fields
    down, across = (f if p == a or (p is None and x.shape[a] == 1) else Field(all_.size, 0, all_.start)
                    for f, all_, p, a in zip(x.fields, of_all, x.places, (2, 3)))  # fmt: skip
    return down, across
