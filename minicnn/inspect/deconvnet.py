"""The deconvnet: what in an image made one unit of a feature map light up, drawn as pixels.

All other units are set to 0, and what is left goes back to the image through the same layers upside down:

    unpooling      each value to the pixel that won its window: the switches, noted on the way up
    rectifying     y = max(dy, 0), where a ReLU was
    filtering      with the transposed filters: what a convolution does to its gradient

Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", §2.1. Filtering and unpooling are the
gradients of convolution and maximum. Only the ReLU's rule is another than the gradient's: it looks at what comes back,
not at what was there on the way up (Simonyan et al. 2013, §4). Nets of today hold more than the paper's: batch norm
is a filter of one pixel and goes back as its gradient, and so do sums, concatenations and averages; the paper says
nothing about its contrast normalisation, which is passed through here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.inspect.units import Rules, project
from minicnn.nn import Module

RECTIFYING = ("relu", "relu6", "leaky_relu", "silu", "hardswish")

RULES: Rules = {
    **{name: lambda dy, dx: dy.clip(0) for name in RECTIFYING},
    "local_response_norm": lambda dy, dx: dy,
}


def deconvnet(model: Module, x: np.ndarray, layer: Module, unit: tuple[int, int, int]) -> np.ndarray:
    """The projection (1,C,H,W) of one unit (map, row, column) of `layer` for the image x (1,C,H,W), as it is lit."""
    return project(model, x, only(unit), layer, RULES)


def only(unit: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """For `project`: the output with every other unit set to 0."""
    def start(y):
        dy = np.zeros_like(y)
        dy[(slice(None), *unit)] = y[(slice(None), *unit)]
        return dy

    return start


def strongest(maps: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """The brightest unit of each of the `count` maps with the brightest ones: maps (C,h,w) → (map, row, column), …"""
    C, _, w = maps.shape
    flat = maps.reshape(C, -1)
    order = np.argsort(-flat.max(1), kind="stable")[:count]
    return [(int(c), *divmod(int(flat[c].argmax()), w)) for c in order]
