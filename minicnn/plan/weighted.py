"""Convolutions and linear layers: which kernel computes them, and their weights as it reads them."""

from __future__ import annotations

import numpy as np

from minicnn.cpu.compiled import depthwise, direct, inference, winograd, winograd_transforms
from minicnn.cpu.compiled.layout import pack_filters
from minicnn.cpu.compiled.program import Call, Place
from minicnn.cpu.compiled.team import run
from minicnn.geometry import Conv2dGeometry
from minicnn.plan.addresses import ITEM_VALUES, ITEMS, Memory, Work, kept
from minicnn.plan.graph import Node

F32 = np.dtype(np.float32)
ITEM_MACS = 1 << 18
"""Multiply-adds below which an item of a convolution is not divided: they take a few microseconds."""


def conv2d(node: Node, memory: Memory) -> Work:
    """A convolution: depthwise, as a linear layer, by Winograd's algorithm or by its definition."""
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
    args = (memory.maps(node.inputs[0]), kept(node, "winograd", transform),
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
    taps = kept(node, "taps", lambda: np.array(node.args[1][:, 0].transpose(1, 2, 0), np.float32, order="C"))
    rows = depthwise._rows(g.OW * g.C, g.OH)
    if g.N * -(-g.OH // rows) < ITEMS:
        rows = -(-g.OH // ITEMS)
    args = (memory.maps(node.inputs[0]), taps, _bias(node, g.O), memory.maps(node.y), depthwise._steps(g), rows,
            node.relu)  # fmt: skip
    return Work([Call(depthwise.forward, g.N * -(-g.OH // rows), g.N * g.OH * g.OW * g.O * 2, args)], "depthwise")


def linear(node: Node, memory: Memory) -> Work:
    """A linear layer of rows, or of maps that were to be flattened."""
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

    return kept(node, "filters", pack)


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

    return kept(node, "bias", make)
