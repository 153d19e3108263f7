"""Which pixels of the image one element of an array depends on.

Going through a window of K taps, dilation D, stride S and padding P in front,

    size ← size + D·(K − 1)·jump        start ← start − P·jump        jump ← S·jump

along each axis: element i of the axis depends on pixels start + i·jump … start + i·jump + size − 1. Where branches
join, the field is the smallest one that contains the fields of all branches. Araujo, Norris & Sim 2019, "Computing
receptive fields of convolutional neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """The field of an axis's element 0: `size` pixels from pixel `start` on. The next element's starts `jump` later."""

    size: int = 1
    jump: int = 1
    start: int = 0

    def through(self, axis) -> Field:
        """The field after a window, a geometry.Axis."""
        size = self.size + (axis.extent - 1) * self.jump
        return Field(size, self.jump * axis.stride, self.start - axis.before * self.jump)

    def cut(self, part: slice) -> Field:
        """The field for the elements that a slice takes."""
        return Field(self.size, self.jump * (part.step or 1), self.start + self.jump * (part.start or 0))

    def joined(self, other: Field) -> Field:
        """The smallest field that contains both."""
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Field(end - start, max(self.jump, other.jump), start)


Fields = tuple[Field, Field]  # down, across
HERE: Fields = (Field(), Field())
