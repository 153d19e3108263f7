"""The convolution of two functions of one variable: the exact value, the same as a sum, and the sliding picture.

    (f ∗ g)(t) = ∫ f(τ) g(t − τ) dτ

f and g are a box, 1 on [0, 1], and a ramp, t on [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np

from minicnn import arguments
from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel
from minicnn.names import short, unknown
from minicnn.ops.conv import conv1d as conv1d_op
from minicnn.tensor import Tensor, no_grad

SHAPES = {"box": (0, "1 on [0, 1], else 0"), "ramp": (1, "t on [0, 1], else 0")}
"""{name: (the power n of t^n on [0, 1], description)}"""
FIRST, LAST = -1.0, 2.0
"""The part of the τ axis in the sliding picture: g(t − τ) begins at t − 1 and ends at t."""
SIGNS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Frame:
    """One position of the sliding g: t, the value there, and the picture."""

    t: Fraction
    value: Fraction
    picture: str


@dataclass(frozen=True, repr=False)
class Signal(Answer):
    """(f ∗ g)(t) for one t: exactly, and as a sum of samples."""

    f: str
    g: str
    t: Fraction
    value: Fraction
    """The convolution ∫ f(τ) g(t − τ) dτ, exact."""
    overlap: tuple[Fraction, Fraction] | None
    """The τ where both are not 0: from max(0, t − 1) to min(1, t)."""
    correlation: Fraction
    """The cross-correlation ∫ f(τ) g(t + τ) dτ, exact."""
    samples: int
    sampled: float
    """Δ · Σ f(τ_k) g(t − τ_k) with this many samples on [0, 1], Δ = 1/samples."""
    frames: tuple[Frame, ...]

    def page(self) -> list[show.Block]:
        """The formula, the value, the sum, the sliding picture."""
        t = _text(self.t)
        inner = {"box": "1", "ramp": "τ"}[self.f], {"box": "1", "ramp": f"({t} − τ)"}[self.g]
        product = "·".join(part for part in inner if part != "1") or "1"
        if self.overlap is None:
            line = f"(f ∗ g)({t}) = 0, because f(τ) and g({t} − τ) are nowhere both above 0"
        else:
            line = f"(f ∗ g)({t}) = ∫ from {_text(self.overlap[0])} to {_text(self.overlap[1])} of {product} dτ = " \
                   f"{_exact(self.value)}"
        error = abs(self.sampled - float(self.value))
        off = f"which is {show.number(error)} off" if error > 1e-12 else "the same"
        blocks: list[show.Block] = [
            show.Heading(f"f = {self.f} ({SHAPES[self.f][1]}), g = {self.g} ({SHAPES[self.g][1]})"),
            show.Formula("(f ∗ g)(t) = ∫ f(τ) · g(t − τ) dτ\n" + line),
            show.Say(f"As a sum over {self.samples:,} samples, Δ = 1/{self.samples:,}: Δ · Σ f(τ) · g({t} − τ) = "
                     f"{self.sampled:.9g}, {off}. It is one number of "
                     "ops.conv1d with flip=True, which turns the second list of numbers around."),
            show.Say(f"Without turning g, the cross-correlation ∫ f(τ) · g({t} + τ) dτ is {_exact(self.correlation)}."),
        ]
        if self.f != self.g and self.t == Fraction(1, 2):
            blocks.append(show.Say("(Lecture notes have 0.25 here. The overlap is ½ wide and its product rises from "
                                   "0 to "
                                   "½: a triangle of ½ · ½ · ½.)"))
        blocks.append(show.Heading("g turned around and slid over f"))
        head = f"{'t':>5}  {'τ = −1':<12}{'0':<12}{'1':<11}2  (f ∗ g)(t)"
        lines = [head, *(f"{_text(frame.t):>5}  {frame.picture}  {_decimal(frame.value)}" for frame in self.frames)]
        blocks += [show.Lines("\n".join(lines)),
                   show.Say("▁ to █: the product f(τ) · g(t − τ), whose area is the value; _: f alone; /: g alone.")]
        return blocks

    def panels(self) -> list[Panel]:
        """The values of the frames as one row."""
        return [Panel("(f ∗ g)(t)", np.array([[float(frame.value) for frame in self.frames]]))]


def conv1d(f: str = "box", g: str = "ramp", t: Fraction | float | str = Fraction(1, 2), samples: int = 1000,
           steps: int = 8) -> Signal:
    """(f ∗ g)(t) = ∫ f(τ) g(t − τ) dτ for f and g "box" (1 on [0, 1]) or "ramp" (t on [0, 1]): 1/8 for the default.

    Exact for every t: on the overlap [max(0, t−1), min(1, t)] the product is a polynomial.   samples: how many the sum
    has.   steps: positions of the sliding picture, from t = 0 to 2.

    ValueError for other functions and for a t that is no number.
    """
    for name in (f, g):
        if name not in SHAPES:
            raise ValueError(unknown("function", str(name), SHAPES))
    try:
        at = Fraction(t).limit_denominator(10**6)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise ValueError(f"t (={short(t)}) must be a number such as 0.5 or 1/2") from None
    if abs(at) > 1000:
        raise ValueError(f"t (={_text(at)}) must be from -1000 to 1000")
    samples = arguments.integer("samples", samples, 1, 10**6)
    steps = arguments.integer("steps", steps, 1, 64)
    a, b = SHAPES[f][0], SHAPES[g][0]
    frames = tuple(Frame(now, _value(a, b, now), _picture(a, b, float(now)))
                   for now in (Fraction(2 * k, steps) for k in range(steps + 1)))
    low, high = max(Fraction(0), at - 1), min(Fraction(1), at)
    return Signal(f, g, at, _value(a, b, at), (low, high) if low < high else None, _correlated(a, b, at), samples,
                  _sampled(a, b, float(at), samples), frames)


def _value(a: int, b: int, t: Fraction) -> Fraction:
    """∫ τ^a (t − τ)^b dτ from max(0, t − 1) to min(1, t), by the binomial theorem."""
    low, high = max(Fraction(0), t - 1), min(Fraction(1), t)
    if low >= high:
        return Fraction(0)
    return sum((comb(b, k) * (-1) ** k * t ** (b - k) * (high ** (a + k + 1) - low ** (a + k + 1)) / (a + k + 1)
                for k in range(b + 1)), Fraction(0))  # fmt: skip


def _correlated(a: int, b: int, t: Fraction) -> Fraction:
    """∫ τ^a (t + τ)^b dτ where both are not 0: τ from max(0, −t) to min(1, 1 − t)."""
    low, high = max(Fraction(0), -t), min(Fraction(1), 1 - t)
    if low >= high:
        return Fraction(0)
    return sum((comb(b, k) * t ** (b - k) * (high ** (a + k + 1) - low ** (a + k + 1)) / (a + k + 1)
                for k in range(b + 1)), Fraction(0))  # fmt: skip


def _sampled(a: int, b: int, t: float, n: int) -> float:
    """Δ · Σ f(τ_k) g(t − τ_k), τ_k the middles of n intervals of [0, 1]: one window of conv1d with flip=True.

    The filter holds g at t − τ_k, from the last τ_k to the first.
    """
    tau = (np.arange(n) + 0.5) / n
    slid = t - tau[::-1]
    g = np.where((slid >= 0) & (slid <= 1), slid**b, 0.0)
    with no_grad():
        return conv1d_op(Tensor((tau**a).reshape(1, 1, n)), Tensor(g.reshape(1, 1, n)), flip=True).item() / n


def _picture(a: int, b: int, t: float, columns: int = 36) -> str:
    """A sign for each τ: the height of the product, or what alone is not 0."""
    signs = []
    for k in range(columns):
        tau = FIRST + (k + 0.5) * (LAST - FIRST) / columns
        inside, slid = 0 <= tau <= 1, 0 <= t - tau <= 1
        if inside and slid:
            signs.append(SIGNS[max(1, min(8, round(8 * tau**a * (t - tau) ** b)))])
        else:
            signs.append("_" if inside else "/" if slid else " ")
    return "".join(signs)


def _text(value: Fraction) -> str:
    return str(value) if value.denominator <= 100 else f"{float(value):.6g}"


def _decimal(value: Fraction) -> str:
    return f"{float(value):.9g}"


def _exact(value: Fraction) -> str:
    return _decimal(value) if value.denominator == 1 or value.denominator > 10**6 else f"{value} = {_decimal(value)}"
