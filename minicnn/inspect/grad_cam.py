"""Grad-CAM: the places in the feature maps of a layer that are evidence for a class.

    α[c] = 1/(h·w) · Σ_{i,j} ∂S_k/∂A[c,i,j]        the importance of map c for class k
    L[i,j] = max(Σ_c α[c] · A[c,i,j], 0)           where the important maps are bright

A (C,h,w) are the maps of one layer, usually of the last convolution, the deepest layer with spatial positions.
Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization", eqs. 1 and 2.
"""

from __future__ import annotations

import numpy as np

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
