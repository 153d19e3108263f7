"""Test cases of the ops: random inputs and hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """A test case: for each argument a function that draws it from a generator, or None; and hyper-parameters."""

    draws: tuple
    hyper: dict

    def inputs(self, seed: int) -> list:
        """The arguments, the same for the same seed."""
        rng = np.random.default_rng(seed)
        return [draw and draw(rng) for draw in self.draws]

    def __str__(self):
        return ", ".join(f"{k}={v}" for k, v in self.hyper.items()) or "plain"


def normal(*shape):
    """Standard normal values."""
    return lambda rng: rng.standard_normal(shape)


def spaced(*shape, low=-2.0, high=2.0, kinks=(0.0,)):
    """Evenly spaced values from low to high, jittered and shuffled: no ties, and no value close to a kink."""

    def draw(rng):
        n = int(np.prod(shape))
        step = (high - low) / n
        values = low + step * (np.arange(n) + rng.uniform(0.3, 0.7, n))
        for kink in kinks:
            near = abs(values - kink) < 0.02 * step
            values[near] += 0.04 * step
        return rng.permutation(values).reshape(shape)

    return draw


def positive(*shape):
    """Values from 0.5 to 2."""
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def wide(*shape):
    """Values from −8 to 8."""
    return lambda rng: rng.uniform(-8, 8, shape)


def labels(n, classes):
    """n class indices."""
    return lambda rng: rng.integers(0, classes, n)


def shares(n, classes):
    """n rows of probabilities, which sum to 1."""

    def draw(rng):
        values = rng.uniform(0, 1, (n, classes))
        return values / values.sum(1, keepdims=True)

    return draw


def mask(*shape):
    """Booleans, most of them True."""
    return lambda rng: rng.random(shape) > 0.3


def case(*draws, **hyper) -> Case:
    """A Case with these draw functions and hyper-parameters."""
    return Case(draws, hyper)
