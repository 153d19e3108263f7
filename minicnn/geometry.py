"""The geometry of a sliding window: position and number of the windows, with clear errors if none fits.

Notation, here and everywhere: N images, C channels, H × W pixels, O filters of KH × KW taps in G groups,
OH × OW outputs; `dy` is the gradient of the loss with respect to y.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

from minicnn.arguments import LARGEST, Pair, pair, positive

MOST_TAPS = 2**22  # limit for the taps of one pooling window

Sides = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
Padding = int | tuple[Pair, Pair] | str
"""An integer, (down, across), ((top, bottom), (left, right)), "same", "same_lower" or "valid": see `around`."""


@dataclass(frozen=True)
class Axis:
    """One axis of a sliding window: `kernel` taps, `dilation` apart, moved by `stride` over `size` padded pixels.

        out = ⌊(size + before + after − dilation·(kernel − 1) − 1) / stride⌋ + 1

    Tap p of window i reads pixel i·stride + p·dilation − before. With `ceil` the division rounds up, but no window
    may start beyond the last pixel (PyTorch's rule), so its last taps can hang over the padding's edge.
    """

    size: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    def __hash__(self) -> int: return _hash(self)

    @cached_property
    def extent(self) -> int:
        """Pixels from the first tap to the last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @cached_property
    def out(self) -> int:
        """The number of windows."""
        room = self.size + self.before + self.after - self.extent
        if not self.ceil:
            return room // self.stride + 1
        out = -(-room // self.stride) + 1
        return out - 1 if (out - 1) * self.stride >= self.size + self.before else out

    @cached_property
    def padded(self) -> int:
        """Length of the padded axis that the windows cover, at least size + before + after (more only with `ceil`)."""
        return max(self.size + self.before + self.after, (self.out - 1) * self.stride + self.extent)

    def tap(self, p: int) -> slice:
        """The positions of tap p on the padded axis, one for each window."""
        start = p * self.dilation
        return slice(start, start + self.stride * (self.out - 1) + 1, self.stride)

    def phases(self) -> Iterator[tuple[int, int, range]]:
        """The pixels, grouped by the taps that read them: (first pixel, number of pixels, taps) of each phase.

        Tap p reads pixel h in window (h + before − p·dilation) / stride, if that is an integer. Therefore the pixels
        first, first + stride, … are all read by the same taps; at stride 1 there is one phase, with all taps.
        """
        step = self.stride // math.gcd(self.stride, self.dilation)            # taps at this distance share a phase
        for first in range(min(self.stride, self.size)):
            tap = next((p for p in range(min(step, self.kernel))
                        if (first + self.before - p * self.dilation) % self.stride == 0), self.kernel)  # fmt: skip
            yield first, len(range(first, self.size, self.stride)), range(tap, self.kernel, step)

    def counts(self, include_pad: bool) -> list[int]:
        """The number of taps that each window averages over: those on pixels, or also those on the given padding."""
        low, high = (-self.before, self.size + self.after) if include_pad else (0, self.size)
        D = self.dilation                                                     # tap p is inside if low ≤ s + p·D < high
        return [min(self.kernel, -((s - high) // D)) - max(0, -((s - low) // D)) for s in self.starts()]

    def starts(self) -> range:
        """The pixel that tap 0 of each window reads."""
        return range(-self.before, self.stride * self.out - self.before, self.stride)

    def without_pixels(self) -> int | None:
        """The first window whose taps all read padding, or None."""
        for i, start in enumerate(self.starts()[: -(-self.before // self.stride)]):           # these start in front
            nearest = start % self.dilation                                   # of the places ≥ 0 that a tap reads
            if nearest >= self.size or (nearest - start) // self.dilation >= self.kernel:
                return i
        beyond = -(-(self.size + self.before) // self.stride)
        return beyond if beyond < self.out else None


@dataclass(frozen=True)
class Window2d:
    """KH×KW windows that slide over N×C images of H×W pixels: one Axis down, one across."""

    N: int
    C: int
    vertical: Axis
    horizontal: Axis

    def __hash__(self) -> int: return _hash(self)

    H = property(lambda self: self.vertical.size)
    W = property(lambda self: self.horizontal.size)
    KH = property(lambda self: self.vertical.kernel)
    KW = property(lambda self: self.horizontal.kernel)
    OH = property(lambda self: self.vertical.out)
    OW = property(lambda self: self.horizontal.out)

    def taps(self) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Each tap (p, q), and the index that selects the pixels it reads from padded images, (N, C, OH, OW)."""
        for p in range(self.KH):
            for q in range(self.KW):
                yield p, q, (..., self.vertical.tap(p), self.horizontal.tap(q))


@dataclass(frozen=True)
class Conv2dGeometry(Window2d):
    """The windows of a convolution, and its O filters in G groups."""

    O: int
    G: int

    def __hash__(self) -> int: return _hash(self)

    @classmethod
    def of(cls, x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1, b_shape=None) -> Conv2dGeometry:
        """Check the shapes and hyper-parameters of a convolution; ValueError or TypeError if they are invalid."""
        return _remembered(cls._checked, x_shape, w_shape, stride, padding, dilation, groups, b_shape)

    @classmethod
    def _checked(cls, x_shape, w_shape, stride, padding, dilation, groups, b_shape) -> Conv2dGeometry:
        _need_rank("conv2d", "x", x_shape, "(N, C, H, W)")
        _need_rank("conv2d", "w", w_shape, "(O, C/groups, KH, KW)")
        N, C, H, W = x_shape
        O, C_group, KH, KW = w_shape
        _need_pixels("conv2d", x_shape)
        if 0 in w_shape:
            raise ValueError(f"conv2d: w has shape {w_shape}: each of its extents must be at least 1")
        G = positive("groups", groups)
        if C_group * G != C and channels_last(x_shape, C_group * G):
            raise ValueError(f"conv2d: x has {C} channels, but w {w_shape} is for {C_group * G}"
                             f"{channels_last(x_shape, C_group * G)}")
        if C % G:
            raise ValueError(f"in_channels (={C}) must be divisible by groups (={G})")
        if O % G:
            raise ValueError(f"out_channels (={O}) must be divisible by groups (={G})")
        if C_group != C // G:
            raise ValueError(f"w has shape {w_shape}, but x has {C} channels in {G} group(s): "
                             f"w must have shape ({O}, {C // G}, {KH}, {KW})")
        if b_shape is not None and b_shape != (O,):
            raise ValueError(f"b has shape {b_shape}, but there are {O} filters: b must have shape ({O},)")
        S, D = pair("stride", stride), pair("dilation", dilation)
        P = around(padding, (H, W), (KH, KW), S, D)
        vertical, horizontal = (Axis(n, k, s, *p, d) for n, k, s, p, d in zip((H, W), (KH, KW), S, P, D))
        _need_fit(vertical, horizontal)
        return cls(N, C, vertical, horizontal, O, G)


@dataclass(frozen=True)
class Pool2dGeometry(Window2d):
    """The windows of a pooling layer."""

    def __hash__(self) -> int: return _hash(self)

    @classmethod
    def of(cls, x_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False) -> Pool2dGeometry:
        """Check the shape and hyper-parameters of a pooling (`stride=None`: the kernel's size)."""
        return _remembered(cls._checked, x_shape, kernel_size, stride, padding, dilation, ceil_mode)

    @classmethod
    def _checked(cls, x_shape, kernel_size, stride, padding, dilation, ceil_mode) -> Pool2dGeometry:
        _need_rank("pooling", "x", x_shape, "(N, C, H, W)")
        N, C, H, W = x_shape
        K, D = pair("kernel_size", kernel_size), pair("dilation", dilation)
        S = K if stride is None else pair("stride", stride)
        P = around(padding, (H, W), K, S, D)
        if not isinstance(ceil_mode, int) or ceil_mode not in (0, 1):
            raise TypeError(f"ceil_mode must be True or False, not {ceil_mode!r}")
        axes = [Axis(n, k, s, *p, d, bool(ceil_mode)) for n, k, s, p, d in zip((H, W), K, S, P, D)]
        _need_pixels("pooling", x_shape)
        if K[0] * K[1] > MOST_TAPS:
            raise ValueError(f"kernel_size (={K}) makes windows of {K[0] * K[1]:,} taps: at most {MOST_TAPS:,} are "
                             "allowed; pool in two steps, or use global_avg_pool2d for one number per map")
        _need_fit(axes[0], axes[1], channels_last(x_shape, W) if W in (1, 3, 4) and min(C, H) > 4 else "")
        _need_pixels_in_each(*axes)
        return cls(N, C, *axes)


def _remembered(make, *given: Any) -> Any:
    """make(*given), computed once: a layer asks for the same geometry in every step."""
    try:
        return _make(make, given, _types(given))
    except TypeError:                                              # a list is no key; or `make` found a wrong type
        pass
    return make(*given)


@lru_cache(4096)
def _make(make, given, types):
    """make(*given); the types belong to the key, because True == 1 and 1.0 == 1."""
    return make(*given)


def _types(value: Any) -> Any:
    """The type of a value; of a tuple, those of its items."""
    return tuple(map(_types, value)) if type(value) is tuple else type(value)


def _hash(geometry) -> int:
    """The hash of a dataclass's fields, computed once: geometries are the keys of several tables."""
    known = vars(geometry)
    if "_hash" not in known:
        known["_hash"] = hash(tuple(known[field.name] for field in fields(geometry)))
    return known["_hash"]


def sides(padding: Any) -> Sides | str:
    """A padding, checked: ((top, bottom), (left, right)), "same" or "same_lower"."""
    if isinstance(padding, str) and padding in ("same", "same_lower"):
        return padding
    if isinstance(padding, str) and padding == "valid":
        padding = 0
    if isinstance(padding, str) or (isinstance(padding, (tuple, list)) and len(padding) != 2):
        raise ValueError("padding must be an integer, (down, across), ((top, bottom), (left, right)), 'same', "
                         f"'same_lower' or 'valid', not {padding!r}")
    down, across = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    return _ends(down), _ends(across)


def _ends(side: Any) -> tuple[int, int]:
    """The padding of one axis, an integer or (before, after)."""
    if isinstance(side, (tuple, list)) and len(side) != 2:
        raise ValueError(f"padding of an axis must be an integer or (before, after), not {side!r}")
    before, after = side if isinstance(side, (tuple, list)) else (side, side)
    return positive("padding", before, 0, LARGEST), positive("padding", after, 0, LARGEST)


def around(padding: Any, sizes: tuple[int, int], K: tuple[int, int], S: tuple[int, int], D: tuple[int, int]) -> Sides:
    """The padding ((top, bottom), (left, right)) of windows of K taps on images of `sizes` pixels.

    "same" gives ⌈size/S⌉ windows, as TensorFlow's SAME and ONNX's SAME_UPPER: together they pad
    max(0, (⌈size/S⌉ − 1)·S + D·(K − 1) + 1 − size) pixels, half of it, rounded down, in front. "same_lower" rounds up.
    """
    checked = sides(padding)
    if not isinstance(checked, str):
        return checked
    total = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n) for n, k, s, d in zip(sizes, K, S, D)]
    (top, left), (bottom, right) = ((t // 2 for t in total), (t - t // 2 for t in total))
    return ((top, bottom), (left, right)) if checked == "same" else ((bottom, top), (right, left))


def channels_last(shape: tuple[int, ...], C: int) -> str:
    """A hint for an error message if images of this shape seem to have their C channels in the last axis, else ""."""
    if len(shape) != 4 or shape[3] != C or shape[1] == C:
        return ""
    return ": images are (N, C, H, W), channels first? Then x.transpose(0, 3, 1, 2)"


def _need_rank(op: str, name: str, shape: tuple[int, ...], axes: str) -> None:
    if len(shape) != 4:
        fix = f": for one image, x.reshape(1, {', '.join(map(str, shape))})" if name == "x" and len(shape) == 3 else ""
        raise ValueError(f"{op}: {name} must have 4 axes {axes}, not {len(shape)} (shape {shape}){fix}")


def _need_pixels(op: str, x_shape: tuple[int, ...]) -> None:
    if 0 in x_shape[1:]:
        raise ValueError(f"{op}: x has shape {x_shape}: images must have at least 1 channel and 1 pixel")


def _need_fit(vertical: Axis, horizontal: Axis, hint: str = "") -> None:
    for side, axis in (("height", vertical), ("width", horizontal)):
        total = axis.size + axis.before + axis.after
        if axis.out < 1:
            dilated = f" (kernel {axis.kernel}, dilation {axis.dilation})" if axis.dilation > 1 else ""
            raise ValueError(f"the window's {side} (={axis.extent}{dilated}) is larger than the padded input's "
                             f"(={total} = {axis.size} + {axis.before} + {axis.after}): use a smaller kernel, "
                             f"or more padding{hint}")


def _need_pixels_in_each(vertical: Axis, horizontal: Axis) -> None:
    """Pooling has no value for a window of padding alone."""
    for side, axis in (("height", vertical), ("width", horizontal)):
        i = axis.without_pixels()
        if i is not None:
            first = axis.starts()[i]
            step = f", every {axis.dilation} pixels" * (axis.dilation > 1)
            raise ValueError(f"padding (={axis.before} before and {axis.after} after the {axis.size} pixels of the "
                             f"{side}) makes windows of padding alone: window {i} reads {first} to "
                             f"{first + axis.extent - 1}{step}; use less padding, or a larger kernel")
