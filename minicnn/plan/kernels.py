"""Which kernel computes a node, with which arguments: the calls of a plan's program. It needs numba.

Each function takes a node and a Memory, and returns a Work: calls for a Program, and what `explain` says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.cpu.compiled import activations, elements, inference, lrn
from minicnn.cpu.compiled.program import Call, Place
from minicnn.plan import weighted
from minicnn.plan.addresses import ITEM_VALUES, ITEMS, Memory, Work, kept
from minicnn.plan.fold import pool_geometry, same_shape_sum
from minicnn.plan.graph import Node, Value


def supported(node: Node) -> bool:
    """Whether `work` has a kernel for the node in float32."""
    x = node.inputs[0]
    rows = node.kind == "view" or all(v.by_image and len(v.shape) in (2, 4) for v in (*node.inputs, node.y))
    if node.kind not in KERNELS or not rows:
        return False
    if node.kind in ("conv2d", "linear", "linear_maps", "affine"):
        return len(node.inputs) == 1 and node.args[0] is x
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

    return kept(node, name, make)


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
    factor = kept(node, "factor", (lambda: np.ones(1, np.float32)) if largest else shares)
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
    "conv2d": weighted.conv2d, "linear": weighted.linear, "linear_maps": weighted.linear, "affine": _affine,
    "relu": _relu, "relu6": _elementwise, "clip": _elementwise, "sigmoid": _elementwise, "silu": _elementwise,
    "hardsigmoid": _elementwise, "hardswish": _elementwise, "add": _add, "scale_maps": _scale_maps,
    "max_pool2d": _pool, "avg_pool2d": _pool, "global_avg_pool2d": _mean, "local_response_norm": _response_norm,
    "concat": _concat, "view": _view,
}  # fmt: skip
"""The kernel of each kind of node."""


def images_call(shape: tuple[int, ...], memory: Memory, value: Value) -> Call:
    """The call that copies the images to where the program reads them; their address and strides are set later."""
    N, C, H, W = shape
    anywhere = Place(0, (1 << 40,))                                # images with gaps reach further than N·C·H·W values
    args = (anywhere, (0, 0, 0, 0), memory.maps(value))
    return Call(inference.to_channels_last, N * H, N * C * H * W, args)
