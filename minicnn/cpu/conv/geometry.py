"""The geometry of the convolutions that compute a gradient."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from minicnn.geometry import Axis


def backward(dy, g):
    """(dy, geometry) of the convolution with `filters.transposed(w)` that gives dx; for windows at stride 1.

    Pixel h is read by output i through tap h − i·1 + before, so tap p of the turned filter reads dy at
    h + p·D − (extent − 1 − before). Where the padding was wider than a window, some outputs saw nothing but zeros:
    they are cut away.
    """
    (down, vertical), (across, horizontal) = (
        within(axis.out, axis.kernel, axis.dilation, axis.extent - 1 - axis.before, axis.size)
        for axis in (g.vertical, g.horizontal)
    )
    return dy[:, :, down, across], replace(g, C=g.O, O=g.C, vertical=vertical, horizontal=horizontal)


class Phase(NamedTuple):
    """A stride-1 convolution of a part of dy with some of the taps, which gives every S-th pixel of dx."""

    dy: tuple[slice, slice]
    taps: tuple[slice, slice]
    pixels: tuple[slice, slice]
    vertical: Axis
    horizontal: Axis


def phases(g) -> Iterator[Phase]:
    """For windows S apart: through one tap only every S-th pixel is read, so dx is S convolutions at stride 1 an axis.

    Tap p reads pixel h from output i = (h + before − p·D)/S, where that is a whole number. A pixel that no tap can
    reach belongs to no phase.
    """
    for down, taps_down, rows, vertical in _phases(g.vertical):
        for across, taps_across, columns, horizontal in _phases(g.horizontal):
            yield Phase((down, across), (taps_down, taps_across), (rows, columns), vertical, horizontal)


def _phases(axis):
    """(outputs, taps, pixels, geometry) of each phase of an axis."""
    S, D = axis.stride, axis.dilation
    step = S // math.gcd(S, D)                                     # taps so far apart read the same phase
    for phase in range(min(S, axis.size)):
        first = next((p for p in range(min(step, axis.kernel)) if (phase + axis.before - p * D) % S == 0), None)
        if first is None:
            continue
        count = len(range(first, axis.kernel, step))
        size, apart = len(range(phase, axis.size, S)), step * D // S          # outputs from tap to tap
        nearest = (phase + axis.before - first * D) // S           # the output that reads pixel `phase` through `first`
        outputs, turned = within(axis.out, count, apart, apart * (count - 1) - nearest, size)
        yield outputs, slice(first, axis.kernel, step), slice(phase, axis.size, S), turned


def within(size, kernel, dilation, before, out):
    """(a part of 0 … size, the Axis over it) of `out` windows at stride 1 whose first begins at −before.

    What no window reaches is cut away, so that the padding is nowhere negative.
    """
    extent = dilation * (kernel - 1) + 1
    low = min(max(-before, 0), size)
    high = max(min(out - 1 + extent - before, size), low)
    before += low
    return slice(low, high), Axis(high - low, kernel, 1, before, out - 1 + extent - before - (high - low), dilation)
