"""Readers of pooling and resizing, and how ONNX writes padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Builder, Value
from minicnn.io.onnx.read.node import Node

LARGEST = 2**15
"""The longest side of an image that is resized."""
AUTO = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0}


def padding(node: Node, axes: int) -> Any:
    """Our padding for auto_pad or pads=[begin of each axis, end of each axis], as simple as it can be written."""
    how = node.one_of("auto_pad", "NOTSET", ("NOTSET", *AUTO))
    if how != "NOTSET":
        return AUTO[how]
    pads = node.ints("pads", [0] * 2 * axes, 2 * axes)
    ends = [(pads[i], pads[i + axes]) for i in range(axes)]
    if all(a == b for a, b in ends):
        first = [a for a, _ in ends]
        return first[0] if len(set(first)) == 1 else tuple(first)
    return ends[0] if axes == 1 else tuple(ends)


def _window(g: Builder, node: Node, x: Value) -> tuple[int, dict[str, Any]]:
    """(number of axes, the settings that all pooling has)"""
    if x.ndim not in (3, 4):
        raise ValueError(f"{node.op} is read for signals (N, C, L) and images (N, C, H, W), not for shape "
                         f"{list(x.shape)[:8]}")
    axes = x.ndim - 2
    kernel = node.ints("kernel_shape", None, axes)
    stride, dilation = node.ints("strides", [1] * axes, axes), node.ints("dilations", [1] * axes, axes)
    found: dict[str, Any] = {"kernel_size": _simple(kernel), "stride": _simple(stride)}
    if around := padding(node, axes):
        found["padding"] = around
    if set(dilation) != {1}:
        found["dilation"] = _simple(dilation)
    if node.integer("ceil_mode", 0):
        found["ceil_mode"] = True
    return axes, found


def _simple(values: list[int]) -> Any:
    return values[0] if len(set(values)) == 1 else tuple(values)


def max_pool(g: Builder, node: Node, x: Value) -> Value:
    """MaxPool."""
    axes, how = _window(g, node, x)
    if node.integer("storage_order", 0) and len(node.outputs) > 1:
        raise ValueError("the places of the maxima (its second output) are not computed")
    return g.call("max_pool2d", x, **how) if axes == 2 else _of_signal(g, "max_pool2d", x, how)


def average_pool(g: Builder, node: Node, x: Value) -> Value:
    """AveragePool, which does not count the padding unless told."""
    axes, how = _window(g, node, x)
    if "padding" in how or "ceil_mode" in how:
        how["count_include_pad"] = bool(node.integer("count_include_pad", 0))
    return g.call("avg_pool2d", x, **how) if axes == 2 else _of_signal(g, "avg_pool2d", x, how)


def lp_pool(g: Builder, node: Node, x: Value) -> Value:
    """LpPool."""
    axes, how = _window(g, node, x)
    how["norm_type"] = float(node.integer("p", 2))
    return g.call("lp_pool2d", x, **how) if axes == 2 else _of_signal(g, "lp_pool2d", x, how)


def _of_signal(g: Builder, op: str, x: Value, how: dict[str, Any]) -> Value:
    """Pooling of (N,C,L), as an image of height 1."""
    flat = g.call("reshape", x, shape=(*x.shape[:2], 1, x.shape[2]))
    how = {name: (1, v) if name in ("kernel_size", "stride", "dilation") else v for name, v in how.items()}
    if "padding" in how and not isinstance(how["padding"], str):
        how["padding"] = (0, how["padding"])
    return g.call("squeeze", g.call(op, flat, **how), axis=2)


def global_pool(op: str, g: Builder, node: Node, x: Value) -> Value:
    """GlobalAveragePool or GlobalMaxPool: the maps keep axes of length 1."""
    if x.ndim == 4:
        return g.call(f"adaptive_{op}_pool2d", x, output_size=1)
    return g.call({"avg": "mean", "max": "max"}[op], x, axis=tuple(range(2, x.ndim)), keepdims=True)


def global_lp_pool(g: Builder, node: Node, x: Value) -> Value:
    """GlobalLpPool."""
    if x.ndim != 4:
        raise ValueError(f"GlobalLpPool is read for images (N, C, H, W), not for shape {list(x.shape)[:8]}")
    return g.call("lp_pool2d", x, norm_type=float(node.integer("p", 2)), kernel_size=tuple(x.shape[2:]))


# ------------------------------------------------------------------------------------------------------------ resizing


def resize(g: Builder, node: Node, x: Value, *inputs: Value | None) -> Value:
    """Resize, nearest or linear, of images (N,C,H,W)."""
    if node.opset < 11:
        return upsample(g, node, x, *inputs)
    _, scales, sizes = (*inputs, None, None, None)[:3]
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    if coordinates not in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners"):
        raise ValueError(f"coordinate_transformation_mode={coordinates} is not read")
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise ValueError(f"mode={mode} is not read, only nearest and linear")
    if node.integer("antialias", 0):
        raise ValueError("antialias is not read")
    how: dict[str, Any] = {"mode": mode, "coordinates": coordinates}
    if mode == "nearest":
        how["rounding"] = node.text("nearest_mode", "round_prefer_floor")
    axes = [g.axis(a, x.ndim) for a in node.ints("axes", range(x.ndim))]
    if sizes is not None and sizes.size:
        whole = list(x.shape)
        for axis, size in zip(axes, g.ints(sizes, "sizes", len(axes))):
            whole[axis] = size
        return _resized(g, node, x, axes, whole, None, how)
    factors = [1.0] * x.ndim
    given = g.array(scales, "scales").reshape(-1)
    if len(given) != len(axes):
        raise ValueError(f"scales has {len(given)} entries, and must have {len(axes)}")
    for axis, factor in zip(axes, given):
        factors[axis] = float(factor)
    return _resized(g, node, x, axes, None, factors, how)


def upsample(g: Builder, node: Node, x: Value, scales: Value | None = None) -> Value:
    """Upsample, and Resize of opset 10: pixel i of the result lies at i/scale of the image, rounded down."""
    factors = ([float(v) for v in g.array(scales, "scales").reshape(-1)] if "scales" not in node.attributes
               else node.attributes["scales"])
    if len(factors) != x.ndim:
        raise ValueError(f"scales (={factors[:8]}) must have {x.ndim} entries")
    mode = node.one_of("mode", "nearest", ("nearest", "linear", "bilinear"))
    how = {"mode": mode.removeprefix("bi"), "coordinates": "asymmetric"}
    if mode == "nearest":
        how["rounding"] = "floor"
    return _resized(g, node, x, list(range(x.ndim)), None, list(factors), how)


def _resized(g: Builder, node: Node, x: Value, axes: list[int], sizes: list[int] | None, factors: list[float] | None,
             how: dict[str, Any]) -> Value:  # fmt: skip
    if x.ndim not in (3, 4):
        raise ValueError(f"{node.op} is read for signals (N, C, L) and images (N, C, H, W), not for shape "
                         f"{list(x.shape)[:8]}")
    kept = sizes[:2] == list(x.shape[:2]) if sizes is not None else factors[:2] == [1, 1]  # type: ignore[index]
    if not kept:
        raise ValueError("only rows and columns can be resized, not images or channels")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch":
        ratios = [sizes[a] / x.shape[a] for a in axes if a >= 2]
        if policy not in ("not_larger", "not_smaller") or not ratios:
            raise ValueError(f"keep_aspect_ratio_policy={policy} is not read")
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        sizes = [int(np.floor(ratio * n + 0.5)) if a >= 2 and a in axes else n for a, n in enumerate(x.shape)]
    largest = max(sizes) if sizes is not None else max(n * f for n, f in zip(x.shape, factors or ()))
    if not largest < LARGEST:
        raise ValueError(f"it makes an image of {largest:.3g} pixels a side, and at most {LARGEST:,} are computed")
    what = {"size": tuple(sizes[2:])} if sizes is not None else {"scale": tuple(factors[2:])}  # type: ignore[index]
    if x.ndim == 4:
        return g.call("resize", x, **what, **how)
    flat = g.call("reshape", x, shape=(*x.shape[:2], 1, x.shape[2]))
    what = {name: (1, *value) for name, value in what.items()}
    return g.call("squeeze", g.call("resize", flat, **what, **how), axis=2)
