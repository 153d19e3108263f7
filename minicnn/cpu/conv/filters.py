"""Reorders the filters w (O,C/G,KH,KW) for the matrix products, and their gradients back."""

import numpy as np

from minicnn.cpu.threads import parallel_for

CHUNK_FILTERS = 16
"""Filters copied at a time: their cache lines stay in the cache while all taps are copied."""


def taps_first(w):
    """w (O,C,KH,KW) → (KH,KW,C,O), contiguous: each tap's filters as the right-hand matrix of a product."""
    O, C, KH, KW = w.shape
    taps = np.empty((KH, KW, C, O), w.dtype)
    _copy_filters(w, taps.transpose(3, 2, 0, 1))
    return taps


def taps_last(taps):
    """(KH,KW,C,O) → (O,C,KH,KW), contiguous."""
    KH, KW, C, O = taps.shape
    w = np.empty((O, C, KH, KW), taps.dtype)
    _copy_filters(taps.transpose(3, 2, 0, 1), w)
    return w


def _copy_filters(source, target):
    def copy(o):
        target[o : o + CHUNK_FILTERS] = source[o : o + CHUNK_FILTERS]

    parallel_for(copy, range(0, len(source), CHUNK_FILTERS), source.size)
