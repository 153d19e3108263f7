"""Padding an image so that it contains every window, and cropping it again."""

import numpy as np


def pad(x, window, value=0):
    """x (…,H,W) with the window's padding around it; the new pixels are `value`."""
    v, h = window.vertical, window.horizontal
    if v.padded == v.size and h.padded == h.size:
        return x
    padded = np.full((*x.shape[:-2], v.padded, h.padded), value, x.dtype)
    crop(padded, window)[...] = x
    return padded


def crop(padded, window):
    """The image inside its padding: a view."""
    v, h = window.vertical, window.horizontal
    return padded[..., v.before : v.before + v.size, h.before : h.before + h.size]
