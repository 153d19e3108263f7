"""Where the values of a plan lie in memory: joined maps in one buffer, and buffers that use the same memory in turn.

concat writes nothing if each part is computed where it is needed: a node that can write every pixel's channels `pitch`
values apart writes its channels of the joined maps. A buffer is used from its first write to its last read. Buffers
whose times overlap get different memory; the largest get theirs first, each at the lowest place that is free
(Pisarchyk & Lee 2020, "greedy by size").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minicnn.plan.fold import same_shape_sum
from minicnn.plan.graph import Graph, Node, Value

ALIGNMENT = 16
"""Values: a buffer begins with a cache line."""

WRITES_PARTS = {"conv2d", "linear", "linear_maps", "affine", "max_pool2d", "avg_pool2d", "global_avg_pool2d", "concat"}
"""Kinds whose kernel can write its channels of joined maps. (A depthwise convolution can't.)"""
READS_PARTS = {"affine", "max_pool2d", "avg_pool2d", "global_avg_pool2d", "concat"}
"""Kinds whose kernel can read some channels of joined maps."""
IN_PLACE = {"relu", "relu6", "clip", "hardswish", "hardsigmoid", "sigmoid", "silu", "add", "affine", "scale_maps"}
"""Kinds that may write each value where they read it."""


@dataclass(eq=False)
class Buffer:
    """Memory for one value, or for joined maps and their parts. values: for one image."""

    values: int
    first: int = -1
    last: int = -1
    fixed: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """Constant channels (first channel, constant): then the buffer is not shared."""
    start: int = 0
    """Its place in the plan's memory."""


@dataclass(frozen=True, eq=False)
class Location:
    """A value's channels `offset` … in a buffer whose pixels are `pitch` values apart."""

    buffer: Buffer
    offset: int
    pitch: int


class Layout:
    """The location of every value of a graph, and the parts of a concat that must be copied."""

    def __init__(self, graph: Graph, generic: set[int]):
        """generic: the ids of nodes without a kernel. They read and write any layout, through NumPy."""
        self.locations: dict[int, Location] = {}
        self.copied: dict[int, list[tuple[Value, int]]] = {}       # of a concat: parts and their first channels
        self.buffers: list[Buffer] = []
        self.scratch: dict[int, Buffer] = {}                       # of nodes whose kernel needs some
        self._graph, self._generic = graph, generic
        self._readers, self._makers = graph.readers(), graph.makers()
        self._inside: dict[int, tuple[Value, int]] = {}            # a part: (the joined value, its first channel)
        for node in reversed(graph.nodes):
            if node.kind == "concat" and id(node) not in generic:
                self._join(node)
        self._last_read = {id(v): i for i, node in enumerate(graph.nodes) for v in node.inputs}
        self._in_buffer: dict[int, list[int]] = {}                 # the ids of the values in each buffer
        self._new(graph.x, -1)
        for i, node in enumerate(graph.nodes):
            self._locate(node, i)
        for i, node in enumerate(graph.nodes):
            for value in (*node.inputs, node.y):
                buffer = self.locations[id(value)].buffer
                buffer.last = max(buffer.last, i)
        self.locations[id(graph.y)].buffer.last = len(graph.nodes)
        for i, node in enumerate(graph.nodes):
            if node.kind == "local_response_norm" and id(node) not in generic:
                self.scratch[id(node)] = Buffer(node.y.values, i, i)
        self.buffers += self.scratch.values()

    def _join(self, node: Node) -> None:
        channel = 0
        self.copied[id(node)] = []
        for part in node.args:
            if isinstance(part, Value):
                if self._can_be_inside(part, node):
                    self._inside[id(part)] = node.y, channel
                else:
                    self.copied[id(node)].append((part, channel))
                channel += part.channels
            else:
                channel += len(part.row)

    def _can_be_inside(self, part: Value, node: Node) -> bool:
        maker = self._makers.get(id(part))
        if maker is None or part is self._graph.y or id(part) in self._inside or node.inputs.count(part) > 1:
            return False
        others = [reader for reader in self._readers[id(part)] if reader is not node]
        return self._writes_parts(maker) and all(self._reads_parts(reader) for reader in others)

    def _writes_parts(self, node: Node) -> bool:
        depthwise = node.kind == "conv2d" and node.hyper.get("groups", 1) == node.y.channels
        return id(node) in self._generic or (node.kind in WRITES_PARTS and not depthwise)

    def _reads_parts(self, node: Node) -> bool:
        return id(node) in self._generic or node.kind in READS_PARTS

    def _new(self, value: Value, i: int) -> Location:
        buffer = Buffer(value.values, i, i)
        self.buffers.append(buffer)
        return self._put(value, Location(buffer, 0, pixel(value)))

    def _put(self, value: Value, location: Location) -> Location:
        self.locations[id(value)] = location
        self._in_buffer.setdefault(id(location.buffer), []).append(id(value))
        return location

    def _locate(self, node: Node, i: int) -> None:
        if id(node.y) in self._inside:
            self._part(node.y, i)
        elif id(node.y) in self.locations:                         # joined maps of which a part came first
            pass
        elif node.kind == "view" or (x := self._replaced(node, i)) is None:
            if node.kind == "view":
                buffer = self.locations[id(node.inputs[0])].buffer
                self._put(node.y, Location(buffer, 0, pixel(node.y)))
            else:
                self._new(node.y, i)
        else:
            self._put(node.y, self.locations[id(x)])
        if node.kind == "concat" and id(node) not in self._generic:
            self._constants(node)

    def _part(self, value: Value, i: int) -> Location:
        whole, channel = self._inside[id(value)]
        if id(whole) in self.locations:
            outer = self.locations[id(whole)]
        else:
            outer = self._part(whole, i) if id(whole) in self._inside else self._new(whole, i)
        return self._put(value, Location(outer.buffer, outer.offset + channel, outer.pitch))

    def _replaced(self, node: Node, i: int) -> Value | None:
        """The input whose memory the node's result can take: nothing reads it, or its buffer, any more."""
        if node.kind not in IN_PLACE or id(node) in self._generic or (node.kind == "add" and not same_shape_sum(node)):
            return None
        for x in node.inputs[:1] if node.kind == "scale_maps" else node.inputs:
            buffer = self.locations[id(x)].buffer
            sharing = self._in_buffer[id(buffer)]
            if (buffer.values == node.y.values and not buffer.fixed
                    and all(self._last_read.get(v, -1) <= i for v in sharing)
                    and id(self._graph.y) not in sharing):  # fmt: skip
                return x
        return None

    def _constants(self, node: Node) -> None:
        location, channel = self.locations[id(node.y)], 0
        for part in node.args:
            if isinstance(part, Value):
                channel += part.channels
                continue
            location.buffer.fixed.append((location.offset + channel, part.row))
            channel += len(part.row)


def pixel(value: Value) -> int:
    """The values of a pixel of maps, or of a row."""
    return value.channels if len(value.shape) in (2, 4) and value.by_image else 1


def place(buffers: list[Buffer], images: int) -> int:
    """Set where each buffer starts, for so many images. → the values of all together"""
    placed: list[tuple[Buffer, int]] = []
    end = 0
    for buffer in sorted((b for b in buffers if not b.fixed), key=lambda b: -b.values):
        size = -(-buffer.values * images // ALIGNMENT) * ALIGNMENT
        start = 0
        for other, other_size in sorted(placed, key=lambda item: item[0].start):
            if other.first <= buffer.last and buffer.first <= other.last and other.start < start + size:
                start = max(start, other.start + other_size)
        buffer.start = start
        placed.append((buffer, size))
        end = max(end, start + size)
    return end


def total(buffers: list[Buffer], images: int) -> int:
    """The values of all buffers, if none shared memory."""
    return sum(buffer.values * images for buffer in buffers)
