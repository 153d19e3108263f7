"""One number of one op, explained: what it reads, the factor of each number that it reads, and the formula.

    cell = explain(conv2d, (x, w, b), {"stride": 1}, y, (0, 3, 5, 6))
    cell.parts[0].products.sum() + cell.bias == cell.value                    window × filter = products, summed

A factor is the derivative ∂y/∂(the number read). So the backward pass needs nothing more: a cell with the gradient g
sends g · factor to each number that it reads, and g · the window to its filter.

The arrays are NumPy's. An op of the user's own is explained by its own gradient functions.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.explain.cell import ELEMENTS, GELU_TANH, LETTERS, Array, Box, Call, Cell, Index, Part, one, take
from minicnn.geometry import Axis, Conv2dGeometry, Pool2dGeometry
from minicnn.ops.adaptive_pool import bounds
from minicnn.ops.axes import normalise_axes, normalise_axis
from minicnn.ops.conv import transposed
from minicnn.ops.resize import taps


def explain(op: Callable[..., Any], args: Sequence[Any], hyper: Mapping[str, Any], y: Array, at: Index) -> Cell:
    """The number y[at] of y = op(*args, **hyper).

    args: arrays, numbers and None, as the op takes them; at: one index for each axis of y. IndexError for another one.
    """
    if len(at) != y.ndim or not all(0 <= i < n for i, n in zip(at, y.shape)):
        raise IndexError(f"there is no cell {tuple(at)} in an output of shape {y.shape}")
    known = {name: p.default for name, p in inspect.signature(getattr(op, "__wrapped__", op)).parameters.items()
             if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}  # fmt: skip
    call = Call(op, list(args), known | dict(hyper), y, tuple(int(i) for i in at))
    return _KINDS.get(op.__name__, _any)(call)


def _whole(x: Array) -> Box:
    return tuple(map(range, x.shape))


def _window(axis: Axis, i: int) -> range:
    start = i * axis.stride - axis.before
    return range(start, start + axis.extent, axis.dilation)


# ------------------------------------------------------------------------------------------------ sums of products


def _convolution(c: Call) -> Cell:
    """conv2d; and conv1d, a convolution of images with one row."""
    (x, w, b), (n, o, *place), h = (*c.args, None)[:3], c.at, c.hyper
    row: Index = ()
    stride, padding, dilation = h["stride"], h["padding"], h["dilation"]
    if x.ndim == 3:
        row, stride, dilation = (1,), (1, stride), (1, dilation)
        padding = padding if isinstance(padding, str) else (0, padding)
    g = Conv2dGeometry.of((*x.shape[:2], *row, *x.shape[2:]), (*w.shape[:2], *row, *w.shape[2:]), stride, padding,
                          dilation, h["groups"])  # fmt: skip
    first = o // (g.O // g.G) * w.shape[1]
    axes = (g.vertical, g.horizontal)[-len(place) :]
    box = (range(n, n + 1), range(first, first + w.shape[1]), *map(_window, axes, place))
    turn = (..., *(slice(None, None, -1 if h["flip"] else 1),) * len(place))
    window = c.part(0, box, w[o : o + 1][turn])
    parts = [window, c.part(1, (range(o, o + 1), *_whole(w)[1:]), window.values[turn])]
    return _products(c, parts, b, o, "y = Σ w·x")


def _transposed_convolution(c: Call) -> Cell:
    """The pixels from which a tap reaches y[at], and that tap of each."""
    (x, w, b), (n, o, *place), h = (*c.args, None)[:3], c.at, c.hyper
    g = transposed(x.shape, w.shape, None, *(h[k] for k in ("stride", "padding", "output_padding", "groups",
                                                            "dilation")))  # fmt: skip
    first, k = o // w.shape[1] * (x.shape[1] // g.G), o % w.shape[1]
    channels = range(first, first + x.shape[1] // g.G)
    (rows, p), (columns, q) = (_reaching(axis, i) for axis, i in zip((g.vertical, g.horizontal), place))
    window, used = (range(n, n + 1), channels, rows, columns), (channels, range(k, k + 1), p, q)
    values, filters = take(x, window), take(w, used)
    parts = [c.part(0, window, filters.swapaxes(0, 1)), c.part(1, used, values.swapaxes(0, 1))]
    return _products(c, parts, b, o, "y = Σ w·x")


def _reaching(axis: Axis, i: int) -> tuple[range, range]:
    """(the pixels h, the taps p) with i = h·stride + p·dilation − before, h ascending."""
    used = [p for p in range(axis.kernel) if (i + axis.before - p * axis.dilation) % axis.stride == 0]
    if not used:
        return range(0), range(0)
    step = used[1] - used[0] if len(used) > 1 else axis.stride
    low, high = ((i + axis.before - p * axis.dilation) // axis.stride for p in (used[-1], used[0]))
    return range(low, high + 1, step * axis.dilation // axis.stride), range(used[-1], used[0] - 1, -step)


def _resize(c: Call) -> Cell:
    (n, o, i, j), h = c.at, c.hyper
    rows, columns = taps(c.args[0].shape, *(h[k] for k in ("size", "scale", "mode", "coordinates", "rounding")))
    (down, across) = (dict(axis[k]) for axis, k in ((rows, i), (columns, j)))
    box = (*one(n, o), *(range(min(t), max(t) + 1) for t in (down, across)))
    weights = np.outer([down[p] for p in box[2]], [across[p] for p in box[3]])
    if weights.size == 1:
        return c.cell("copy", [c.part(0, box, 1.0)], "y = x")
    return c.cell("products", [c.part(0, box, weights)], "y = Σ w·x", bias=0.0)


def _linear(c: Call) -> Cell:
    (x, w, b), (n, o) = (*c.args, None)[:3], c.at
    parts = [c.part(0, (range(n, n + 1), range(x.shape[1])), w[o : o + 1]),
             c.part(1, (range(o, o + 1), range(w.shape[1])), x[n : n + 1])]  # fmt: skip
    return _products(c, parts, b, o, "y = Σ w·x")


def _matmul(c: Call) -> Cell:
    (a, b), (*lead, m, k) = c.args, c.at
    row, column = ([0 if n == 1 else i for i, n in zip(lead[len(lead) - (z.ndim - 2) :], z.shape)] for z in (a, b))
    left, right = a[(*row, m)], b[(*column, slice(None), k)]
    parts = [c.part(0, (*one(*row, m), range(a.shape[-1])), right),
             c.part(1, (*one(*column), range(b.shape[-2]), range(k, k + 1)), left[:, None])]  # fmt: skip
    return c.cell("products", parts, "y = Σ a·b", bias=0.0)


def _products(c: Call, parts: list[Part], b: Array | None, o: int, formula: str, place: int = 2) -> Cell:
    if b is None:
        return c.cell("products", parts, formula, bias=0.0)
    parts.append(c.part(place, one(o), 1.0))
    return c.cell("products", parts, formula + " + b", {"b": float(b[o])}, bias=float(b[o]))


def _average(c: Call, box: Box, m: int = 0) -> Cell:
    m = m or math.prod(map(len, box))
    return c.cell("products", [c.part(0, box, 1 / m)], "y = Σ x / m", {"m": m}, bias=0.0)


def _avg_pool2d(c: Call) -> Cell:
    pads = bool(c.hyper["count_include_pad"])
    g, box = _pooling(c)
    m = g.vertical.counts(pads)[c.at[2]] * g.horizontal.counts(pads)[c.at[3]]
    return _average(c, box, m)


def _trainable_avg_pool2d(c: Call) -> Cell:
    _, box = _pooling(c)
    x, a, b = c.args
    o = c.at[1]
    parts = [c.part(0, box, a[o]), c.part(1, one(o), take(x, box).sum())]
    cell = _products(c, parts, b, o, "y = Σ a·x")
    return c.cell("products", cell.parts, cell.formula, {"a": float(a[o]), "b": float(b[o])}, bias=cell.bias)


def _sum(c: Call) -> Cell:
    return c.cell("products", [c.part(0, _reduced(c), 1.0)], "y = Σ x", bias=0.0)


# --------------------------------------------------------------------------------------------------------- winners


def _extreme(c: Call, box: Box, low: bool = False) -> Cell:
    """The first of equals wins, the last of NaNs; padding never does."""
    values = take(c.args[0], box, math.inf if low else -math.inf)
    inside = np.flatnonzero(take(np.ones(c.args[0].shape, bool), box, False))
    ranked = values.reshape(-1)[inside]
    lost = np.flatnonzero(np.isnan(ranked))
    place = lost[-1] if len(lost) else ranked.argmin() if low else ranked.argmax()
    best = np.unravel_index(inside[place], values.shape)
    factors = np.zeros(values.shape, values.dtype)
    factors[best] = 1
    part = Part(0, c.name(0), box, values, factors)
    return c.cell("winner", [part], f"y = {'min' if low else 'max'} x", winner=tuple(map(int, best)))


def _pooling(c: Call) -> tuple[Pool2dGeometry, Box]:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    g = Pool2dGeometry.of(c.args[0].shape, **{name: c.hyper[name] for name in names if name in c.hyper})
    n, o, i, j = c.at
    return g, (*one(n, o), _window(g.vertical, i), _window(g.horizontal, j))


def _adaptive_box(c: Call) -> Box:
    """Of adaptive and global pooling, whose output may lack the last two axes."""
    n, o, i, j = (*c.at, 0, 0)[:4]
    out = (*c.y.shape, 1, 1)[2:4]
    rows, columns = (range(*bounds(size, k)[p]) for size, k, p in zip(c.args[0].shape[2:], out, (i, j)))
    return (*one(n, o), rows, columns)


def _reduced(c: Call) -> Box:
    x, axes = c.args[0], normalise_axes("reduce", c.args[0], c.hyper["axis"])
    places = iter(c.at)
    box = []
    for a, n in enumerate(x.shape):
        if a in axes:
            box.append(range(n))
            if c.hyper["keepdims"]:
                next(places)
        else:
            i = next(places)
            box.append(range(i, i + 1))
    return tuple(box)


# ---------------------------------------------------------------------------------------------------------- copies


def _copy(c: Call) -> Cell:
    """An op that only rearranges: applied to the numbers of x's elements, it says which one comes here."""
    x = c.args[0]
    source = c.op.__wrapped__(np.arange(1.0, x.size + 1).reshape(x.shape), **{**c.hyper, **({"value": 0.0} if
                              "value" in c.hyper else {})})[0][c.at]  # fmt: skip
    if source == 0:                                                # the border
        return c.cell("copy", [], "y = border", {"border": float(c.y[c.at])})
    at = np.unravel_index(int(source) - 1, x.shape)
    return c.cell("copy", [c.part(0, one(*map(int, at)), 1.0)], "y = x")


def _concat(c: Call) -> Cell:
    axis = normalise_axis("concat", c.y, c.hyper["axis"])
    i, k = c.at[axis], 0
    while i >= (n := c.args[k].shape[axis]):
        i, k = i - n, k + 1
    return c.cell("copy", [c.part(k, one(*c.at[:axis], i, *c.at[axis + 1 :]), 1.0)], "y = x")


# -------------------------------------------------------------------------------------------------------- formulas


def _element(c: Call) -> Cell:
    name = c.op.__name__
    parts = _local(c, [None if not isinstance(a, np.ndarray) else
                       one(*(0 if n == 1 else i for i, n in zip(c.at[c.y.ndim - a.ndim :], a.shape))) for a in c.args])
    letters = {"power": ("x", "p"), "where": ("m", "a", "b")}.get(name, ("a", "b") if len(c.args) == 2 else ("x",))
    formula = GELU_TANH if c.hyper.get("approximate") == "tanh" else ELEMENTS[name]
    numbers = {k: float(a if isinstance(a, (int, float)) else 0) for k, a in zip(letters, c.args)}
    numbers |= {letters[p.argument]: float(p.values.item()) for p in parts}
    numbers |= {LETTERS[k]: float(v) for k, v in c.hyper.items() if k in LETTERS and v is not None}
    if name == "clip":
        numbers = {"low": -math.inf, "high": math.inf} | numbers
    return c.cell("formula", parts, formula, numbers)


def _where(c: Call) -> Cell:
    mask, taken = c.args[0], _element(c)
    true = bool(mask[tuple(0 if n == 1 else i for i, n in zip(c.at[c.y.ndim - mask.ndim :], mask.shape))])
    return replace(taken, numbers={**taken.numbers, "m": float(true)})


def _prelu(c: Call) -> Cell:
    x, w = c.args
    k = c.at[1] if x.ndim > 1 and w.size > 1 else 0
    value, slope = float(x[c.at]), float(w[k])
    parts = [c.part(0, one(*c.at), 1.0 if value > 0 else slope), c.part(1, one(k), 0.0 if value > 0 else value)]
    return c.cell("formula", parts, ELEMENTS["prelu"], {"x": value, "w": slope})


def _batch_norm(c: Call) -> Cell:
    x, gamma, beta, mean, var = c.args
    k = c.at[1]
    eps = float(c.hyper["eps"])
    parts = _local(c, [one(*c.at), *(None if a is None else one(k) for a in c.args[1:])])
    numbers = {"γ": 1.0 if gamma is None else float(gamma[k]), "x": float(x[c.at]), "μ": float(mean[k]),
               "σ²": float(var[k]), "ε": eps, "β": 0.0 if beta is None else float(beta[k])}  # fmt: skip
    return c.cell("formula", parts, "y = γ·(x − μ)/√(σ² + ε) + β", numbers)


def _norm(c: Call) -> Cell:
    """Norms within an image: γ and β belong to a channel, or to a place of the last axes."""
    x, gamma, beta = (*c.args, None, None)[:3]
    name, eps = c.op.__name__, float(c.hyper["eps"])
    if name == "layer_norm":
        shape = c.hyper["normalized_shape"]
        first = x.ndim - (len(shape) if isinstance(shape, (tuple, list)) else 1)
        box: Box = (*one(*c.at[:first]), *map(range, x.shape[first:]))
        own: Index = c.at[first:]
        small: Box = one(*own)
    else:
        C = x.shape[1]
        size = C // c.hyper["num_groups"] if name == "group_norm" else 1
        start = c.at[1] // size * size
        box, own = (*one(c.at[0]), range(start, start + size), *map(range, x.shape[2:])), (c.at[1],)
        small = one(c.at[1])
    values = take(x, box).astype(float)
    mean, std = float(values.mean()), float(np.sqrt(values.var() + eps))
    xhat, g = (values - mean) / std, 1.0 if gamma is None else float(gamma[own])
    at = tuple(i - r.start for i, r in zip(c.at, box))
    factors = -g / std * (1 + xhat * xhat[at]) / values.size                  # through μ and σ²
    factors[at] += g / std
    parts = [c.part(0, box, factors.astype(x.dtype))]
    parts += [c.part(k, small, factor) for k, a, factor in ((1, gamma, xhat[at]), (2, beta, 1.0)) if a is not None]
    numbers = {"γ": g, "x": float(x[c.at]), "μ": mean, "σ²": float(values.var()), "ε": eps,
               "β": 0.0 if beta is None else float(beta[own])}  # fmt: skip
    return c.cell("formula", parts, "y = γ·(x − μ)/√(σ² + ε) + β", numbers)


def _softmax(c: Call) -> Cell:
    x = c.args[0]
    axes = normalise_axes("softmax", x, c.hyper["axis"])
    box = tuple(range(n) if a in axes else range(i, i + 1) for a, (i, n) in enumerate(zip(c.at, x.shape)))
    at = tuple(i if a in axes else 0 for a, i in enumerate(c.at))
    parts = _local(c, [box], at)
    log = c.op.__name__ == "log_softmax"
    most = float(parts[0].values.max())
    numbers = {"x": float(x[c.at]), "m": most, "s": float(np.exp(parts[0].values.astype(float) - most).sum())}
    return c.cell("formula", parts, "y = x − m − ln(s)" if log else "y = e^(x − m)/s", numbers)


def _logsumexp(c: Call) -> Cell:
    parts = _local(c, [_reduced(c)], None, c.hyper | {"axis": None, "keepdims": False})
    most = float(parts[0].values.max())
    total = float(np.exp(parts[0].values.astype(float) - most).sum())
    return c.cell("formula", parts, "y = m + ln(s)", {"m": most, "s": total})


def _prod(c: Call) -> Cell:
    return c.cell("formula", _local(c, [_reduced(c)], None, c.hyper | {"axis": None, "keepdims": False}), "y = Π x")


def _local_response_norm(c: Call) -> Cell:
    x, k = c.args[0], c.at[1]
    options = c.hyper
    n = options["size"]
    low, high = max(0, k - n // 2), min(x.shape[1], k + (n - 1) // 2 + 1)
    box = tuple(range(low, high) if a == 1 else range(i, i + 1) for a, i in enumerate(c.at))
    parts = _local(c, [box], tuple(k - low if a == 1 else 0 for a in range(x.ndim)))
    alpha = options["alpha"] if options["variant"] == "paper" else options["alpha"] / n
    numbers = {"x": float(x[c.at]), "k": float(options["k"]), "α": float(alpha), "β": float(options["beta"]),
               "q": float((parts[0].values.astype(float) ** 2).sum())}  # fmt: skip
    return c.cell("formula", parts, "y = x/(k + α·q)^β", numbers)


def _lp_pool2d(c: Call) -> Cell:
    p = float(c.hyper["norm_type"])
    g, box = _pooling(c)
    inside = [r[max(0, -(r.start // r.step)) : max(0, -((r.start - n) // r.step))] for r, n in zip(box[2:], (g.H, g.W))]
    sizes = len(inside[0]), len(inside[1])
    parts = _local(c, [(*box[:2], *inside)], (0, 0, 0, 0), {"norm_type": p, "kernel_size": sizes})
    q = float((np.abs(parts[0].values.astype(float)) ** p).sum())
    return c.cell("formula", parts, "y = q^(1/p)", {"q": q, "p": p})


def _local(c: Call, boxes: Sequence[Box | None], at: Index | None = None, hyper: dict | None = None) -> list[Part]:
    """The parts of an op applied to these boxes of its arrays alone; the cell is at `at` there, by default 0, 0, …"""
    crops = [a if box is None else take(a, box) for a, box in zip(c.args, boxes)]
    y, gradients, *_ = c.op.__wrapped__(*crops, **(c.hyper if hyper is None else hyper))
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    dy = np.zeros(np.shape(y), y.dtype)
    dy[(0,) * dy.ndim if at is None else at] = 1
    return [Part(k, c.name(k), box, crop, np.asarray(gradient(dy)).reshape(crop.shape))
            for k, (box, crop, gradient) in enumerate(zip(boxes, crops, gradients))
            if box is not None and gradient is not None]  # fmt: skip


def _any(c: Call) -> Cell:
    """An op without a row below: its own gradient functions, for the whole arrays, cut to what is not 0."""
    whole = _local(c, [_whole(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else None for a in c.args], c.at)
    parts = []
    for part in whole:
        used = np.argwhere(part.factors != 0)
        if len(used):
            box = tuple(range(a, b + 1) for a, b in zip(used.min(0).tolist(), used.max(0).tolist()))
            cut = tuple(slice(r.start, r.stop) for r in box)
            parts.append(Part(part.argument, part.name, box, part.values[cut], part.factors[cut]))
    return c.cell("formula", parts, f"y = {c.op.__name__}({', '.join(map(c.name, range(len(c.args))))})")


_KINDS: dict[str, Callable[[Call], Cell]] = {
    "conv1d": _convolution, "conv2d": _convolution, "linear": _linear, "matmul": _matmul, "avg_pool2d": _avg_pool2d,
    "sum": _sum, "mean": lambda c: _average(c, _reduced(c)), "trainable_avg_pool2d": _trainable_avg_pool2d,
    **dict.fromkeys(("adaptive_avg_pool2d", "global_avg_pool2d"), lambda c: _average(c, _adaptive_box(c))),
    "max_pool2d": lambda c: _extreme(c, _pooling(c)[1]), "lp_pool2d": _lp_pool2d,
    **dict.fromkeys(("adaptive_max_pool2d", "global_max_pool2d"), lambda c: _extreme(c, _adaptive_box(c))),
    "max": lambda c: _extreme(c, _reduced(c)), "min": lambda c: _extreme(c, _reduced(c), low=True),
    "batch_norm_inference": _batch_norm, "softmax": _softmax, "log_softmax": _softmax,
    "local_response_norm": _local_response_norm, "concat": _concat,
    "conv_transpose2d": _transposed_convolution, "resize": _resize, "logsumexp": _logsumexp, "prod": _prod,
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), _norm),
    **dict.fromkeys(("reshape", "broadcast_to", "transpose", "squeeze", "flatten", "pad", "pad2d", "getitem"), _copy),
    **dict.fromkeys(ELEMENTS, _element), "prelu": _prelu, "where": _where,
}  # fmt: skip
