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
from minicnn.plan.graph import Graph, Node, Rows, Value

FUSED = {
    "conv2d_relu": (ops.conv2d, False, True), "add_relu": (ops.add, False, True),
    "batch_norm_inference_relu": (ops.batch_norm_inference, False, True),
    "batch_norm_inference_add": (ops.batch_norm_inference, True, False),
    "batch_norm_inference_add_relu": (ops.batch_norm_inference, True, True),
}  # fmt: skip
"""Ops that are several in one: (the first, whether a sum follows, whether a ReLU does)."""

WEIGHTED = ("conv2d", "linear")
RELU_AFTER = (*WEIGHTED, "linear_maps", "affine", "add")


def fold(graph: Graph) -> None:
    """Shorten the graph in place."""
    for node in graph.nodes:
        _positional(node)
    _split_fused(graph)
    _split_trainable_pools(graph)
    for change in (_vanish, _to_affine, _merge, _relu, _flatten, _special):
        change(graph)
        graph.drop_unused()


def _positional(node: Node) -> None:
    """All array arguments that the op has: None for those left out."""
    if not node.op.variadic:
        node.args += [None] * (len(node.op.arguments) - len(node.args))


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
    if node.kind in ("reshape", "flatten", "squeeze", "concat", "pad2d"):
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


# -------------------------------------------------------------------------------------------------------------- affine


def _split_trainable_pools(graph: Graph) -> None:
    """a·Σ x + b over windows is average pooling, then an affine."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.kind != "trainable_avg_pool2d" or not node.args[0].maps:
            nodes.append(node)
            continue
        x, a, b = node.args
        size = node.hyper.pop("kernel_size", 2)
        mean = Value(node.y.shape)
        taps = np.prod(pair("kernel_size", size))
        pool = Node("avg_pool2d", ops.avg_pool2d, [x], {"kernel_size": size, **node.hyper}, mean, node.layer)
        nodes += [pool, Node("affine", affine, [mean, np.float64(a) * taps, np.float64(b)], {}, node.y, node.layer,
                             folded=[node.kind])]  # fmt: skip
    graph.nodes = nodes


def affine(x: Any, scale: np.ndarray, shift: np.ndarray) -> Any:
    """y = scale·x + shift, channel by channel, in x's dtype."""
    scale, shift = (np.asarray(v, x.dtype).reshape(1, -1, *[1] * (len(x.shape) - 2)) for v in (scale, shift))
    return ops.add(ops.multiply(x, scale), shift)


def _to_affine(graph: Graph) -> None:
    for node in graph.nodes:
        found = _scale_and_shift(node)
        if found is not None:
            node.folded.append(node.kind)
            node.kind, node.op, node.hyper = "affine", affine, {}
            node.args = [node.inputs[0], *found]


def _scale_and_shift(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale (C,), shift (C,)) in float64 of a node that is an affine, else None."""
    if len(node.inputs) != 1 or len(node.y.shape) < 2 or not node.y.by_image or node.inputs[0].shape != node.y.shape:
        return None
    C, rank = node.y.channels, len(node.y.shape)
    one, none = np.ones(C), np.zeros(C)
    if node.kind == "batch_norm_inference" and not any(isinstance(a, Value) for a in node.args[1:]):
        gamma, beta, mean, var = (None if a is None else np.asarray(a, np.float64) for a in node.args[1:])
        scale = (one if gamma is None else gamma) / np.sqrt(var + node.hyper.get("eps", 1e-5))
        return scale, (none if beta is None else beta) - mean * scale
    if node.kind == "negative":
        return -one, none
    if node.kind not in ("add", "subtract", "multiply", "divide"):
        return None
    first = node.args[0] is node.inputs[0]
    values = _by_channel(node.args[1] if first else node.args[0], C, rank)
    if values is None:
        return None
    if node.kind == "add":
        return one, values
    if node.kind == "subtract":
        return (one, -values) if first else (-one, values)
    if node.kind == "multiply":
        return values, none
    return (1 / values, none) if first and values.all() else None


def _by_channel(a: Any, C: int, rank: int) -> np.ndarray | None:
    """A number, or a constant with one value for each channel, as (C,); else None."""
    if isinstance(a, Rows):
        a = a.row[None]
    if isinstance(a, np.ndarray) and a.size not in (1, C):
        return None
    if isinstance(a, np.ndarray) and a.ndim:
        shape = (1,) * (rank - a.ndim) + a.shape
        if len(shape) != rank or shape[1] != a.size:
            return None
    return np.broadcast_to(np.asarray(a, np.float64).reshape(-1), (C,)).copy()


def _merge(graph: Graph) -> None:
    """An affine becomes part of the convolution, linear layer or affine before it, or of the weights after it."""
    readers, makers = graph.readers(), graph.makers()
    for node in graph.nodes:
        if node.kind != "affine":
            continue
        before = makers.get(id(node.args[0]))
        if before is None or before.kind not in (*WEIGHTED, "affine") or not _alone(graph, readers, before):
            continue
        if any(isinstance(a, Value) for a in before.args[1:]):     # weights that depend on the images
            continue
        _scale_rows(before, *node.args[1:])
        _take_over(node, before, makers)
    graph.drop_unused()
    readers = graph.readers()
    for node in graph.nodes:
        if node.kind == "affine" and _alone(graph, readers, node):
            (after,) = readers[id(node.y)]
            if after.kind in WEIGHTED and after.args[0] is node.y and not after.inputs[1:] and _fits(node, after):
                _scale_columns(after, *node.args[1:])
                after.args[0] = node.args[0]
                after.folded = [*node.folded, *after.folded]
                readers.setdefault(id(node.args[0]), []).append(after)


def _alone(graph: Graph, readers: dict[int, list[Node]], node: Node) -> bool:
    """Whether one node reads the value, once, and it is not the output."""
    return graph.y is not node.y and len(readers.get(id(node.y), ())) == 1


def _take_over(node: Node, before: Node, makers: dict[int, Node]) -> None:
    """`before` computes what `node` did; `node` becomes nothing that is read."""
    before.y, node.y = node.y, before.y
    before.folded += node.folded if node.kind == "affine" else [node.kind]
    makers[id(before.y)] = before


def _scale_rows(node: Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """The node's result · scale + shift, as part of its constants."""
    x, w, b = node.args
    wide = np.asarray(w, np.float64) * scale.reshape(-1, *[1] * (w.ndim - 1))
    bias = shift if b is None else b * scale + shift
    node.args = [x, wide, bias]


def _scale_columns(node: Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """The same for an affine before the node."""
    x, w, b = node.args
    wide = np.asarray(w, np.float64)
    groups = node.hyper.get("groups", 1)
    O, C = w.shape[0], w.shape[1]
    by_filter = np.repeat(scale.reshape(groups, 1, C), O // groups, 1).reshape(O, C, *[1] * (w.ndim - 2))
    moved = np.repeat(shift.reshape(groups, 1, C), O // groups, 1).reshape(O, C, *[1] * (w.ndim - 2))
    bias = (wide * moved).reshape(O, -1).sum(1) + (0 if b is None else b)
    node.args = [x, wide * by_filter, None if b is None and not shift.any() else bias]


def _fits(node: Node, after: Node) -> bool:
    """Whether an affine can be part of the weights after it: a shift can't, where the padding is not shifted too."""
    return after.kind == "linear" or after.hyper.get("padding", 0) in (0, (0, 0), "valid") or not node.args[2].any()


# ----------------------------------------------------------------------------------------------------- relu and flatten


def _relu(graph: Graph) -> None:
    readers, makers = graph.readers(), graph.makers()
    for node in graph.nodes:
        before = makers.get(id(node.inputs[0])) if node.kind == "relu" else None
        if before is None or before.kind not in RELU_AFTER or before.relu or not _alone(graph, readers, before):
            continue
        if before.kind == "add" and not same_shape_sum(before):
            continue
        before.relu = True
        _take_over(node, before, makers)


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
