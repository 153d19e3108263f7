"""The lab's answers as plain dictionaries: a net's graph, a look at an image, one number, one training step.

Pure functions: they neither read files nor serve anything, and leave the model as it was. Arrays are NumPy's.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain.cell import ELEMENTS, Part
from minicnn.lab.look import Graph, Look
from minicnn.names import short

Answer = dict[str, Any]
FLAT = ("relu", "relu6", "leaky_relu", "hardsigmoid", "hardswish", "clip", "sigmoid", "tanh", "silu", "elu", "selu",
        "gelu", "softplus", "mish", "prelu", "erf")  # fmt: skip
THUMB = 24
"""The most pixels a side of a small map."""
LOOK_BYTES = 400_000
"""Of all small maps of a look: with base64 and the numbers beside them below 1 MB."""
MAPS_VALUES = 2**18
"""Numbers in one answer of `maps`."""
PART_VALUES = 4096
"""Numbers of a window that one answer shows: the channels with the largest sums, one at least."""


def net(graph: Graph) -> Answer:
    """The graph: every op with its layer, inputs, shape, parameters, MACs and receptive field."""
    return {"input": list(graph.shape), "output": graph.output, "nodes": [asdict(n) for n in graph.nodes],
            "parameters": sum(n.parameters for n in graph.nodes), "macs": sum(n.macs for n in graph.nodes)}  # fmt: skip


def look(seen: Look) -> Answer:
    """The scores, the probabilities, and small maps of every node: its brightest first, those of the largest mean |y|.

    A small map is `uint8`: 128 + 127·y/limit, limit the largest |y| of the node.
    """
    sizes = [_thumb(n.shape) for n in seen.graph.nodes]
    count = 8
    while count > 1 and sum(min(count, maps) * h * w for maps, h, w in sizes) > LOOK_BYTES:
        count -= 1
    return {"scores": seen.scores, "probabilities": seen.probabilities,
            "nodes": [_small(seen.value(n.id)[0], count) for n in seen.graph.nodes]}  # fmt: skip


def _thumb(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(maps, rows, columns) of a node's small maps; values without positions are one map."""
    if len(shape) == 3:
        return shape[0], min(THUMB, shape[1]), min(THUMB, shape[2])
    size = min(THUMB**2, math.prod(shape))
    across = math.isqrt(max(0, size - 1)) + 1                      # about a square
    return 1, -(-size // across), across


def _small(y: np.ndarray, count: int) -> Answer:
    finite = np.nan_to_num(y.astype(np.float32), posinf=0, neginf=0)
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    _, h, w = _thumb(y.shape)
    if y.ndim != 3:
        flat = np.zeros(h * w, np.float32)
        flat[: y.size] = finite.reshape(-1)[: h * w]
        return {"channels": [0], "limit": limit, "maps": _bytes(flat.reshape(1, h, w), limit)}
    order = np.argsort(-np.abs(finite).mean((1, 2)), kind="stable")[:count]
    rows, columns = (np.arange(k) * n // k for k, n in zip((h, w), y.shape[1:]))
    return {"channels": order.tolist(), "limit": limit, "maps": _bytes(finite[np.ix_(order, rows, columns)], limit)}


def _bytes(y: np.ndarray, limit: float) -> np.ndarray:
    return np.round(128 + 127 * np.clip(y / limit, -1, 1)).astype(np.uint8)


def maps(seen: Look, node: int, first: int = 0, gradient_of: int | None = None) -> Answer:
    """Whole maps of a node, exactly, from channel `first` on, as many as fit in an answer; or their gradients."""
    at = _node(seen.graph, node)
    y = seen.value(at.id)[0] if gradient_of is None else seen.gradient(at.id, _class(seen, gradient_of))[0]
    y = y.astype(np.float32) if y.ndim == 3 else y.astype(np.float32).reshape(1, 1, -1)
    first = arguments.integer("first", first, 0, len(y) - 1)
    end = first + max(1, MAPS_VALUES // y[0].size)
    return {"node": node, "first": first, "of": len(y), "limit": float(np.abs(y).max(initial=0)), "maps": y[first:end]}


def unit(seen: Look, node: int, at: list[int] | tuple[int, ...], k: int) -> Answer:
    """One number: what it is computed from, the formula with numbers, and what flows back through it to each of them.

    k: the class whose score S_k the gradients are of. Factors are ∂y/∂value, so gradient · factors is ∂S_k/∂value
    through this number alone. `why`: the reason of a gradient that is 0.
    """
    here = _node(seen.graph, node)
    index = _index(here.shape, at)
    k = _class(seen, k)
    softmax = node > len(seen.graph.steps)
    g = None if softmax else float(seen.gradient(node, k)[(0, *index)])
    found: Answer = {"node": node, "op": here.op, "layer": here.layer, "at": list(index), "class": k, "gradient": g,
                     "why": why_zero(seen, node, index, k) if g == 0 else None,
                     "field": _pixels(seen.graph, node, index), "score": float(seen.scores[k])}  # fmt: skip
    if node == 0:
        return found | {"value": float(seen.value(0)[(0, *index)]), "kind": "image", "parts": [], "formula": "",
                        "in_numbers": "", "numbers": {}, "bias": None}  # fmt: skip
    cell = seen.cell(node, index)
    names, places = here.weights, _sources(seen, node)
    return found | {"value": cell.value, "kind": cell.kind, "formula": cell.formula, "in_numbers": cell.in_numbers(),
                    "numbers": dict(cell.numbers), "bias": cell.bias, "flip": bool(seen.hyper(node).get("flip")),
                    "parts": [_part(p, names.get(p.name), places.get(p.argument)) for p in cell.parts]}  # fmt: skip


def _part(part: Part, parameter: str | None, node: int | None) -> Answer:
    products = part.products.astype(np.float64)
    axis = 1 if products.ndim > 1 and products.shape[0] == 1 else 0
    sums = products.sum(tuple(a for a in range(products.ndim) if a != axis))
    each = max(1, products.size // max(1, len(sums)))
    most = max(1, PART_VALUES // each)
    chosen = np.sort(np.argsort(-np.abs(sums), kind="stable")[:most])
    def cut(a): return np.take(a, chosen, axis).astype(np.float32)

    return {"name": part.name, "node": node, "parameter": parameter, "axis": axis, "channels": chosen.tolist(),
            "box": [[r.start, len(r), r.step] for r in part.box], "values": cut(part.values),
            "factors": cut(part.factors), "sums": sums[chosen], "sum": float(products.sum()),
            "left": len(sums) - len(chosen), "left_sum": float(sums.sum() - sums[chosen].sum())}  # fmt: skip


def why_zero(seen: Look, node: int, at: tuple[int, ...], k: int) -> Answer:
    """Why the gradient of a number is 0: the first reason that holds, and the node that it comes from.

    reason: "other" another class's score; "off" an activation in its flat part; "loses" never the largest of a window;
    "unread" no window reads it; "factor" what multiplies it is 0; "behind" all that it reaches has gradient 0.
    """
    graph = seen.graph
    if node == graph.output:
        return {"reason": "other", "node": node}
    reasons = []
    for reader in graph.nodes[1 : len(graph.steps) + 1]:
        if node not in reader.inputs:
            continue
        dy = np.random.default_rng(0).uniform(1, 2, seen.value(reader.id).shape).astype(seen.scores.dtype)
        through = sum(dx for source, dx in seen.passed_back(reader.id, dy) if source == node)
        if np.ndim(through) and through[(0, *at)] != 0:            # a zero only behind the reader
            one_to_one = reader.op in ELEMENTS or reader.op == "batch_norm_inference"
            if one_to_one and reader.shape == graph.nodes[node].shape:
                return why_zero(seen, reader.id, at, k)
            reasons.append(("behind", reader.id))
        elif reader.op in FLAT:
            reasons.append(("off", reader.id))
        elif "max" in reader.op or reader.op in ("min", "minimum"):
            reasons.append(("loses", reader.id))
        else:
            factor = reader.op in ("multiply", "divide", "linear", "matmul")
            reasons.append(("factor" if factor else "unread", reader.id))
    first = next((r for r in reasons if r[0] != "behind"), reasons[0] if reasons else ("unread", node))
    return {"reason": first[0], "node": first[1]}


def _sources(seen: Look, node: int) -> dict[int, int]:
    """{place of an argument: the node that computed it}"""
    inputs = iter(seen.graph.nodes[node].inputs)
    return {k: next(inputs) for k, a in enumerate(seen.args(node)) if id(a) in seen.run.number}


def _pixels(graph: Graph, node: int, at: tuple[int, ...]) -> list[list[int]] | None:
    """The receptive field in the image: [first row, end], [first column, end], clipped at the edges."""
    field = graph.nodes[node].field
    if field is None:
        return None
    places = at[1:] if len(at) == 3 else (0, 0)
    return [[max(0, math.floor(start + i * step)), min(side, math.ceil(start + i * step + size))]
            for (start, size, step), i, side in zip(field, places, graph.shape[1:])]  # fmt: skip


def _node(graph: Graph, node: Any) -> Any:
    return graph.nodes[arguments.integer("node", node, 0, len(graph.nodes) - 1)]


def _index(shape: tuple[int, ...], at: Any) -> tuple[int, ...]:
    if not isinstance(at, (list, tuple)) or len(at) != len(shape):
        raise ValueError(f"at (={short(at)}) must be {len(shape)} integers, one for each axis of {list(shape)}")
    return tuple(arguments.integer("at", i, 0, n - 1) for i, n in zip(at, shape))


def _class(seen: Look, k: Any) -> int:
    return arguments.integer("class", k, 0, len(seen.scores) - 1)
