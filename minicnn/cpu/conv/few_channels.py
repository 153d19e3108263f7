"""Few channels: several neighbouring outputs from one wider window.

With few channels and filters the columns of im2col are short and the product is narrow: copying costs more than
multiplying. A window that is (r−1)·S pixels wider contains the pixels of r neighbouring outputs. It has r·O filters: r
copies of each filter, each shifted by S more pixels and zero elsewhere (a band matrix):

    w'[t·O + o, c, p, q]  =  w[o, c, p, q − t·S]        t = 0 … r−1,        stride S' = r·S

Then the product computes r neighbouring pixels at once, in memory order. Some of its factors are zeros: it needs
(KW + (r−1)·S)/KW times the multiplications, but copies one wider window instead of r windows.
"""

import functools
from dataclasses import replace

import numpy as np

from minicnn.cpu.conv import tiled
from minicnn.cpu.conv.filters import transposed
from minicnn.cpu.conv.geometry import dx_as_conv2d
from minicnn.cpu.layout import as_nchw, to_nhwc
from minicnn.geometry import Axis


def supports(g, dtype):
    """One group, no horizontal dilation. If a wider window is not faster, r = 1: the plain tiled product."""
    return g.G == 1 and g.horizontal.dilation == 1


def conv2d(x, w, b, g):
    """The tiled product with the wider filters."""
    wide, r = widen(g)
    y = tiled.conv2d(x, widen_filters(w, r, g), None if b is None else np.tile(b, r), wide)
    return as_nchw(to_nhwc(y).reshape(g.N, g.OH, g.OW, g.O))


def conv2d_dx(dy, w, g):
    """At stride 1 the convolution of dy with the filters turned by 180°, else the gradient of the wider filters."""
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, dx_geometry = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, 1), None, dx_geometry)
    wide, r = widen(g)
    return tiled.conv2d_dx(join_neighbours(dy, wide), widen_filters(w, r, g), wide)


def conv2d_dw(dy, x, g):
    """The tiled gradient of the wider filters; the gradients of the r copies of a filter are added."""
    wide, r = widen(g)
    dw = tiled.conv2d_dw(join_neighbours(dy, wide), x, wide).reshape(r, g.O, g.C, g.KH, wide.KW)
    S = g.horizontal.stride
    return sum(dw[t, ..., t * S : t * S + g.KW] for t in range(r))


def outputs_per_window(g):
    """r, the number of outputs of a row that one window computes: the divisor of OW with the least cost."""
    return min((r for r in range(1, min(g.OW, 16) + 1) if g.OW % r == 0), key=lambda r: cost_per_output(g, r))


def cost_per_output(g, r):
    """The approximate time of an output pixel on one thread, in nanoseconds: multiplications and its part of the copy.

    Three numbers, fitted to measurements on a Zen 4: 0.02 ns per multiply-add, ¼ ns per copied value, 6 ns per row of a
    window.
    """
    row = (g.KW + (r - 1) * g.horizontal.stride) * g.C                        # values of a window's row
    return g.KH * (0.02 * row * g.O + (0.25 * row + 6) / r)


@functools.lru_cache(4096)
def widen(g):
    """(the geometry of the wider filters, r)"""
    r, h = outputs_per_window(g), g.horizontal
    across = Axis(h.size, h.kernel + (r - 1) * h.stride, h.stride * r, h.before, h.after)
    return replace(g, O=g.O * r, horizontal=across), r


def widen_filters(w, r, g):
    """w (O,C,KH,KW) → (r·O, C, KH, KW + (r−1)·S)"""
    if r == 1:
        return w
    S = g.horizontal.stride
    wide = np.zeros((r, *w.shape[:3], g.KW + (r - 1) * S), w.dtype)
    for t in range(r):
        wide[t, ..., t * S : t * S + g.KW] = w
    return wide.reshape(r * g.O, *wide.shape[2:])


def join_neighbours(dy, wide):
    """dy (N,O,OH,OW) with r neighbours as one pixel: (N, r·O, OH, OW/r)"""
    return as_nchw(to_nhwc(dy).reshape(wide.N, wide.OH, wide.OW, wide.O))
