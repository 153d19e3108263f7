"""Intervals for the mean of a few numbers: Student's t, and the studentised bootstrap for skewed ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 9999
"""Samples that the bootstrap draws."""


def t_interval(x: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): x̄ ± t·s/√n, t the quantile (1 + level)/2 of Student's distribution with n − 1 degrees.

    ValueError for fewer than two numbers, which say nothing about their spread.
    """
    n, mean, error = _summary(x)
    half = t_quantile((1 + level) / 2, n - 1) * error
    return mean, mean - half, mean + half


def bootstrap_interval(x: Sequence[float], level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high): x̄ − q·s/√n, q the quantiles of t* = (x̄* − x̄)/(s*/√n) over samples x* drawn from x.

    It follows the skewness of x, which the t interval does not.   Efron & Tibshirani 1993, "An introduction to the
    bootstrap", §12.5.   Samples without spread, in which t* is undefined, are left out.
    """
    n, mean, error = _summary(x)
    if error == 0:
        return mean, mean, mean
    drawn = np.asarray(x, float)[np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))]   # (B, n)
    spread = drawn.std(1, ddof=1)
    usable = spread > 1e-9 * np.std(x)
    t = (drawn.mean(1)[usable] - mean) / (spread[usable] / math.sqrt(n))
    below, above = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return mean, float(mean - above * error), float(mean - below * error)


INTERVALS = {"t": t_interval, "bootstrap": bootstrap_interval}


def _summary(x: Sequence[float]) -> tuple[int, float, float]:
    """n, the mean, and its standard error s/√n."""
    if len(x) < 2:
        raise ValueError(f"an interval needs at least two numbers, not {len(x)}: run more seeds")
    values = np.asarray(x, float)
    return len(x), float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(x)))


@functools.cache
def t_quantile(p: float, degrees: int) -> float:
    """The p-quantile of Student's t distribution, 0 < p < 1, by bisection."""
    if not 0 < p < 1 or degrees < 1:
        raise ValueError(f"t_quantile: p (={p}) must be between 0 and 1, and degrees (={degrees}) at least 1")
    if p < 0.5:
        return -t_quantile(1 - p, degrees)
    low, high = 0.0, 1.0
    while t_distribution(high, degrees) < p:
        low, high = high, 2 * high
    for _ in range(60):                                    # to the last bit
        middle = (low + high) / 2
        low, high = (middle, high) if t_distribution(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def t_distribution(t: float, degrees: int) -> float:
    """P(T ≤ t) = 1 − I_x(ν/2, ½)/2, x = ν/(ν + t²), for t ≥ 0.   Abramowitz & Stegun 1964, 26.7.1"""
    tail = beta_ratio(degrees / (degrees + t * t), degrees / 2, 0.5) / 2
    return 1 - tail if t >= 0 else tail


def beta_ratio(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction.   Abramowitz & Stegun, 26.5.8"""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):                          # the fraction converges fast on the other side
        return 1 - beta_ratio(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    value = 1.0
    for m in range(200, 0, -1):                            # d[2m], then d[2m−1], from the inside out
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        value = 1 + odd / (1 + even / value)
    return front / (a * value)
