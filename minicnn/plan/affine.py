"""Affines, y = scale·x + shift channel by channel, and how they become part of the weights before or after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import ops
from minicnn.geometry import pair
from minicnn.plan.graph import Graph, Node, Rows, Value

WEIGHTED = ("conv2d", "linear")


def split_trainable_pools(graph: Graph) -> None:
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


def to_affine(graph: Graph) -> None:
    """Batch norm with given statistics, and sums and products with constants of a channel."""
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


def merge(graph: Graph) -> None:
    """An affine becomes part of the convolution, linear layer or affine before it, or of the weights after it."""
    readers, makers = graph.readers(), graph.makers()
    for node in graph.nodes:
        if node.kind != "affine":
            continue
        before = makers.get(id(node.args[0]))
        if before is None or before.kind not in (*WEIGHTED, "affine") or not alone(graph, readers, before):
            continue
        if any(isinstance(a, Value) for a in before.args[1:]):     # weights that depend on the images
            continue
        _scale_rows(before, *node.args[1:])
        take_over(node, before, makers)
    graph.drop_unused()
    readers = graph.readers()
    for node in graph.nodes:
        if node.kind == "affine" and alone(graph, readers, node):
            (after,) = readers[id(node.y)]
            if after.kind in WEIGHTED and after.args[0] is node.y and not after.inputs[1:] and _fits(node, after):
                _scale_columns(after, *node.args[1:])
                after.args[0] = node.args[0]
                after.folded = [*node.folded, *after.folded]
                readers.setdefault(id(node.args[0]), []).append(after)


def alone(graph: Graph, readers: dict[int, list[Node]], node: Node) -> bool:
    """Whether one node reads the value, once, and it is not the output."""
    return graph.y is not node.y and len(readers.get(id(node.y), ())) == 1


def take_over(node: Node, before: Node, makers: dict[int, Node]) -> None:
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
