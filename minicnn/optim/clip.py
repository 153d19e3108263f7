"""Gradient clipping: gradients with a large norm are scaled down."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minicnn import devices
from minicnn.device import Array
from minicnn.nn import Parameter


def clip_grad_norm(params: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients down together if their norm is above max_norm, keeping the direction. → the norm before

        ‖g‖ = √Σ g²,   g ← g·min(1, max_norm/‖g‖)      the sum over all elements of all gradients

    The sum is taken in float64. If it is not finite, the gradients are not changed.   Pascanu et al. 2012, §3.2
    """
    if not 0 < max_norm < math.inf:
        raise ValueError(f"max_norm (={max_norm}) must be a number above 0")
    having = [(p, p.grad) for p in params if p.grad is not None]
    norm = math.sqrt(sum(squared(grad) for _, grad in having))
    if max_norm < norm < math.inf:
        for p, grad in having:
            p.grad = grad * grad.dtype.type(max_norm / norm)
    return norm


def squared(array: Array) -> float:
    """Σ a² of a device array, in float64."""
    values = devices.of(array).to_numpy(array).astype(np.float64).ravel(order="K")
    return float(values @ values)
