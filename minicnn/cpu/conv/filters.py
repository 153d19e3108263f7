"""Filters w (O,C/G,KH,KW) as the products want them, and gradients back."""

import numpy as np

from minicnn.cpu.threads import parallel_for

STRIP = 16
"""Filters copied at a time: their cache lines stay while all the taps pass."""


def taps_first(w):
    """w (O,C,KH,KW) → (KH,KW,C,O), contiguous: each tap's filters as the right-hand matrix of a product."""
    O, C, KH, KW = w.shape
    turned = np.empty((KH, KW, C, O), w.dtype)

    def copy(o):
        turned[..., o : o + STRIP] = w[o : o + STRIP].transpose(2, 3, 1, 0)

    parallel_for(copy, range(0, O, STRIP), w.size)
    return turned


def taps_last(turned):
    """(KH,KW,C,O) → (O,C,KH,KW), contiguous."""
    KH, KW, C, O = turned.shape
    w = np.empty((O, C, KH, KW), turned.dtype)

    def copy(o):
        w[o : o + STRIP] = turned[..., o : o + STRIP].transpose(3, 2, 0, 1)

    parallel_for(copy, range(0, O, STRIP), w.size)
    return w


def transposed(w, G):
    """The filters that turn dy into dx: each turned by 180°, inputs and outputs exchanged. (O,C/G,…) → (C,O/G,…)"""
    O, C, KH, KW = w.shape
    swapped = w.reshape(G, O // G, C, KH, KW).swapaxes(1, 2).reshape(G * C, O // G, KH, KW)
    return swapped[:, :, ::-1, ::-1]
