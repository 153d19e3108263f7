"""Grad-CAM: the places in the feature maps of a layer that are evidence for a class.

    α[c] = 1/(h·w) · Σ_{i,j} ∂S_k/∂A[c,i,j]        the importance of map c for class k
    L[i,j] = max(Σ_c α[c] · A[c,i,j], 0)           where the important maps are bright

A (C,h,w) are the maps of one layer, usually of the last convolution, the deepest layer with spatial positions.
Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization", eqs. 1 and 2.
"""

from __future__ import annotations

import numpy as np

from minicnn.inspect.summary import summary
from minicnn.inspect.units import gradient_at_layer
from minicnn.nn import Module


def grad_cam(model: Module, x: np.ndarray, k: int, layer: Module) -> np.ndarray:
    """L (N,h,w) of images x (N,C,H,W), for class k, on the maps of `layer`."""
    A, dA = gradient_at_layer(model, x, layer, k)
    if A.ndim != 4:
        raise ValueError(f"Grad-CAM needs maps (N, C, h, w), but this {type(layer).__name__} gives {A.shape}: "
                         "choose a convolution, or a block of them")
    alpha = dA.mean((2, 3), keepdims=True)                                    # (N, C, 1, 1)
    return np.maximum((alpha * A).sum(1), 0)                                  # (N, h, w)


def place(model: Module, shape: tuple[int, ...], layer: str) -> list[float]:
    """[top, left, height, width] of a layer's map on an image (C,H,W), as shares of the image: where to draw L.

    A number of the map lies at the centre of its receptive field, and is as wide as the step to the next one. A map of
    a block, whose receptive field is not known, is drawn on the whole image.
    """
    row = next((row for row in summary(model, shape).layers if row.name == layer), None)
    if row is None:
        return [0.0, 0.0, 1.0, 1.0]
    start, length = [], []
    for first, size, step, count, side in zip(row.offset, row.field, row.total_stride, row.output[1:], shape[1:]):
        start.append((first + size / 2 - step / 2) / side)
        length.append(count * step / side)
    return [*start, *length]
