"""Initial weights, each with its paper. Drawn on the host as float32, so that a seed gives the same net on any device.

For a filter bank (O, C/G, KH, KW) fan_in = C/G·KH·KW is the number of inputs of an output, fan_out = O·KH·KW the other
way round; for a matrix (O, I) they are I and O.
"""

from __future__ import annotations

import math

import numpy as np

from minicnn.rng import generator


def he_normal(shape: tuple[int, ...], gain: float = 2.0) -> np.ndarray:
    """N(0, gain/fan_in): with ReLU the forward signal neither grows nor dies.   He et al. 2015 (PReLU), eq. 10"""
    return generator().normal(0, math.sqrt(gain / max(1, fans(shape)[0])), shape).astype(np.float32)


def he_normal_fan_out(shape: tuple[int, ...]) -> np.ndarray:
    """N(0, 2/fan_out): the same for the backward signal.   He et al. 2015, eq. 14"""
    return generator().normal(0, math.sqrt(2 / max(1, fans(shape)[1])), shape).astype(np.float32)


def glorot_uniform(shape: tuple[int, ...]) -> np.ndarray:
    """U(−a, a), a = √(6/(fan_in + fan_out)): for tanh.   Glorot & Bengio 2010, eq. 16"""
    bound = math.sqrt(6 / max(1, sum(fans(shape))))
    return generator().uniform(-bound, bound, shape).astype(np.float32)


def lecun_uniform(shape: tuple[int, ...], bound: float = 2.4) -> np.ndarray:
    """U(−2.4/fan_in, 2.4/fan_in), LeNet-5's.   LeCun et al. 1998, appendix A"""
    limit = bound / max(1, fans(shape)[0])
    return generator().uniform(-limit, limit, shape).astype(np.float32)


def normal(shape: tuple[int, ...], std: float) -> np.ndarray:
    """N(0, std²)"""
    return generator().normal(0, std, shape).astype(np.float32)


def constant(shape: tuple[int, ...], value: float) -> np.ndarray:
    """`value` everywhere."""
    return np.full(shape, value, np.float32)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight array."""
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps
