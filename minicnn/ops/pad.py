"""A border around maps: zeros, a constant, the nearest pixel, or the pixels mirrored at the edge."""

import math
from typing import Any

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import Pair, Sides, sides
from minicnn.op_checks import number
from minicnn.tensor import Tensor, op

MODES = {"zeros": "constant", "constant": "constant", "replicate": "edge", "edge": "edge", "reflect": "reflect"}
"""Each mode and NumPy's name for it: "edge" is another name for PyTorch's "replicate"."""

Border = int | tuple[Pair, Pair] | tuple[int, int, int, int]


@op
def pad(x: Array, *, padding: Border, mode: str = "constant", value: float = 0.0):
    """y = x (…,H,W) with a border; pixel (−1, j) of the image lies in the row above its first.

        "constant", "zeros"    every pixel of the border is `value`, or 0
        "replicate", "edge"    y[−i] = x[0]: the nearest pixel
        "reflect"              y[−i] = x[i]: mirrored at the edge pixel, which is not repeated; the border must be
                               smaller than the image

    padding: an integer, ((top, bottom), (left, right)), or (left, right, top, bottom), PyTorch's order.
    dx = dy at each pixel, plus (replicate, reflect) dy wherever the pixel was copied to.
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"pad: mode must be 'constant', 'zeros', 'replicate' (or 'edge') or 'reflect', not {mode!r}")
    (top, bottom), (left, right) = widths = border("pad", padding)
    if not (isinstance(value, float) and math.isinf(value)):                  # −∞ is the padding of max pooling
        number("pad", "value", value)
    if value != 0 and mode != "constant":
        raise ValueError(f"pad: value (={value}) is for mode='constant', not for {mode!r}")
    if x.ndim < 2:
        raise ValueError(f"pad: x must have at least 2 axes (…, H, W), not shape {x.shape}")
    least = max(top, bottom) if mode == "reflect" else 0, max(left, right) if mode == "reflect" else 0
    H, W = x.shape[-2:]
    if mode == "reflect" and (least[0] >= H or least[1] >= W):
        raise ValueError(f"pad: padding (={widths}) must be smaller than the {H}×{W} image for mode='reflect': "
                         "pad twice, or use mode='replicate'")
    if MODES[mode] == "edge" and ((top + bottom and not H) or (left + right and not W)):
        raise ValueError(f"pad: an image of {H}×{W} pixels has no edge to replicate: use mode='constant'")
    how = {"constant_values": value} if MODES[mode] == "constant" else {}
    y = devices.of(x).xp.pad(x, [(0, 0)] * (x.ndim - 2) + list(widths), mode=MODES[mode], **how)

    def dx(dy):
        return _folded(_folded(dy, MODES[mode], H, top, -2), MODES[mode], W, left, -1)

    return y, dx


def pad2d(x: Tensor | Array, *, padding: Border, value: float = 0.0) -> Tensor:
    """pad with a constant."""
    return pad(x, padding=padding, value=value)


def border(name: str, padding: Any) -> Sides:
    """The widths ((top, bottom), (left, right)); ValueError for the pair, which PyTorch reads as (left, right)."""
    rule = f"{name}: padding must be an integer, ((top, bottom), (left, right)) or (left, right, top, bottom)"
    if isinstance(padding, (tuple, list)):
        if len(padding) == 4:
            left, right, top, bottom = padding
            padding = ((top, bottom), (left, right))
        elif len(padding) != 2 or not all(isinstance(side, (tuple, list)) for side in padding):
            raise ValueError(f"{rule}, not {padding!r}")
    if isinstance(padding, str):
        raise ValueError(f"{rule}, not {padding!r}")
    checked = sides(padding)
    assert not isinstance(checked, str)
    return checked


def _folded(dy, mode, size, before, axis):
    """dy without its border of one axis, what was copied there added to the pixels that it was copied from."""
    def part(array, *limits): return array[(..., slice(*limits), *(slice(None),) * (-1 - axis))]

    after = dy.shape[axis] - size - before
    dx = part(dy, before, before + size)
    if mode == "constant" or not before + after:
        return dx
    dx = dx.copy()
    first, last = part(dy, 0, before), part(dy, before + size, before + size + after)
    if mode == "edge":
        part(dx, 0, 1)[...] += first.sum(axis, keepdims=True)
        part(dx, size - 1, size)[...] += last.sum(axis, keepdims=True)
    else:
        part(dx, 1, before + 1)[...] += part(first, None, None, -1)
        part(dx, size - 1 - after, size - 1)[...] += part(last, None, None, -1)
    return dx
