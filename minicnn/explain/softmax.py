"""From scores to probabilities, number by number; what a shift of all scores changes (nothing), and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel, finite
from minicnn.names import short
from minicnn.ops.softmax import softmax as softmax_op
from minicnn.tensor import Tensor

MOST, MOST_ROWS = 1000, 20


@dataclass(frozen=True, repr=False)
class Softmax(Answer):
    """Scores z, and each step to the probabilities p."""

    names: tuple[str, ...]
    scores: np.ndarray
    largest: float
    powers: np.ndarray
    """e^(z − max z)"""
    sum: float
    probabilities: np.ndarray
    shift: float
    shifted: np.ndarray
    """The probabilities of z + shift."""
    naive: np.ndarray
    """e^z / Σ e^z without subtracting the largest score: NaN where it overflows."""
    label: int | None
    loss: float | None
    """−ln p[label]"""
    gradient: np.ndarray | None
    """∂loss/∂z = p, minus 1 at the label."""

    def page(self) -> list[show.Block]:
        """The table, and what is to be seen in it."""
        z, p = self.scores, self.probabilities
        headings = ["", ">z", ">z − max", ">e^(z − max)", ">p", f">p of z + {show.number(self.shift)}"]
        columns = [self.names, *(map(show.number, v) for v in (z, z - self.largest, self.powers, p, self.shifted))]
        if self.gradient is not None:
            headings.append(">∂L/∂z")
            columns.append(map(show.number, self.gradient))
        first, second = np.argsort(-z, kind="stable")[:2]
        blocks: list[show.Block] = [
            show.Heading(f"Softmax of {len(z)} scores"),
            show.Formula("p[k] = e^(z[k] − max z) / Σ e^(z[j] − max z)"),
            show.Table(tuple(headings), tuple(zip(*columns))[:MOST_ROWS]),
            *([show.Say(f"(The first {MOST_ROWS} of {len(z)}.)")] if len(z) > MOST_ROWS else []),
            show.Say(f"Σ e^(z − max) = {show.number(self.sum)}; Σ p = {show.number(p.sum())}."),
            show.Say(f"Shift: adding {show.number(self.shift)} to every score multiplies each e^z by the same e^"
                     f"{show.number(self.shift)}, which cancels: the probabilities differ by at "
                     f"most {show.number(np.abs(self.shifted - p).max())}. So the largest score can be subtracted "
                     f"first, "
                     "and no power is above 1."),
        ]  # fmt: skip
        if not np.isfinite(self.naive).all():
            blocks.append(show.Say("Without the subtraction e^z overflows here, and the result is not a number."))
        apart = float(z[first] - z[second])
        ratio = f"e^{show.number(apart)} = {show.number(np.exp(apart))}" if apart < 700 else "more than 10^300"
        blocks.append(show.Say(f"Differences become ratios: the score of {self.names[first]} is "
                               f"{show.number(apart)} above "
                               f"that of {self.names[second]}, so {self.names[first]} is {ratio} times as probable. A "
                               "softmax makes the largest score stand out; it does not damp outliers."))
        if self.label is not None and self.loss is not None:
            below = show.number(self.largest - z[self.label])
            blocks += [show.Formula(f"L = −ln p[{self.names[self.label]}] = ln Σ + max z − "
                                    f"z[{self.names[self.label]}] = "
                                    f"ln {show.number(self.sum)} + {below} = {show.number(self.loss)}\n"
                                    "∂L/∂z[k] = p[k] − (1 if k is the label, else 0)")]
        return blocks

    def panels(self) -> list[Panel]:
        """Scores and probabilities as one row each."""
        return [Panel("scores", self.scores[None]), Panel("probabilities", self.probabilities[None])]


def softmax(scores: Sequence[float] | np.ndarray, label: int | None = None, shift: float = 100.0,
            names: Sequence[str] = ()) -> Softmax:
    """p[k] = e^(z[k] − max z) / Σ e^(z[j] − max z), step by step, for scores z (K,).

    label: also the loss −ln p[label] and its gradient p − one-hot(label).   shift: is added to every score, to see that
    the probabilities do not change.   names: of the classes, by default their numbers.

    ValueError where the scores are not two or more finite numbers, or there is no such label.
    """
    try:
        z = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"the scores {short(scores)} must be numbers in a row") from None
    if z.ndim != 1 or not 2 <= len(z) <= MOST or not np.isfinite(z).all():
        raise ValueError(f"the scores {short(z.tolist())} must be from 2 to {MOST} finite numbers in a row")
    shift = finite("shift", shift)
    known = tuple(map(str, names)) or tuple(f"class {k}" for k in range(len(z)))
    if len(known) != len(z):
        raise ValueError(f"there are {len(known)} names for {len(z)} scores: give one for each")
    p, shifted = (softmax_op(Tensor(v[None])).numpy()[0] for v in (z, z + shift))
    powers = np.exp(z - z.max())
    with np.errstate(over="ignore", invalid="ignore"):
        naive = np.exp(z) / np.exp(z).sum()
    loss: Any = None
    gradient = None
    if label is not None:
        label = arguments.integer("label", label, 0, len(z) - 1)
        loss = float(np.log(powers.sum()) - (z[label] - z.max()))
        gradient = p - (np.arange(len(z)) == label)
    return Softmax(known, z, float(z.max()), powers, float(powers.sum()), p, shift, shifted, naive, label, loss,
                   gradient)
