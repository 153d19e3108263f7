"""Exercise 8: initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.course.exercise import Check, Exercise, Finding, Function, Generator, Mistake
from minicnn.course.values import show

STARTER = '''"""Exercise 8: initial weights (가중치 초기화).

If the weights are too small, the signal becomes smaller from layer to layer; if they are too large, it grows without
limit. Their standard deviation (표준편차) must fit the number of products that a layer adds up.

    minicnn course check ex08_initialisation.py
"""

import numpy as np

EXERCISE = 8


def fans(shape):
    """→ (fan_in, fan_out): how many products one output number adds up, and how many outputs one input number goes to.

    A linear layer's weights are (O, I): fan_in = I, fan_out = O. A convolution's are (O, C, KH, KW): each output adds
    up C·KH·KW products, and (not counting the edges) each input goes to O·KH·KW of them.

    >>> fans((10, 20)), fans((8, 3, 5, 5))
    ((20, 10), (75, 200))
    """
    raise NotImplementedError  # replace this line by your solution


def he_normal(shape, rng):
    """Weights for layers with ReLU: normal (정규분포), mean 0, standard deviation √(2 / fan_in).   He 2015, §2.2

    rng: a NumPy generator, numpy.random.default_rng(seed). Draw from it alone, so that a seed repeats a training.
    """
    raise NotImplementedError  # replace this line by your solution


def glorot_uniform(shape, rng):
    """Weights for layers with tanh: uniform (균등분포) between −a and a, a = √(6 / (fan_in + fan_out)).

    Their variance is a²/3 = 2 / (fan_in + fan_out).   Glorot & Bengio 2010, eq. 16
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _fans(shape):
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


FANS = (
    Mistake("kernel area forgotten", "An output of a convolution adds up C·KH·KW products.",
            lambda right, shape: (shape[1], shape[0])),
    Mistake("fan_in and fan_out exchanged", "The shape is (O, C, …): outputs first.", lambda right, shape: right[::-1]),
    Mistake("one side of the kernel only", "The window has KH·KW taps.",
            lambda right, shape: (shape[1] * math.prod(shape[2:3]), shape[0] * math.prod(shape[2:3]))),
    Mistake("kernel area in fan_in only", "An input number goes to O·KH·KW outputs.",
            lambda right, shape: (right[0], shape[0])),
)  # fmt: skip


def _he_stds(shape):
    """{kind: (standard deviation, hint)}"""
    fan_in, fan_out = _fans(shape)
    return {
        "right": (math.sqrt(2 / fan_in), ""),
        "fan_out instead of fan_in": (math.sqrt(2 / fan_out), "He's rule divides by fan_in."),
        "kernel area forgotten": (math.sqrt(2 / shape[1]), "fan_in of a convolution is C·KH·KW."),
        "1 instead of 2": (math.sqrt(1 / fan_in), "ReLU halves the variance: the factor is 2."),
        "variance taken for the standard deviation": (2 / fan_in, "2 / fan_in is the variance: take its root."),
        "mean of both fans": (math.sqrt(2 / (fan_in + fan_out)), "That is Glorot's rule; He's divides by fan_in."),
        "standard deviation 1": (1.0, "Multiply the draws by the standard deviation."),
        "a fixed 0.01": (0.01, "The standard deviation must follow from fan_in."),
    }


def _glorot_stds(shape):
    fan_in, fan_out = _fans(shape)
    a = math.sqrt(6 / (fan_in + fan_out))
    return {
        "right": (a / math.sqrt(3), ""),
        "standard deviation taken for the limit": (a / 3, "A uniform distribution between −a and a has the standard "
                                                   "deviation a/√3: the limit is √(6 / …), not √(2 / …)."),
        "fan_in only": (math.sqrt(2 / fan_in), "Glorot's rule adds fan_in and fan_out."),
        "fan_in only, limit √(3 / fan_in)": (math.sqrt(1 / fan_in), "Glorot's rule adds both fans."),
        "kernel area forgotten": (math.sqrt(2 / (shape[0] + shape[1])), "The fans of a convolution have KH·KW."),
        "variance taken for the limit": (a * a / math.sqrt(3), "Take the root of 6 / (fan_in + fan_out)."),
        "limit 1": (1 / math.sqrt(3), "Draw between −a and a."),
    }


def _statistics(stds: Callable[[tuple], dict[str, tuple[float, str]]], normal: bool):
    """A rule: shape, mean, standard deviation and distribution of the weights. 5 % is ten times the chance error."""

    def one(arguments: tuple, w: Any) -> Finding | None:
        shape = arguments[0]
        if not isinstance(w, np.ndarray) or w.dtype.kind != "f":
            return Finding("wrong type", f"the weights are {show(w)}, but must be a NumPy array of floats.")
        if w.shape != shape:
            return Finding("wrong shape", f"the weights have the shape {w.shape}, but must have the shape {shape}.")
        mean, std = float(w.mean()), float(w.std())
        right = stds(shape)["right"][0]
        if not np.isfinite(std) or std < 1e-12:
            return Finding("all weights equal", "All weights are equal, so all filters would learn the same.")
        if abs(mean) > 0.1 * std:
            return Finding("mean is not 0", f"The mean is {mean:.3g}, but must be 0 (the standard deviation is "
                           f"{std:.3g}). rng.random() draws between 0 and 1.")  # fmt: skip
        if abs(std / right - 1) > 0.05:
            said = f"The standard deviation is {std:.4g}, but must be {right:.4g}."
            for kind, (other, hint) in stds(shape).items():
                if abs(std / other - 1) < 0.03:
                    return Finding(kind, f"{hint} {said}")
            return Finding("another standard deviation", said)
        beyond = float((abs(w) > 1.8 * right).mean())       # normal: 7 %; uniform, whose limit is 1.73σ: none
        if normal == (beyond < 0.03):
            return Finding("another distribution", f"{100 * beyond:.1f} % of the weights are beyond 1.8 standard "
                           f"deviations: a {'normal' if normal else 'uniform'} distribution has "
                           f"{'7 %' if normal else 'none'}.")  # fmt: skip
        return None

    return lambda cases, results: [one(a, w) for a, w in zip(cases, results)]


def _repeatable(cases, results):
    """The first two calls have the same seed, the third has another one."""
    findings: list[Finding | None] = [None, None, None]
    if not all(isinstance(w, np.ndarray) for w in results):
        findings[0] = Finding("wrong type", f"the weights are {show(results[0])}, but must be a NumPy array of floats.")
    elif not np.array_equal(results[0], results[1]):
        findings[1] = Finding("draws not from rng", "Two calls with the same seed gave different weights: draw from "
                              "the argument rng, not from np.random.")  # fmt: skip
    elif np.array_equal(results[0], results[2]):
        findings[2] = Finding("draws not from rng", "Calls with different seeds gave the same weights: draw from the "
                              "argument rng, not from a generator of your own.")  # fmt: skip
    return findings


def _shapes(rng):
    o, i, c, kh, kw = (int(n) for n in rng.permutation([3, 4, 5, 6, 7]))
    return [((o, i),), ((o, c, kh, kw),), ((o, c, 3, 3),)]


def _layer(rng):
    """About 50,000 weights; fans that no two rules give the same standard deviation for."""
    o, c = int(rng.integers(90, 100)), int(rng.integers(24, 28))
    return [((o, c, 3, 7), Generator(int(rng.integers(1 << 30)))),
            ((400, 90 + o), Generator(int(rng.integers(1 << 30))))]  # fmt: skip


def _seeds(rng):
    first = int(rng.integers(1 << 30))
    return [((4, 3), Generator(first)), ((4, 3), Generator(first)), ((4, 3), Generator(first + 1))]


def _no_right(shape, rng):
    raise AssertionError("weights are judged by their statistics")


EXERCISE = Exercise(
    8, "initialisation", "Initial weights", "가중치 초기화", STARTER,
    (Function("fans", ("the fans",), _fans, FANS), Function("he_normal", ("w",), _no_right),
     Function("glorot_uniform", ("w",), _no_right)),
    (Check("fan_in and fan_out", "fans", _shapes),
     Check("He's rule", "he_normal", _layer, rule=_statistics(_he_stds, normal=True), kinds=(
         *list(_he_stds((1, 1)))[1:], "mean is not 0", "all weights equal", "another distribution")),
     Check("He's rule repeats with its seed", "he_normal", _seeds, rule=_repeatable, kinds=("draws not from rng",)),
     Check("Glorot's rule", "glorot_uniform", _layer, rule=_statistics(_glorot_stds, normal=False),
           kinds=tuple(_glorot_stds((1, 1)))[1:]),
     Check("Glorot's rule repeats with its seed", "glorot_uniform", _seeds, rule=_repeatable)),
)  # fmt: skip
