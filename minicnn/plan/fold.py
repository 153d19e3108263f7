"""Shortening a graph: fewer passes over memory for the same values.

    vanish     reshapes to the same shape, sums with 0, pools of one pixel                       → nothing
    affine     batch norm, and sums and products with constants of a channel                     → scale·x + shift
               after a convolution or a linear layer: part of its weights, in float64
    relu       after a convolution, a linear layer, an affine or a sum                           → part of it
    flatten    before a linear layer: the weights' columns are rearranged to the maps' layout    → nothing

After it a node's kind is an op's name, or one of these:

    affine        y = scale·x + shift, channel by channel: args (x, scale (C,), shift (C,))
    scale_maps    y[n,c,i,j] = x[n,c,i,j]·s[n,c]: args (x (N,C,H,W), s (N,C,1,1))
    linear_maps   linear of flattened maps: args (x (N,C,H,W), w (O, H·W·C), b); w in the order of channels last
    view          the same values in another shape, and in the same order with channels last
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import ops
from minicnn.geometry import Pool2dGeometry, pair
from minicnn.plan.affine import WEIGHTED, alone, merge, split_trainable_pools, take_over, to_affine
from minicnn.plan.graph import Graph, Node, Value

FUSED = {
    "conv2d_relu": (ops.conv2d, False, True), "add_relu": (ops.add, False, True),
    "batch_norm_inference_relu": (ops.batch_norm_inference, False, True),
    "batch_norm_inference_add": (ops.batch_norm_inference, True, False),
    "batch_norm_inference_add_relu": (ops.batch_norm_inference, True, True),
}  # fmt: skip
"""Ops that are several in one: (the first, whether a sum follows, whether a ReLU does)."""

RELU_AFTER = (*WEIGHTED, "linear_maps", "affine", "add")


def fold(graph: Graph) -> None:
    """Shorten the graph in place."""
    for node in graph.nodes:
        _positional(node)
    _split_fused(graph)
    for node in graph.nodes:
        _turn(node)
    split_trainable_pools(graph)
    for change in (_vanish, to_affine, merge, _relu, _flatten, _special):
        change(graph)
        graph.drop_unused()


def _positional(node: Node) -> None:
    """All array arguments that the op has: None for those left out."""
    if not node.op.variadic:
        node.args += [None] * (len(node.op.arguments) - len(node.args))


def _turn(node: Node) -> None:
    """A convolution with flip=True is one with the filters turned, unless they depend on the images."""
    if node.kind in ("conv1d", "conv2d") and node.hyper.get("flip") and isinstance(node.args[1], np.ndarray):
        taps = tuple(range(2, node.args[1].ndim))
        node.args[1], node.hyper = np.flip(node.args[1], taps).copy(), {**node.hyper, "flip": False}


def _split_fused(graph: Graph) -> None:
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.kind not in FUSED:
            nodes.append(node)
            continue
        first, adds, rectifies = FUSED[node.kind]
        z = node.args.pop() if adds else None
        values = [Value(node.y.shape) for _ in range(adds + rectifies)] + [node.y]
        nodes.append(Node(first.__name__, first, node.args, node.hyper, values[0], node.layer))
        if adds:
            nodes.append(Node("add", ops.add, [values[0], z], {}, values[1], node.layer))
        if rectifies:
            nodes.append(Node("relu", ops.relu, [values[-2]], {}, values[-1], node.layer))
    graph.nodes = nodes


# ------------------------------------------------------------------------------------------------- what changes nothing


def _vanish(graph: Graph) -> None:
    for node in graph.nodes:
        if len(node.inputs) == 1 and node.inputs[0].shape == node.y.shape and _is_identity(node):
            _leave_out(graph, node, node.inputs[0])


def _leave_out(graph: Graph, node: Node, x: Value) -> None:
    graph.replace(node.y, x)
    maker = graph.makers().get(id(x))
    if maker is not None:
        maker.folded.append(node.kind)


def _is_identity(node: Node) -> bool:
    """Whether y = x, for an x of y's shape."""
    if node.kind in ("reshape", "flatten", "squeeze", "concat", "pad"):
        return True
    if node.kind == "transpose":
        axes = node.hyper.get("axes")
        return axes is not None and [a % len(node.y.shape) for a in axes] == list(range(len(node.y.shape)))
    if node.kind in ("add", "subtract"):
        return _number(node.args[1]) == 0 or (node.kind == "add" and _number(node.args[0]) == 0)
    if node.kind in ("multiply", "divide"):
        return _number(node.args[1]) == 1 or (node.kind == "multiply" and _number(node.args[0]) == 1)
    if node.kind in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        return True                                                # to x's own size
    if node.kind in ("max_pool2d", "avg_pool2d"):
        g = pool_geometry(node)
        return g.KH == g.KW == 1 and not g.vertical.before and not g.horizontal.before
    return False


def _number(a: Any) -> float | None:
    return a if isinstance(a, (int, float)) else None


def pool_geometry(node: Node, images: int = 1) -> Pool2dGeometry:
    """The windows of a max_pool2d or an avg_pool2d."""
    shape, known = node.inputs[0].at(images), ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return Pool2dGeometry.of(shape, **{key: value for key, value in node.hyper.items() if key in known})


# ----------------------------------------------------------------------------------------------------- relu and flatten


def _relu(graph: Graph) -> None:
    readers, makers = graph.readers(), graph.makers()
    for node in graph.nodes:
        before = makers.get(id(node.inputs[0])) if node.kind == "relu" else None
        if before is None or before.kind not in RELU_AFTER or before.relu or not alone(graph, readers, before):
            continue
        if before.kind == "add" and not same_shape_sum(before):
            continue
        before.relu = True
        take_over(node, before, makers)


def same_shape_sum(node: Node) -> bool:
    """Whether an `add` is the sum of two values of one shape."""
    return len(node.inputs) == 2 and node.inputs[0].shape == node.inputs[1].shape


def _flatten(graph: Graph) -> None:
    """Linear layers read the maps before a flatten; what has at most one axis besides the images' is only a view."""
    makers = graph.makers()
    for node in graph.nodes:
        x = node.inputs[0] if node.inputs else None
        if node.kind in ("flatten", "reshape", "squeeze") and x is not None and _one_row(x) and _one_row(node.y):
            node.kind = "view"
    for node in graph.nodes:
        flat = makers.get(id(node.args[0])) if node.kind == "linear" else None
        if flat is None or flat.kind not in ("flatten", "reshape") or not flat.inputs[0].maps or node.inputs[1:]:
            continue
        maps = flat.inputs[0]
        _, C, H, W = maps.at(1)
        _, w, b = node.args
        columns = w.reshape(len(w), C, H, W).transpose(0, 2, 3, 1).reshape(len(w), -1)
        node.kind, node.op, node.args = "linear_maps", linear_maps, [maps, columns, b]
        node.folded.insert(0, flat.kind)


def _one_row(value: Value) -> bool:
    """Whether at most one axis besides the images' has more than one value."""
    return value.by_image and sum(size != 1 for size in value.shape[1:]) <= 1


def linear_maps(x: Any, w: np.ndarray, b: np.ndarray | None) -> Any:
    """y = x · wᵀ + b for x (N,C,H,W), w (O, H·W·C)"""
    return ops.linear(ops.flatten(ops.transpose(x, axes=(0, 2, 3, 1))), w, b)


def _special(graph: Graph) -> None:
    """Products of maps with one number for each map, and adaptive pools whose windows are all of one size."""
    for node in graph.nodes:
        if node.kind == "multiply" and len(node.inputs) == 2:
            for x, s in (node.inputs, node.inputs[::-1]):
                if x.maps and x.shape == node.y.shape and s.shape == (*x.shape[:2], 1, 1) != x.shape:
                    node.kind, node.op, node.args = "scale_maps", ops.multiply, [x, s]
                    break
        if node.kind == "adaptive_avg_pool2d":
            (OH, OW), (H, W) = pair("output_size", node.hyper["output_size"]), node.inputs[0].at(1)[2:]
            if OH == OW == 1 or (H % OH == W % OW == 0):
                node.kind, node.op = "avg_pool2d", ops.avg_pool2d
                node.hyper = {"kernel_size": (H // OH, W // OW)}
