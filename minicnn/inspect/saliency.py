"""Saliency: on which pixels the score of a class depends.

    M[h,w] = max_c |∂S_k/∂x[c,h,w]|      Simonyan, Vedaldi & Zisserman 2013, "Deep inside convolutional networks", §3.1

S_k is the score before the softmax, whose gradient would also show the evidence for the other classes.
"""

from __future__ import annotations

import numpy as np

from minicnn import arguments
from minicnn.inspect.units import backpropagate_from, one_hot
from minicnn.nn import Module

GUIDED = {name: lambda dy, dx: dx(dy.clip(0)) for name in ("relu", "relu6", "leaky_relu")}
"""Guided backpropagation: a ReLU passes back only positive gradients, and only where its input was positive."""


def saliency(model: Module, x: np.ndarray, k: int) -> np.ndarray:
    """M (N,H,W) of images x (N,C,H,W), the input of the model, for class k."""
    return np.abs(backpropagate_from(model, x, one_hot(k))).max(1)


def guided_backpropagation(model: Module, x: np.ndarray, k: int) -> np.ndarray:
    """Guided backpropagation, signed: (N,C,H,W). Sharper than the gradient, and less faithful to it.

    dx = max(dy, 0) where x > 0.   Springenberg et al. 2014, "Striving for simplicity", §3.4. Adebayo et al. 2018
    ("Sanity checks for saliency maps") found that it hardly changes when the weights of the net are randomised.
    """
    return backpropagate_from(model, x, one_hot(k), rules=GUIDED)


def smooth_grad(model: Module, x: np.ndarray, k: int, count: int = 25, noise: float = 0.15,
                seed: int = 0) -> np.ndarray:  # fmt: skip
    """SmoothGrad: the saliency (N,H,W) of the mean gradient over `count` copies of x with noise.

    M = max_c |1/n · Σ_i ∂S_k/∂x(x + ε_i)|,   ε ~ N(0, σ²),   σ = noise · (max x − min x)
    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise"; they use 10 to 20 % noise.
    """
    arguments.integer("count", count, 1)
    rng = np.random.default_rng(seed)
    sigma = noise * float(x.max() - x.min())
    total = np.zeros_like(x)
    for _ in range(count):
        total += backpropagate_from(model, (x + sigma * rng.standard_normal(x.shape)).astype(x.dtype), one_hot(k))
    return np.abs(total / count).max(1)
