"""The deconvnet: which pattern of pixels in an image activated one unit of a feature map.

All other units are set to 0, and the unit is propagated back to the image through the layers in reverse order:

    unpooling      each value goes to the pixel that was the maximum of its window (the switches)
    rectifying     max(dy, 0) at each ReLU
    filtering      with the transposed filters, as in the gradient of a convolution

Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", §2.1. Filtering and unpooling are the
gradients of convolution and maximum. Only the rule of ReLU differs from its gradient: it depends on the sign of dy, not
on that of the input (Simonyan et al. 2013, §4). Layers that the paper's net lacks (batch norm, sums, concatenations,
averages) use their gradients; the paper does not define a rule for contrast normalisation, which is the identity here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.inspect.units import Rules, backpropagate_from, unit_index
from minicnn.nn import Module

RECTIFYING = ("relu", "relu6", "leaky_relu", "prelu", "silu", "hardswish", "elu", "selu", "gelu", "softplus", "mish")

RULES: Rules = {
    **{name: lambda dy, dx: dy.clip(0) for name in RECTIFYING},
    "local_response_norm": lambda dy, dx: dy,
}


def deconvnet(model: Module, x: np.ndarray, layer: Module, unit: tuple[int, int, int]) -> np.ndarray:
    """The projection (1,C,H,W) of one unit (map, row, column) of `layer`, for the image x (1,C,H,W)."""
    return backpropagate_from(model, x, keep_only(unit), layer, RULES)


def keep_only(unit: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """A start for `backpropagate_from`: the output with all other units set to 0."""
    def start(y: np.ndarray) -> np.ndarray:
        dy = np.zeros_like(y)
        place = unit_index(y, unit)
        dy[place] = y[place]
        return dy

    return start


def brightest_units(maps: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """The brightest unit of each of the `count` maps with the largest maxima: maps (C,h,w) → (map, row, column), …"""
    C, _, w = maps.shape
    flat = maps.reshape(C, -1)
    order = np.argsort(-flat.max(1), kind="stable")[:count]
    return [(int(c), *divmod(int(flat[c].argmax()), w)) for c in order]
