"""Which kernel computes a node, with which arguments: the calls of a plan's program. It needs numba.

Each function takes a node and a `Memory`, and returns a Work: calls for a Program, and what `explain` says. Weights are
laid out for the kernel once, and kept in the node for all batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minicnn.cpu.compiled import activations, depthwise, direct, elements, inference, lrn, winograd, winograd_transforms
from minicnn.cpu.compiled.layout import pack_filters
from minicnn.cpu.compiled.program import Call, Place
from minicnn.cpu.compiled.team import run
from minicnn.geometry import Conv2dGeometry
from minicnn.plan.fold import pool_geometry, same_shape_sum
from minicnn.plan.graph import Node, Value
from minicnn.plan.memory import Layout

F32 = np.dtype(np.float32)
ITEM_VALUES = 1 << 13
"""Values that an item of a pass over memory reads or writes, about."""
ITEMS = 4
"""Items of a large layer, at least: so that two threads finish it together."""
ITEM_MACS = 1 << 18
"""Multiply-adds below which an item of a convolution is not divided: they take a few microseconds."""


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


def supported(node: Node) -> bool:
    """Whether `work` has a kernel for the node in float32."""
    x = node.inputs[0]
    rows = node.kind == "view" or all(v.by_image and len(v.shape) in (2, 4) for v in (*node.inputs, node.y))
    if node.kind not in KERNELS or not rows:
        return False
    if node.kind in ("conv2d", "linear", "linear_maps", "affine"):
        return len(node.inputs) == 1 and node.args[0] is x and (node.kind != "conv2d" or not _thin_depthwise(node))
    if node.kind == "add":
        return same_shape_sum(node)
    if node.kind == "concat":
        axis = node.hyper.get("axis", 1) % len(node.y.shape)
        return axis == 1 and all(isinstance(a, Value) or hasattr(a, "row") for a in node.args)
    if node.kind == "local_response_norm":
        return node.hyper.get("beta", 0.75) == 0.75
    return True


def work(node: Node, memory: Memory) -> Work:
    """The calls that compute the node."""
    return KERNELS[node.kind](node, memory)


# --------------------------------------------------------------------------------------- convolutions and linear layers


def _conv2d(node: Node, memory: Memory) -> Work:
    x, w_shape = node.inputs[0], _weights_shape(node)
    known = ("stride", "padding", "dilation", "groups")
    g = Conv2dGeometry.of(x.at(memory.images), w_shape, **{k: v for k, v in node.hyper.items() if k in known})
    if depthwise.supports(g, F32):
        return _depthwise(node, memory, g)
    whole = g.KH == g.H and g.KW == g.W and g.OH == g.OW == 1 and not (g.vertical.before or g.horizontal.before)
    if g.G == 1 and whole and g.N <= inference.LINEAR_ROWS:
        return _vectors(node, memory, g)
    if winograd.supports(g, F32) and _winograd_pays(g):
        return _winograd(node, memory, g)
    return _direct(node, memory, g)


def _thin_depthwise(node: Node) -> bool:
    groups = node.hyper.get("groups", 1)
    return 1 < groups == node.inputs[0].channels == node.y.channels < 8


def _direct(node: Node, memory: Memory, g: Conv2dGeometry) -> Work:
    pitch = memory.pitch(node.y)
    places = np.array((0, g.OH * g.OW * pitch, g.OW * pitch, pitch))
    geometry, items = direct._tiling(g)
    if items < (pieces := _pieces(g)):
        rows = max(1, g.OH * g.N // pieces)
        geometry = direct._geometry(g, geometry[direct.GEOMETRY.index("copies")], 1, rows, 1)
        items = g.N * -(-g.OH // rows)
    args = (Place(memory.flat(node.inputs[0]).address, (g.N, g.H, g.W, g.C)),
            Place(_filters(node, g).ctypes.data, (g.G * -(-g.O // g.G // 16), g.KH, g.KW, g.C // g.G, 16)),
            _bias(node, g.O), memory.flat(node.y), places, node.relu, geometry)  # fmt: skip
    return Work([Call(direct.forward, items, direct._size(g), args)], "direct")


def _winograd(node: Node, memory: Memory, g: Conv2dGeometry) -> Work:
    blocks = -(-g.O // 16)

    def transform():
        U = np.empty((36, blocks, 1, g.C, 16), np.float32)
        run(winograd_transforms.transform_filters, blocks, U.size, np.array(_weights(node, g), np.float32), U)
        return U

    images, tile_rows, items = winograd._blocks(g, 36)
    parts, rows, pieces = 1, -(-g.OH // 4), _pieces(g)
    if items < pieces and 36 * g.C * g.O <= winograd.BLOCK_VALUES and rows * -(-g.OW // 4) >= 8 * pieces:
        images, tile_rows = 1, max(1, rows * g.N // pieces)        # small filters: each item can read them all
        items = g.N * -(-rows // tile_rows)
    elif items < pieces:
        parts = min(blocks, -(-pieces // items))
    bias = _bias(node, g.O)
    args = (memory.maps(node.inputs[0]), _kept(node, "winograd", transform),
            Place(bias.ctypes.data, (g.O,)), memory.maps(node.y), g.vertical.before, g.horizontal.before, images,
            tile_rows, parts, node.relu)  # fmt: skip
    return Work([Call(winograd.forward, items * parts, g.N * g.OH * g.OW * g.O * g.C / 4, args)], "winograd")


def _winograd_pays(g: Conv2dGeometry) -> bool:
    """Whether 36 products a tile of 4×4 outputs, and four times as many values of the filters to read, take less time.

    Windows, or tiles, are computed six at a time; a filter's value that is not in a core's cache takes as long to read
    as 15 multiply-adds.
    """
    tiles = g.N * -(-g.OH // 4) * -(-g.OW // 4)
    costs = [values * max(-(-rows // 6) * 6, 15 if values * g.C * g.O > 1 << 18 else 5)
             for values, rows in ((36, tiles), (9, g.N * g.OH * g.OW))]
    return min(g.C, g.O) >= 16 and costs[0] < costs[1]


def _pieces(g: Conv2dGeometry) -> int:
    """The number of items that a convolution should have at least."""
    macs = g.N * g.OH * g.OW * g.O * (g.C // g.G) * g.KH * g.KW
    return min(ITEMS, macs // ITEM_MACS)


def _depthwise(node: Node, memory: Memory, g: Conv2dGeometry) -> Work:
    taps = _kept(node, "taps", lambda: np.array(node.args[1][:, 0].transpose(1, 2, 0), np.float32, order="C"))
    rows = depthwise._rows(g.OW * g.C, g.OH)
    if g.N * -(-g.OH // rows) < ITEMS:
        rows = -(-g.OH // ITEMS)
    args = (memory.maps(node.inputs[0]), taps, _bias(node, g.O), memory.maps(node.y), depthwise._steps(g), rows,
            node.relu)  # fmt: skip
    return Work([Call(depthwise.forward, g.N * -(-g.OH // rows), g.N * g.OH * g.OW * g.O * 2, args)], "depthwise")


def _linear(node: Node, memory: Memory) -> Work:
    O, I = _weights_shape(node)
    g = Conv2dGeometry.of((memory.images, I, 1, 1), (O, I, 1, 1))
    return (_vectors if memory.images <= inference.LINEAR_ROWS else _direct)(node, memory, g)


def _vectors(node: Node, memory: Memory, g: Conv2dGeometry) -> Work:
    """Few rows times a matrix, for windows that are the whole image."""
    blocks, I = -(-g.O // 16), g.KH * g.KW * g.C
    per_item = max(1, min(-(-blocks // ITEMS), 4 * ITEM_VALUES // (16 * I)))
    args = (memory.flat(node.inputs[0]), Place(_filters(node, g).ctypes.data, (blocks, I, 16)), _bias(node, g.O),
            memory.flat(node.y), (g.N, g.O, memory.pitch(node.y), per_item), node.relu)  # fmt: skip
    return Work([Call(inference.linear, -(-blocks // per_item), g.O * I, args)], "linear")


def _filters(node: Node, g: Conv2dGeometry) -> np.ndarray:
    """The weights in blocks of 16 filters, in which the node then keeps them."""
    def pack():
        w, filters = np.asarray(node.args[1], np.float32), g.O // g.G
        w = w.reshape(g.O, g.C // g.G, g.KH, g.KW)
        packed = np.empty((g.G * -(-filters // 16), g.KH, g.KW, g.C // g.G, 16), np.float32)
        run(pack_filters, len(packed), packed.size, w if w.flags.writeable else w.copy(), g.G, packed)
        node.ready["shape"] = np.array(node.args[1].shape)
        node.args[1] = None
        return packed

    return _kept(node, "filters", pack)


def _weights(node: Node, g: Conv2dGeometry) -> np.ndarray:
    """The weights (O,C,KH,KW) of a node with one group."""
    if node.args[1] is not None:
        return node.args[1]
    return node.ready["filters"].transpose(0, 4, 3, 1, 2).reshape(-1, g.C, g.KH, g.KW)[: g.O]


def _weights_shape(node: Node) -> tuple[int, ...]:
    w = node.args[1]
    return tuple(node.ready["shape"].tolist()) if w is None else w.shape


def _bias(node: Node, O: int) -> np.ndarray:
    def make():
        bias = np.zeros(O + 32, np.float32)                        # a register at the end reads further
        bias[:O] = 0 if node.args[2] is None else node.args[2]
        return bias

    return _kept(node, "bias", make)


def _kept(node: Node, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is made once for the node."""
    if name not in node.ready:
        node.ready[name] = make()
    return node.ready[name]


# ----------------------------------------------------------------------------------------------- passes over the values


def _affine(node: Node, memory: Memory) -> Work:
    x, C = node.inputs[0], node.y.channels
    scale, shift = (_padded(node, name, a, C) for name, a in zip(("scale", "shift"), node.args[1:3]))
    sizes, items = _rows_of(node, memory)
    args = (memory.flat(x), scale, shift, memory.flat(node.y), sizes, node.relu)
    return Work([Call(inference.affine, items, x.values * memory.images, args)], "affine")


def _padded(node, name, values, C):
    def make():
        padded = np.zeros(C + 8, np.float32)
        padded[:C] = values
        return padded

    return _kept(node, name, make)


def _rows_of(node: Node, memory: Memory, x: Value | None = None) -> tuple[tuple[int, ...], int]:
    """(pixels, channels, pitch of x, pitch of y, pixels an item), and the number of items."""
    x = x or node.inputs[0]
    M, C = memory.pixels(x).shape[0], x.channels
    rows = max(1, min(M, ITEM_VALUES // C))
    return (M, C, memory.pitch(x), memory.pitch(node.y), rows), -(-M // rows)


def _elementwise(node: Node, memory: Memory) -> Work:
    x, (number, low, high) = node.inputs[0], FORMULAS[node.kind]
    if node.kind == "clip":
        low, high = (limit if node.hyper.get(name) is None else node.hyper[name]
                     for name, limit in (("low", low), ("high", high)))  # fmt: skip
    args = (memory.all(x), memory.all(node.y), number, low, high)
    return Work([Call(activations._of_one, *_chunks(node, memory), args)], node.kind)


FORMULAS = {"relu6": (0, 0.0, 6.0), "clip": (0, -np.inf, np.inf), "sigmoid": (1, 0.0, 0.0), "silu": (2, 0.0, 0.0),
            "hardsigmoid": (3, 0.0, 0.0), "hardswish": (4, 0.0, 0.0)}  # fmt: skip
"""The number of each activation in activations._of_one, and its limits."""


def _relu(node: Node, memory: Memory) -> Work:
    args = (memory.all(node.inputs[0]), memory.all(node.y))
    return Work([Call(elements._relu, *_chunks(node, memory), args)], "relu")


def _add(node: Node, memory: Memory) -> Work:
    a, b = node.args
    args = (memory.all(a), memory.all(b), memory.all(node.y), node.relu)
    return Work([Call(elements._add, *_chunks(node, memory), args)], "add")


def _chunks(node: Node, memory: Memory) -> tuple[int, int]:
    """(items, size) of a kernel of elements.py."""
    size = node.y.values * memory.images
    return -(-size // elements.CHUNK), size


def _pool(node: Node, memory: Memory) -> Work:
    g, x = pool_geometry(node, memory.images), node.inputs[0]
    v, h = g.vertical, g.horizontal
    largest = node.kind == "max_pool2d"

    def shares():
        include = bool(node.hyper.get("count_include_pad", True))
        return 1 / np.outer(v.counts(include), h.counts(include)).astype(np.float32).reshape(-1)

    if not largest and (v.kernel, h.kernel) == (v.size, h.size) == (v.padded, h.padded):
        return _mean(node, memory)
    factor = _kept(node, "factor", (lambda: np.ones(1, np.float32)) if largest else shares)
    rows = max(1, min(-(-g.OH // ITEMS), ITEM_VALUES // (v.stride * g.W * g.C)))
    sizes = (v.size, h.size, g.C, v.out, h.out, v.kernel, h.kernel, v.stride, h.stride, v.before, h.before, v.dilation,
             h.dilation, memory.pitch(x), memory.pitch(node.y))  # fmt: skip
    args = (memory.flat(x), factor, largest, memory.flat(node.y), sizes, rows)
    size = node.y.values * memory.images * g.KH * g.KW
    return Work([Call(inference.pool, g.N * -(-g.OH // rows), size, args)], "largest" if largest else "average")


def _mean(node: Node, memory: Memory) -> Work:
    x = node.inputs[0]
    _, C, H, W = x.at(1)
    channels = max(8, -(-C // (8 * ITEMS)) * 8)
    args = (memory.flat(x), memory.flat(node.y), (H * W, C, memory.pitch(x), memory.pitch(node.y)), channels)
    items = memory.images * -(-C // channels)
    return Work([Call(inference.mean, items, x.values * memory.images, args)], "mean")


def _scale_maps(node: Node, memory: Memory) -> Work:
    x, s = node.args
    (M, C, _, _, rows), items = _rows_of(node, memory, x)
    args = (memory.all(x), Place(memory.flat(s).address, (memory.images, C)), memory.all(node.y),
            (M, M // memory.images, rows))  # fmt: skip
    return Work([Call(inference.scale_maps, items, M * C, args)], "scale")


def _response_norm(node: Node, memory: Memory) -> Work:
    x, size, alpha = node.inputs[0], node.hyper["size"], node.hyper.get("alpha", 1e-4)
    alpha = alpha if node.hyper.get("variant", "torch") == "paper" else alpha / size
    M, C = memory.pixels(x).shape
    scratch = Place(memory.arena.ctypes.data + 4 * memory.layout.scratch[id(node)].start, (M, C))
    per_item = max(1, lrn.ITEM_VALUES // C)
    args = (memory.pixels(x), memory.pixels(node.y), scratch, *lrn._window(size, C), alpha, node.hyper.get("k", 1.0),
            per_item)  # fmt: skip
    return Work([Call(lrn._forward, -(-M // per_item), 4 * M * C, args)], "response norm")


def _concat(node: Node, memory: Memory) -> Work:
    calls = []
    for part, channel in memory.layout.copied[id(node)]:
        sizes, items = _rows_of(node, memory, part)
        there = memory.flat(node.y)
        to = Place(there.address + 4 * channel, (there.shape[0] - channel,))
        calls.append(Call(inference.copy_channels, items, part.values * memory.images, (memory.flat(part), to, sizes)))
    return Work(calls, "copy" if calls else "")


def _view(node: Node, memory: Memory) -> Work:
    return Work([], "")


KERNELS: dict[str, Callable[[Node, Memory], Work]] = {
    "conv2d": _conv2d, "linear": _linear, "linear_maps": _linear, "affine": _affine, "relu": _relu, "add": _add,
    "relu6": _elementwise, "clip": _elementwise, "sigmoid": _elementwise, "silu": _elementwise,
    "hardsigmoid": _elementwise, "hardswish": _elementwise, "max_pool2d": _pool, "avg_pool2d": _pool,
    "global_avg_pool2d": _mean, "scale_maps": _scale_maps, "local_response_norm": _response_norm, "concat": _concat,
    "view": _view,
}  # fmt: skip
"""The kernel of each kind of node."""


def images_call(shape: tuple[int, ...], memory: Memory, value: Value) -> Call:
    """The call that copies the images to where the program reads them; their address and strides are set later."""
    N, C, H, W = shape
    nothing = np.zeros(1, np.float32)
    args = (Place(nothing.ctypes.data, (N * C * H * W,)), (0, 0, 0, 0), memory.maps(value))
    return Call(inference.to_channels_last, N * H, N * C * H * W, args)
