"""Readers of operators with weights or statistics, and of local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Builder, Value
from minicnn.io.onnx.read.node import Node
from minicnn.io.onnx.read.windows import padding


def conv(g: Builder, node: Node, x: Value, w: Value, b: Value | None = None) -> Value:
    """Conv of signals or images."""
    axes = _spatial(node, x, w)
    stride, dilation = node.ints("strides", [1] * axes, axes), node.ints("dilations", [1] * axes, axes)
    if (kernel := node.ints("kernel_shape", w.shape[2:], axes)) != list(w.shape[2:]):
        raise ValueError(f"kernel_shape (={kernel}) is not that of the weights, {list(w.shape[2:])}")
    around, groups = padding(node, axes), node.integer("group", 1)
    if axes == 1:
        return g.call("conv1d", x, w, b, stride=stride[0], padding=around, dilation=dilation[0], groups=groups)
    return g.call("conv2d", x, w, b, stride=_pair(stride), padding=around, dilation=_pair(dilation), groups=groups)


def conv_transpose(g: Builder, node: Node, x: Value, w: Value, b: Value | None = None) -> Value:
    """ConvTranspose of signals or images; the padding for a wanted output is computed here."""
    axes = _spatial(node, x, w)
    S, D = node.ints("strides", [1] * axes, axes), node.ints("dilations", [1] * axes, axes)
    extra, given = node.ints("output_padding", [0] * axes, axes), padding(node, axes)
    K, sizes = w.shape[2:], x.shape[2:]
    wanted = node.attributes.get("output_shape")
    if wanted is not None:
        wanted = node.ints("output_shape")[-axes:]
    elif isinstance(given, str):
        wanted = [n * s for n, s in zip(sizes, S)]
    if wanted is not None:
        total = [max(0, s * (n - 1) + e + d * (k - 1) + 1 - out)
                 for s, n, e, d, k, out in zip(S, sizes, extra, D, K, wanted)]
        extra = [out - (s * (n - 1) + d * (k - 1) + 1 - t) for s, n, d, k, out, t in zip(S, sizes, D, K, wanted, total)]
        ends = [(t // 2, t - t // 2) for t in total]
        if node.text("auto_pad", "NOTSET") != "SAME_UPPER":
            ends = [(b, a) for a, b in ends]
    else:
        ends = _ends(given, axes)
    groups, pads = node.integer("group", 1), tuple(ends)
    if axes == 1:
        flat = g.call("reshape", x, shape=(*x.shape[:2], 1, x.shape[2]))
        filters = g.call("reshape", w, shape=(*w.shape[:2], 1, w.shape[2]))
        y = g.call("conv_transpose2d", flat, filters, b, stride=(1, S[0]), padding=((0, 0), pads[0]),
                   output_padding=(0, extra[0]), groups=groups, dilation=(1, D[0]))  # fmt: skip
        return g.call("squeeze", y, axis=2)
    return g.call("conv_transpose2d", x, w, b, stride=_pair(S), padding=_simple(pads), output_padding=_pair(extra),
                  groups=groups, dilation=_pair(D))  # fmt: skip


def _ends(given: Any, axes: int) -> list[tuple[int, int]]:
    if axes == 1:
        return [given] if isinstance(given, tuple) else [(given, given)]
    pairs = given if isinstance(given, tuple) else (given, given)
    return [side if isinstance(side, tuple) else (side, side) for side in pairs]


def _simple(ends: tuple[Any, ...]) -> Any:
    (top, bottom), (left, right) = ends
    return _pair([top, left]) if top == bottom and left == right else ends


def _spatial(node: Node, x: Value, w: Value) -> int:
    if x.ndim not in (3, 4):
        raise ValueError(f"{node.op} is read for signals (N, C, L) and images (N, C, H, W), not for shape "
                         f"{list(x.shape)[:8]}")
    if w.ndim != x.ndim:
        raise ValueError(f"its weights have shape {list(w.shape)[:8]}, and must have {x.ndim} axes as the input")
    return x.ndim - 2


def _pair(values: list[int]) -> Any:
    return values[0] if values[0] == values[1] else tuple(values)


def gemm(g: Builder, node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    """α·A·B + β·C: a linear layer where B is a constant."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    for v, what in ((a, "A"), (b, "B")):
        if v.ndim != 2:
            raise ValueError(f"{what} has shape {list(v.shape)[:8]}, and must have 2 axes")
    x = g.call("transpose", a) if node.integer("transA", 0) else a
    w = b if node.integer("transB", 0) else g.call("transpose", b)                # (O, I)
    w = w if alpha == 1 else g.call("multiply", w, alpha)
    if c is None or beta == 0:
        return g.call("linear", x, w, None)
    c = c if beta == 1 else g.call("multiply", c, beta)
    O = w.shape[0]
    if c.array is not None and c.size in (1, O) and c.shape in ((), (1,), (O,), (1, O), (1, 1)):
        bias = g.constant(np.ascontiguousarray(np.broadcast_to(c.array.reshape(-1), (O,))), c.name)
        return g.call("linear", x, w, bias)
    if c.shape == (O,):
        return g.call("linear", x, w, c)
    return g.call("add", g.call("linear", x, w, None), c)


def matmul(g: Builder, node: Node, a: Value, b: Value) -> Value:
    """MatMul: a linear layer where B is a constant matrix and A a batch of vectors."""
    if a.array is None and b.array is not None and a.ndim == b.ndim == 2:
        return g.call("linear", a, g.call("transpose", b), None)
    if a.ndim > 1 and b.ndim > 1:
        return g.call("matmul", a, b)
    left = g.call("reshape", a, shape=(1, *a.shape)) if a.ndim == 1 else a
    right = g.call("reshape", b, shape=(*b.shape, 1)) if b.ndim == 1 else b
    y = g.call("matmul", left, right)
    gone = tuple(axis for axis, v in ((-2, a), (-1, b)) if v.ndim == 1)
    return g.call("squeeze", y, axis=gone)


def batch_norm(g: Builder, node: Node, x: Value, gamma: Value, beta: Value, mean: Value, var: Value) -> Any:
    """BatchNormalization with its running statistics. ONNX's momentum is 1 minus ours."""
    if node.integer("spatial", 1) != 1:
        raise ValueError("statistics for each pixel (spatial=0) are not read")
    eps, momentum = node.number("epsilon", 1e-5), node.number("momentum", 0.9)
    if node.opset >= 14 and node.integer("training_mode", 0):
        return _batch_norm_training(g, x, gamma, beta, mean, var, eps, momentum)
    if len([name for name in node.outputs if name]) > 1 and node.opset >= 9:
        raise ValueError("it is in training mode: export the net in inference mode")
    kept = {"momentum": round(1 - momentum, 6) if 0 <= momentum < 1 else 0.1}
    return g.call("batch_norm_inference", x, gamma, beta, mean, var, eps=eps, more=kept)


def _batch_norm_training(g: Builder, x: Value, gamma: Value, beta: Value, mean: Value, var: Value, eps: float,
                         momentum: float) -> tuple[Value, ...]:  # fmt: skip
    """(y, the running mean and variance mixed with the batch's)"""
    axes = (0, *range(2, x.ndim))
    y = g.call("batch_norm", x, gamma, beta, eps=eps)
    centre = g.call("mean", x, axis=axes, keepdims=True)
    off = g.call("subtract", x, centre)
    batch = (g.call("squeeze", centre, axis=axes), g.call("mean", g.call("multiply", off, off), axis=axes))
    mixed = [g.call("add", g.call("multiply", old, momentum), g.call("multiply", new, 1 - momentum))
             for old, new in zip((mean, var), batch)]
    return (y, *mixed)


def instance_norm(g: Builder, node: Node, x: Value, gamma: Value, beta: Value) -> Value:
    """InstanceNormalization."""
    return g.call("instance_norm", x, gamma, beta, eps=node.number("epsilon", 1e-5))


def group_norm(g: Builder, node: Node, x: Value, gamma: Value, beta: Value) -> Value:
    """GroupNormalization, with a scale for each group (opset 18 to 20) or for each channel."""
    G, C = node.integer("num_groups"), x.shape[1]
    def each(v: Value) -> Value:
        if node.opset >= 21 or G == C or v.shape != (G,) or C % G:
            return v
        if v.array is not None:
            return g.constant(np.repeat(v.array, C // G), v.name)
        rows = g.call("broadcast_to", g.call("reshape", v, shape=(G, 1)), shape=(G, C // G))
        return g.call("reshape", rows, shape=(C,))

    return g.call("group_norm", x, each(gamma), each(beta), num_groups=G, eps=node.number("epsilon", 1e-5))


def layer_norm(g: Builder, node: Node, x: Value, gamma: Value, beta: Value | None = None) -> Any:
    """LayerNormalization over all axes from one on."""
    first = g.axis(node.integer("axis", -1), x.ndim)
    shape, eps = x.shape[first:], node.number("epsilon", 1e-5)
    def whole(v: Value | None) -> Value | None:
        return v if v is None or v.shape == shape else g.call("broadcast_to", v, shape=shape)

    y = g.call("layer_norm", x, whole(gamma), whole(beta), normalized_shape=shape, eps=eps)
    if len(node.outputs) == 1:
        return y
    axes = tuple(range(first, x.ndim))
    centre = g.call("mean", x, axis=axes, keepdims=True)
    off = g.call("subtract", x, centre)
    var = g.call("mean", g.call("multiply", off, off), axis=axes, keepdims=True)
    return y, centre, g.call("divide", 1.0, g.call("sqrt", g.call("add", var, eps)))


def lrn(g: Builder, node: Node, x: Value) -> Value:
    """LRN. A window of an even size reaches further behind in ONNX, and further to the front here: so turned around."""
    size = node.integer("size")
    how: dict[str, Any] = {"size": size, "alpha": node.number("alpha", 1e-4), "beta": node.number("beta", 0.75),
           "k": node.number("bias", 1.0)}  # fmt: skip
    if size % 2:
        return g.call("local_response_norm", x, **how)
    turned = (slice(None), slice(None, None, -1))
    y = g.call("local_response_norm", g.call("getitem", x, index=turned), **how)
    return g.call("getitem", y, index=turned)


