"""Which pixels of the image one element of an array depends on.

Going through a window of K taps, dilation D, stride S and padding P in front,

    size ← size + D·(K − 1)·jump        start ← start − P·jump        jump ← S·jump

along each axis: element i of the axis depends on pixels start + i·jump … start + i·jump + size − 1. Where maps become
larger, jump becomes a fraction, and so may size and start. Where branches join, the field is the smallest one that
contains the fields of all branches. Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural
networks".

The axes of pixels may move: transpositions, reshapes and slices are followed (`Places`). Where an op mixes an axis, as
a product of tokens does, each element depends on all of it: that is never too small, and may be too large.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Field:
    """The field of an axis's element 0: `size` pixels from pixel `start` on. The next element's starts `jump` later."""

    size: float = 1
    jump: float = 1
    start: float = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """(the first pixel, the number of pixels) of element 0, whole."""
        first = math.floor(self.start)
        return first, math.ceil(self.start + self.size) - first

    def through(self, axis) -> Field:
        """The field after a window, a geometry.Axis."""
        size = _whole(self.size + (axis.extent - 1) * self.jump)
        return Field(size, _whole(self.jump * axis.stride), _whole(self.start - axis.before * self.jump))

    def transposed(self, axis) -> Field:
        """The field after a transposed convolution, whose convolution has the window `axis`.

        Output i reads no inputs but those from (i + P − extent + 1)/S to (i + P)/S.
        """
        return self._spread(1 / axis.stride, (axis.before - axis.extent + 1) / axis.stride, axis.before / axis.stride)

    def divided(self, count: int) -> Field:
        """The field where each element has become `count` elements, which depend on the same pixels."""
        return self._spread(1 / count, 1 / count - 1, 0)

    def picked(self, places, size: int) -> Field:
        """The field for the elements at these places of an axis of `size` elements."""
        step = size / max(1, len(places))
        ahead = [place - i * step for i, place in enumerate(places)] or [0]
        return self._spread(step, min(ahead), max(ahead))

    def _spread(self, step: float, first: float, last: float) -> Field:
        """The field where element i reads elements from i·step + first to i·step + last of this axis.

        These are limits for all i: where an element lies between two others, its field is that of both.
        """
        return Field(_whole(self.size + (last - first) * self.jump), _whole(self.jump * step),
                     _whole(self.start + first * self.jump))

    def cut(self, part: slice) -> Field:
        """The field for the elements that a slice takes."""
        return Field(self.size, self.jump * (part.step or 1), self.start + self.jump * (part.start or 0))

    def of_several(self, count: int) -> Field:
        """The field of an element that depends on `count` neighbouring ones."""
        return Field(self.size + (count - 1) * self.jump, self.jump * count, self.start)

    def at_rest(self) -> Field:
        """The field of elements that all depend on the same pixels."""
        return Field(self.size, 0, self.start)

    def joined(self, other: Field) -> Field:
        """The smallest field that contains both."""
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Field(end - start, max(self.jump, other.jump), start)


def _whole(value: float) -> float:
    """The value, as an integer if it is one."""
    return int(value) if value == int(value) else value


Fields = tuple[Field, Field]  # down, across
HERE: Fields = (Field(), Field())

Places = tuple[int | None, int | None]
"""The axes along which the field moves down and across; None where all elements have one field."""
NOWHERE: Places = (None, None)
Seen = tuple[Fields | None, Places]
"""The fields of an array's first element, and where they move. The functions below take an array of the device "meta",
which has a shape, fields and places."""


def spread(fields: Fields | None, counts: Sequence[int]) -> Fields | None:
    """The fields of one element that depends on `counts` elements, down and across."""
    return fields and (fields[0].of_several(counts[0]), fields[1].of_several(counts[1]))


def whole(array: Any, axes: Collection[int] | None = None) -> Seen:
    """Elements that depend on all elements along these axes, by default along all."""
    taken = [p is not None and (axes is None or p in axes) for p in array.places]
    counts = [array.shape[p] if gone else 1 for p, gone in zip(array.places, taken)]
    down, across = (None if gone else p for p, gone in zip(array.places, taken))
    return spread(array.fields, counts), (down, across)


def of_all(arrays: Sequence[Seen], shape: Sequence[int]) -> Seen:
    """Elements that depend on the elements at the same position of several arrays of this shape."""
    seen = [(list(fields), places) for fields, places in arrays if fields is not None]
    if not seen:
        return None, NOWHERE
    joined, at = seen[0][0], list(NOWHERE)
    for d in (0, 1):
        there = {places[d] for _, places in seen if places[d] is not None}
        at[d] = next(iter(there)) if len(there) == 1 else None
        for fields, places in seen:
            place = places[d]
            if len(there) > 1 and place is not None:       # the others move along another axis
                fields[d] = fields[d].of_several(shape[place])
            elif at[d] is not None and place is None:      # all its elements have one field
                fields[d] = fields[d].at_rest()
        for fields, _ in seen[1:]:
            joined[d] = joined[d].joined(fields[d])
    return (joined[0], joined[1]), (at[0], at[1])


def moved(places: Places, further: int) -> Places:
    """The places where there are `further` more axes in front."""
    down, across = (None if p is None else p + further for p in places)
    return down, across


def broadcast(array: Any, shape: Sequence[int]) -> Seen:
    """The array in a larger shape: along a broadcast axis all elements read one, so the field does not move."""
    if array.fields is None or array.shape == shape:
        return array.fields, array.places
    places = moved(array.places, len(shape) - array.ndim)
    down, across = (f.at_rest() if p is not None and array.shape[p - len(shape)] == 1 != shape[p] else f
                    for f, p in zip(array.fields, places))  # fmt: skip
    return (down, across), places


def padded(array: Any, before: Sequence[int]) -> Fields | None:
    """With so many elements in front of each axis."""
    if array.fields is None:
        return None
    down, across = (f if p is None else f.cut(slice(-before[p], None)) for f, p in zip(array.fields, array.places))
    return down, across


def indexed(array: Any, index: tuple[Any, ...]) -> Seen:
    """After indexing with integers, slices, an array of places, None and an ellipsis."""
    arrays = [i for i in index if isinstance(i, (np.ndarray, list))]
    if array.fields is None or len(arrays) > 1 or any(np.asarray(i).dtype == bool for i in arrays):
        return whole(array)[0], NOWHERE
    rest = [slice(None)] * (array.ndim - sum(i is not None and i is not Ellipsis for i in index))
    at = next((k for k, i in enumerate(index) if i is Ellipsis), len(index))
    index = (*index[:at], *rest, *index[at + 1 :])
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


def _taken(field: Field, index: Any, size: int) -> Field:
    """The field of one axis of pixels after indexing it."""
    if isinstance(index, slice):
        start, _, step = index.indices(size)
        return field.cut(slice(start, None, step))
    return field.picked(np.asarray(index).reshape(-1) % size, size)


def reshaped(array: Any, shape: Sequence[int]) -> Seen:
    """After a reshape.

    An axis of pixels may stay as it is, be split into blocks of pixels, or be joined with the axes behind it, whose
    elements read the same pixels: so pixel_shuffle works. Otherwise each element depends on the whole axis.
    """
    if array.fields is None or not array.size:
        return array.fields, NOWHERE
    fields, places = list(array.fields), list(NOWHERE)
    groups = list(_groups(array.shape, shape))
    for d in (0, 1):
        place = array.places[d]
        if place is None:
            continue
        old, new = next(group for group in groups if place in group[0])
        pixels, others = array.shape[place], {a for a in old if a != place and array.shape[a] != 1}
        larger = [a for a in new if shape[a] != 1] or new[:1]
        if not others and larger:                          # the axis itself, or blocks of it
            fields[d], places[d] = fields[d].of_several(pixels // shape[larger[0]]), larger[0]
        elif others and min(others) > place and len(larger) == 1 and not others & set(array.places):
            fields[d], places[d] = fields[d].divided(shape[larger[0]] // pixels), larger[0]
        else:
            fields[d] = fields[d].of_several(pixels)
    return (fields[0], fields[1]), (places[0], places[1])


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
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


def as_maps(array: Any) -> Fields | None:
    """The fields of maps (N,C,H,W), which move along the last two axes; of the whole axis, where they do not."""
    if array.fields is None:
        return None
    of_axis, _ = whole(array)
    assert of_axis is not None, "it has fields"
    down, across = (f if p == a or (p is None and array.shape[a] == 1) else all_.at_rest()
                    for f, all_, p, a in zip(array.fields, of_axis, array.places, (2, 3)))  # fmt: skip
    return down, across
