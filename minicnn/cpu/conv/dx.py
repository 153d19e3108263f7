"""dx as convolutions of dy, with the filters turned by 180°, inputs and outputs exchanged."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minicnn.cpu.layout import as_nchw, pixel_records
from minicnn.cpu.threads import parallel_for, parts
from minicnn.geometry import Axis


def dx_by(conv2d, dy, w, g):
    """dx, computed by the algorithm `conv2d`: at stride 1 one convolution of dy, else one for each phase of the pixels.

    A phase is every S-th pixel of every S-th row: the same taps read all of its pixels (Axis.phases).
    """
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, dx_geometry = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, g.G), None, dx_geometry)
    dx = as_nchw(np.zeros((g.N, g.H, g.W, g.C), dy.dtype))
    for phase in phase_convs(g):
        part = conv2d(dy[:, :, *phase.dy], transposed(w[:, :, *phase.taps], g.G), None,
                      replace(g, C=g.O, O=g.C, vertical=phase.vertical, horizontal=phase.horizontal))  # fmt: skip
        _copy_pixels(part, dx[:, :, *phase.pixels])
    return dx


def transposed(w, G):
    """The filters that turn dy into dx: each turned by 180°, inputs and outputs exchanged. (O,C/G,…) → (C,O/G,…)"""
    O, C, KH, KW = w.shape
    swapped = w.reshape(G, O // G, C, KH, KW).swapaxes(1, 2).reshape(G * C, O // G, KH, KW)
    return swapped[:, :, ::-1, ::-1]


def dx_as_conv2d(dy, g):
    """(dy, geometry) of the convolution with `transposed(w)` that gives dx; for windows at stride 1.

    Pixel h is read by output i through tap h − i·1 + before, so tap p of the turned filter reads dy at
    h + p·D − (extent − 1 − before). If the padding is wider than a window, some outputs read only zeros; they are
    left out.
    """
    (down, vertical), (across, horizontal) = (
        trimmed_axis(axis.out, axis.kernel, axis.dilation, axis.extent - 1 - axis.before, axis.size)
        for axis in (g.vertical, g.horizontal)
    )
    return dy[:, :, down, across], replace(g, C=g.O, O=g.C, vertical=vertical, horizontal=horizontal)


class PhaseConv(NamedTuple):
    """A convolution at stride 1 of a part of dy with some of the taps, which gives every S-th pixel of dx."""

    dy: tuple[slice, slice]
    taps: tuple[slice, slice]
    pixels: tuple[slice, slice]
    vertical: Axis
    horizontal: Axis


def phase_convs(g) -> Iterator[PhaseConv]:
    """dx for windows S apart: one convolution for each phase of the two axes that a tap reads."""
    for dy_rows, taps_down, rows, vertical in _phase_axes(g.vertical):
        for dy_columns, taps_across, columns, horizontal in _phase_axes(g.horizontal):
            yield PhaseConv((dy_rows, dy_columns), (taps_down, taps_across), (rows, columns), vertical, horizontal)


def _phase_axes(axis):
    """(slice of the outputs, of the taps, of the pixels, Axis of the convolution) for each phase of an axis."""
    for first, count, taps in axis.phases():
        if not taps:
            continue
        distance = taps.step * axis.dilation // axis.stride        # between taps, in outputs
        nearest = (first + axis.before - taps[0] * axis.dilation) // axis.stride      # reads pixel `first` by taps[0]
        outputs, turned = trimmed_axis(axis.out, len(taps), distance, distance * (len(taps) - 1) - nearest, count)
        yield outputs, slice(taps.start, taps.stop, taps.step), slice(first, axis.size, axis.stride), turned


def trimmed_axis(size, kernel, dilation, before, out):
    """(slice, Axis) for `out` windows at stride 1, the first starting at −before: the part of 0 … size that they read.

    Pixels that no window reads are cut off, so that the padding is never negative.
    """
    extent = dilation * (kernel - 1) + 1
    low = min(max(-before, 0), size)
    high = max(min(out - 1 + extent - before, size), low)
    before += low
    return slice(low, high), Axis(high - low, kernel, 1, before, out - 1 + extent - before - (high - low), dilation)


def _copy_pixels(source, target):
    """target[...] = source for images (N,C,H,W) stored channels last, whole pixels at a time."""
    source, target = (pixel_records(a.transpose(0, 2, 3, 1)) for a in (source, target))          # (N, H, W)

    def copy(images):
        target[slice(*images)] = source[slice(*images)]

    parallel_for(copy, parts(len(source)), source.nbytes)
