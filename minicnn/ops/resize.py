"""Images made larger or smaller: each output pixel reads the nearest pixel, or the two nearest along each axis.

Output pixel i of an axis reads the input at the coordinate c(i), with `out` outputs for `size` pixels and scale s:

    "half_pixel"              (i + ½)/s − ½: pixels are squares, and the images' edges coincide
    "pytorch_half_pixel"      the same, but 0 if out = 1
    "half_pixel_symmetric"    the same, around the middle of the image where out is not exactly s·size
    "align_corners"           i·(size − 1)/(out − 1), 0 if out = 1: the centres of the corner pixels coincide
    "asymmetric"              i/s: the corners of the first pixels coincide

These are the names of ONNX's operator Resize.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import LARGEST, Pair, pair
from minicnn.op_checks import brief, flag, number
from minicnn.tensor import Tensor, op

COORDINATES: dict[str, Callable[[Any, int, int, Any], Any]] = {
    "half_pixel": lambda i, size, out, s: (i + 0.5) / s - 0.5,
    "pytorch_half_pixel": lambda i, size, out, s: (i + 0.5) / s - 0.5 if out > 1 else 0.0,
    "half_pixel_symmetric": lambda i, size, out, s: size / 2 * (1 - out / (s * size)) + (i + 0.5) / s - 0.5,
    "align_corners": lambda i, size, out, s: i * (size - 1) / (out - 1) if out > 1 else 0.0,
    "asymmetric": lambda i, size, out, s: i / s,
}
"""{name: c(i, size, out, s)}"""

ROUNDING: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda c: math.ceil(c - 0.5), "round_prefer_ceil": lambda c: math.floor(c + 0.5),
    "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip
"""{name: the pixel that is nearest to the coordinate c}; the first two differ for c halfway between two pixels."""

Taps = list[list[tuple[int, float]]]
"""For each output pixel of an axis, the input pixels that it reads, with their weights."""


@op
def resize(x: Array, *, size: Pair | None = None, scale: float | Sequence[float] | None = None, mode: str = "nearest",
           coordinates: str = "half_pixel", rounding: str = "round_prefer_floor"):
    """y[n,c,i,j] = x at the coordinates c(i), c(j), which are explained at the top of the file.

        "nearest"    the pixel that `rounding` chooses: "round_prefer_floor", "round_prefer_ceil", "floor" or "ceil"
        "linear"     (1 − t)·x[⌊c⌋] + t·x[⌊c⌋ + 1], t = c − ⌊c⌋, along each axis

    x (N,C,H,W)   →   y (N,C,OH,OW).   size: (OH, OW), or one integer; or scale: (s down, s across), or one number, and
    OH = ⌊s·H⌋. Coordinates beyond the image read its edge.
    dx: each pixel gets from all outputs that read it dy times their weights.   Kept for backward: nothing.
    """
    rows, columns = taps(x.shape, size, scale, mode, coordinates, rounding)
    def dx(dy): return _read(_read(dy, _transposed(columns, x.shape[3]), 3), _transposed(rows, x.shape[2]), 2)
    return _read(_read(x, rows, 2), columns, 3), dx


def interpolate(x: Tensor | Array, *, size: Pair | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool = False) -> Tensor:
    """resize, with PyTorch's names: mode "nearest", "nearest-exact" or "bilinear".   x (N,C,H,W) → y (N,C,OH,OW)

    "nearest" reads ⌊i/s⌋; "nearest-exact" the pixel under the output pixel's centre. align_corners is for "bilinear".
    """
    names = {"nearest": ("nearest", "asymmetric", "floor"), "nearest-exact": ("nearest", "half_pixel",
             "round_prefer_ceil"), "bilinear": ("linear", "half_pixel", "floor")}  # fmt: skip
    if not isinstance(mode, str) or mode not in names:
        raise ValueError(f"interpolate: mode must be 'nearest', 'nearest-exact' or 'bilinear', not {brief(mode)}")
    how, coordinates, rounding = names[mode]
    if flag("interpolate", "align_corners", align_corners):
        if mode != "bilinear":
            raise ValueError(f"interpolate: align_corners is for mode='bilinear', not for {mode!r}")
        coordinates = "align_corners"
    return resize(x, size=size, scale=scale_factor, mode=how, coordinates=coordinates, rounding=rounding)


def taps(shape: tuple[int, ...], size: Pair | None, scale: float | Sequence[float] | None, mode: str, coordinates: str,
         rounding: str) -> tuple[Taps, Taps]:
    """What each row and each column of the output reads; TypeError or ValueError for wrong hyper-parameters."""
    if len(shape) != 4 or 0 in shape[2:]:
        raise ValueError(f"resize: x must have 4 axes (N, C, H, W) and at least one pixel, not shape {shape}")
    for key, value, known in (("mode", mode, ("nearest", "linear")), ("coordinates", coordinates, COORDINATES),
                              ("rounding", rounding, ROUNDING)):  # fmt: skip
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"resize: {key} must be {', '.join(map(repr, known))}, not {brief(value)}")
    if (size is None) == (scale is None):
        raise ValueError(f"resize: give either size or scale, not {'none' if size is None else 'both'} of them")
    if scale is None:
        outs = pair("size", size)
        scales = [out / n for out, n in zip(outs, shape[2:])]
    else:
        scales = list(scale) if isinstance(scale, (tuple, list)) else [scale, scale]  # type: ignore[list-item]
        if len(scales) != 2 or any(number("resize", "scale", s, least=0) == 0 for s in scales):
            raise ValueError(f"resize: scale must be one number or a pair (down, across), above 0, not {scale!r}")
        floors = [math.floor(s * n) for s, n in zip(scales, shape[2:])]
        if not all(1 <= out <= LARGEST for out in floors):
            raise ValueError(f"resize: scale (={scale}) makes images of {floors[0]}×{floors[1]} pixels: each side must "
                             f"have 1 to {LARGEST:,}")
        outs = floors[0], floors[1]
    place = COORDINATES[coordinates]
    down, across = ([_of_coordinate(place(i, n, out, s), n, mode, rounding) for i in range(out)]
                    for n, out, s in zip(shape[2:], outs, scales))  # fmt: skip
    return down, across


def _of_coordinate(c: float, size: int, mode: str, rounding: str) -> list[tuple[int, float]]:
    """The pixels that an output pixel at the coordinate c reads, with their weights."""
    if mode == "nearest":
        return [(min(max(ROUNDING[rounding](c), 0), size - 1), 1.0)]
    c = min(max(c, 0.0), size - 1.0)
    first = min(math.floor(c), max(size - 2, 0))
    t = c - first
    return [(p, weight) for p, weight in ((first, 1 - t), (first + 1, t)) if weight]


def _transposed(taps: Taps, size: int) -> Taps:
    """For each input pixel, the output pixels that read it."""
    readers: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for i, pixels in enumerate(taps):
        for p, weight in pixels:
            readers[p].append((i, weight))
    return [readers[p] for p in range(size)]


def _read(x: Array, taps: Taps, axis: int) -> Array:
    """Σ weight·x over the pixels that each output reads along the axis, 2 or 3."""
    device, whole, y = devices.of(x), (slice(None),) * axis, None
    used, most = [i for i, pixels in enumerate(taps) if pixels], max(map(len, taps))
    equal = [_as_many(taps[i], most) for i in used]
    for k in range(most):
        part = x[(*whole, np.array([pixels[k][0] for pixels in equal]))]
        weights = np.array([pixels[k][1] for pixels in equal], x.dtype)
        if (weights != 1).any():
            part = part * device.asarray(weights).reshape(-1, *[1] * (3 - axis))
        y = part if y is None else y + part
    if len(used) < len(taps):                                                 # dx of pixels that nobody read
        part, y = y, device.xp.zeros((*x.shape[:axis], len(taps), *x.shape[axis + 1 :]), x.dtype)
        y[(*whole, np.array(used))] = part
    return y


def _as_many(pixels: list[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """`count` pixels with the same sum: the last one is read in halves. (0 times another pixel may be 0·∞ = NaN.)"""
    while len(pixels) < count:
        *others, (p, weight) = pixels
        pixels = [*others, (p, weight / 2), (p, weight / 2)]
    return pixels
