"""What a kernel's call consists of: the addresses of values for a batch of some size, and constants laid out for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minicnn.cpu.compiled.program import Call, Place
from minicnn.plan.graph import Node, Value
from minicnn.plan.memory import Layout

ITEM_VALUES = 1 << 13
"""Values that an item of a pass over memory reads or writes, about."""
ITEMS = 4
"""Items of a large layer, at least: so that two threads finish it together."""


class Work(NamedTuple):
    """calls, and the name of the kernel."""

    calls: list[Call]
    name: str


class Memory:
    """The addresses of values, for a batch of `images`."""

    def __init__(self, arena: np.ndarray, layout: Layout, images: int):
        self.arena, self.layout, self.images = arena, layout, images
        self._fixed: dict[int, np.ndarray] = {}
        for buffer in layout.buffers:
            if buffer.fixed:
                self._fixed[id(buffer)] = np.zeros(buffer.values * images + 64, np.float32)

    def _start(self, value: Value) -> tuple[np.ndarray, int]:
        """(the array in which the value is, its first value there)"""
        location = self.layout.locations[id(value)]
        home = self._fixed.get(id(location.buffer))
        if home is not None:
            return home, location.offset
        return self.arena, location.buffer.start + location.offset

    def flat(self, value: Value) -> Place:
        """From its first value on to the end of the memory."""
        home, start = self._start(value)
        return Place(home.ctypes.data + 4 * start, (home.size - start,))

    def all(self, value: Value) -> Place:
        """All its values, one after the other."""
        return Place(self.flat(value).address, (value.values * self.images,))

    def maps(self, value: Value) -> Place:
        """(N,H,W,pitch) for maps, (N,1,1,pitch) for rows."""
        N, _, *size = value.at(self.images)
        return Place(self.flat(value).address, (N, *(size or (1, 1)), self.pitch(value)))

    def pixels(self, value: Value) -> Place:
        """(M, pitch)"""
        N, H, W, C = self.maps(value).shape
        return Place(self.flat(value).address, (N * H * W, C))

    def pitch(self, value: Value) -> int:
        """The distance of neighbouring pixels, or rows."""
        return self.layout.locations[id(value)].pitch

    def view(self, value: Value) -> np.ndarray:
        """The value as NumPy sees it: (N,C,H,W), stored channels last."""
        home, start = self._start(value)
        shape, pitch = value.at(self.images), self.pitch(value)
        if len(shape) == 4 and value.by_image:
            N, C, H, W = shape
            wide = np.lib.stride_tricks.as_strided(home[start:], (N, H, W, C),
                                                   (4 * H * W * pitch, 4 * W * pitch, 4 * pitch, 4))  # fmt: skip
            return wide.transpose(0, 3, 1, 2)
        if len(shape) == 2 and value.by_image:
            return np.lib.stride_tricks.as_strided(home[start:], shape, (4 * pitch, 4))
        return home[start : start + int(np.prod(shape))].reshape(shape)

    def write_constants(self) -> None:
        """Write the constant channels of joined maps, which no kernel writes."""
        for buffer in self.layout.buffers:
            for channel, constant in buffer.fixed:
                C, *size = constant.shape
                pixels = self._fixed[id(buffer)][: buffer.values * self.images].reshape(self.images, *size, -1)
                pixels[..., channel : channel + C] = np.moveaxis(constant, 0, -1)


def kept(node: Node, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is made once for the node."""
    if name not in node.ready:
        node.ready[name] = make()
    return node.ready[name]
