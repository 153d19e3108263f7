"""Saliency: which pixels a class's score depends on.

    M[h,w] = max_c |∂S_k/∂x[c,h,w]|      Simonyan, Vedaldi & Zisserman 2013, "Deep inside convolutional networks", §3.1

S_k is the score before the softmax: the softmax's gradient would also show what speaks for the other classes.
"""

from __future__ import annotations

import numpy as np

from minicnn.inspect.units import one_hot, project
from minicnn.nn import Module

GUIDED = {name: lambda dy, dx: dx(dy.clip(0)) for name in ("relu", "relu6", "leaky_relu")}
"""Guided backpropagation's rule: back through a ReLU goes only what is positive, where the input was positive too."""


def saliency(model: Module, x: np.ndarray, k: int) -> np.ndarray:
    """M (N,H,W) of images x (N,C,H,W) as the model takes them, for class k."""
    return np.abs(project(model, x, one_hot(k))).max(1)


def guided(model: Module, x: np.ndarray, k: int) -> np.ndarray:
    """Guided backpropagation, signed: (N,C,H,W). Sharper than the gradient, and less faithful to it.

    dx = max(dy, 0) where x > 0.   Springenberg et al. 2014, "Striving for simplicity", §3.4. Adebayo et al. 2018
    ("Sanity checks for saliency maps") find that it hardly changes when the net's weights are made random.
    """
    return project(model, x, one_hot(k), rules=GUIDED)


def smooth(model: Module, x: np.ndarray, k: int, count: int = 25, noise: float = 0.15, seed: int = 0) -> np.ndarray:
    """SmoothGrad: the saliency (N,H,W) of the mean gradient over `count` copies of x with noise.

    M = max_c |1/n · Σ_i ∂S_k/∂x(x + ε_i)|,   ε ~ N(0, σ²),   σ = noise · (max x − min x)
    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise"; 10 to 20 % of noise is theirs.
    """
    rng = np.random.default_rng(seed)
    sigma = noise * float(x.max() - x.min())
    total = np.zeros_like(x)
    for _ in range(count):
        total += project(model, (x + sigma * rng.standard_normal(x.shape)).astype(x.dtype), one_hot(k))
    return np.abs(total / count).max(1)
