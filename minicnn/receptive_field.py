"""Which pixels of the image one element of an array depends on.

Going through a window of K taps, dilation D, stride S and padding P in front,

    size ← size + D·(K − 1)·jump        start ← start − P·jump        jump ← S·jump

along each axis: element i of the axis depends on pixels start + i·jump … start + i·jump + size − 1. Where maps become
larger, jump becomes a fraction, and so may size and start. Where branches join, the field is the smallest one that
contains the fields of all branches. Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural
networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass


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
