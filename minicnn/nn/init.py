"""Initial weights, with their papers. Drawn on the host as float32, so that a seed gives the same net on any device.

For a filter bank (O, C/G, KH, KW) fan_in = C/G·KH·KW is the number of inputs that an output depends on, and fan_out =
O·KH·KW the number of outputs that an input affects; for a matrix (O, I) they are I and O.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from minicnn import devices
from minicnn.rng import generator
from minicnn.settings import within

_draw_values = contextvars.ContextVar("draw_values", default=True)


def shapes_only() -> AbstractContextManager[None]:
    """Within `with shapes_only():` weights have shapes but no values, so that large nets are built quickly."""
    return within(_draw_values, False)


def _drawn(shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Any:
    if not _draw_values.get():
        return devices.get("meta").xp.ndarray(shape)
    return draw().astype(np.float32)


def he_normal(shape: tuple[int, ...], gain: float = 2.0) -> np.ndarray:
    """N(0, gain/fan_in): with ReLU, preserves the variance of the signal.   He et al. 2015 (PReLU), eq. 10"""
    return normal(shape, math.sqrt(gain / max(1, fans(shape)[0])))


def he_normal_fan_out(shape: tuple[int, ...]) -> np.ndarray:
    """N(0, 2/fan_out): the same for the backward signal.   He et al. 2015, eq. 14"""
    return normal(shape, math.sqrt(2 / max(1, fans(shape)[1])))


def glorot_uniform(shape: tuple[int, ...]) -> np.ndarray:
    """U(−a, a), a = √(6/(fan_in + fan_out)): for tanh.   Glorot & Bengio 2010, eq. 16"""
    bound = math.sqrt(6 / max(1, sum(fans(shape))))
    return uniform(shape, bound)


def lecun_uniform(shape: tuple[int, ...], bound: float = 2.4) -> np.ndarray:
    """U(−2.4/fan_in, 2.4/fan_in), as in LeNet-5.   LeCun et al. 1998, appendix A"""
    limit = bound / max(1, fans(shape)[0])
    return uniform(shape, limit)


def normal(shape: tuple[int, ...], std: float) -> np.ndarray:
    """N(0, std²)"""
    return _drawn(shape, lambda: generator().normal(0, std, shape))


def truncated_normal(shape: tuple[int, ...], std: float) -> np.ndarray:
    """N(0, std²), values beyond 2·std are drawn again, as in TensorFlow and the Inception nets"""

    def draw():
        x = generator().standard_normal(shape)
        while (far := np.abs(x) > 2).any():
            x[far] = generator().standard_normal(np.count_nonzero(far))
        return x * std

    return _drawn(shape, draw)


def uniform(shape: tuple[int, ...], bound: float) -> np.ndarray:
    """U(−bound, bound)"""
    return _drawn(shape, lambda: generator().uniform(-bound, bound, shape))


def constant(shape: tuple[int, ...], value: float) -> np.ndarray:
    """All elements are `value`."""
    return _drawn(shape, lambda: np.full(shape, value))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight array."""
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps
