"""Finite differences of a scalar function L(t): its slope at 0, the slope's uncertainty, and the kinks around 0.

Each function takes `terms`: terms(t) is an array whose sum is L(t). Kinks are searched for in each term separately,
because in the sum the kinks of several terms may cancel.

A difference quotient with step h has three errors: round-off (∝ noise/h), truncation (∝ h²) and kinks within h. The
noise is measured, not assumed, because it grows with the number of operations in L.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIDE = 8  # sample points on each side of 0


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the round-off in each term, and in L."""

    terms: np.ndarray
    total: float


@dataclass(frozen=True)
class Slope:
    """The slope of L at 0, with its uncertainty."""

    value: float
    uncertainty: float  # from round-off and truncation
    jumps: float  # Σ |slope on the right − slope on the left| over the kinks within the step


def noise(terms: Callable[[float], np.ndarray]) -> Noise:
    """Round-off, from third differences at steps so small that L is a straight line (Hamming 1971, §10).

    The median is used, because a kink affects only the few differences that span it.
    """
    values = np.stack([np.ravel(terms(1e-9 * i)) for i in range(-6, 7)])
    rounding = 1.1e-16 * abs(values).max(0)                        # half a unit in the last place

    def deviation(samples):
        return np.median(abs(np.diff(samples, 3, axis=0)), 0) / (0.6745 * np.sqrt(20))

    return Noise(np.maximum(deviation(values), rounding),
                 float(max(deviation(values.sum(1)), np.sqrt((rounding**2).sum()))))


def slope(terms: Callable[[float], np.ndarray], h: float, noise: Noise) -> Slope:
    """The slope over −h … h, from 17 points, with Richardson's extrapolation of the central differences.

    A bend is the change of slope from one pair of neighbouring points to the next. On a smooth curve all bends are
    nearly equal; an outlier is a kink.
    """
    spacing = h / SIDE
    values = np.stack([np.ravel(terms(i * spacing)) for i in range(-SIDE, SIDE + 1)])  # (17, terms)
    L = values.sum(1)

    def central(k):
        return (L[SIDE + k] - L[SIDE - k]) / (2 * k * spacing)

    coarse, fine = ((4 * central(k // 2) - central(k)) / 3 for k in (SIDE, SIDE // 2))
    bends = np.diff(values, 2, axis=0) / spacing                   # (15, terms)
    odd = abs(bends - np.median(bends, 0))
    is_kink = odd > 5 * np.median(odd, 0) + 12 * noise.terms / spacing
    return Slope(float(coarse), float(10 * noise.total / h + abs(coarse - fine)), float(odd[is_kink].sum()))


@dataclass(frozen=True)
class Verdict:
    """The result of checking one claimed gradient with finite differences."""

    kind: str  # "right", "wrong", "kink", "unclear"
    numeric: float
    error: float  # relative to the gradient, plus what round-off hides
    faint: bool = False  # round-off hides more than 1 % of the gradient


def judge(terms: Callable[[float], np.ndarray], claimed: float, step: float, typical: float, tolerance: float,
          noise: Noise) -> Verdict:
    """Is `claimed` the slope of L at 0?   typical: the size of the other gradients.

    Starts with `step` and tries larger steps, where round-off matters less, until the slope is known to a tenth of the
    tolerance. Kinks change a central difference by at most half the sum of their jumps; a disagreement within that
    bound counts as a kink. The jumps of several kinks close together can cancel; then the slope changes again at steps
    smaller than the distance between them.
    """
    best = Slope(np.nan, np.inf, 0.0)
    for h in (step, *(s for s in (1000 * step, 100 * step, 10 * step, step / 10) if s <= 0.01)):
        found = slope(terms, h, noise)
        if h == step and found.jumps and abs(claimed - found.value) <= 0.51 * found.jumps + found.uncertainty:
            return Verdict("kink", found.value, 0.0)
        if found.uncertainty + found.jumps < best.uncertainty + best.jumps:
            best = found
        scale = max(abs(claimed), abs(best.value), typical)
        if best.uncertainty + best.jumps <= 0.1 * tolerance * scale:
            break
        if h > step and not found.jumps and found.uncertainty < 30 * noise.total / h:
            break                                                  # only round-off: a smaller step has more of it
    off = abs(claimed - best.value)
    error = off / (scale + best.uncertainty / tolerance + 1e-300)
    faint = best.uncertainty > 0.01 * scale
    if error <= tolerance:
        return Verdict("right", best.value, error, faint)
    if off <= tolerance * scale + best.uncertainty + 0.51 * best.jumps or _hidden_kinks(
            terms, claimed, step, best, scale, noise):
        return Verdict("kink", best.value, 0.0)
    unclear = np.isfinite(claimed) and (faint or off <= 5 * best.jumps)
    return Verdict("unclear" if unclear else "wrong", best.value, off / (scale + 1e-300))


def _hidden_kinks(terms, claimed, step, seen, scale, noise):
    """Does the slope become `claimed` at steps far below `step`? A wrong gradient stays wrong at all of them."""
    for h in (step * 10.0**-e for e in range(1, 7)):
        if 10 * noise.total / h > 0.1 * scale:
            break
        found = slope(terms, h, noise)
        changed = abs(found.value - seen.value) > 3 * (found.uncertainty + seen.uncertainty)
        sure = found.uncertainty <= 0.1 * scale
        if sure and changed and abs(claimed - found.value) <= found.uncertainty + 1e-6 * scale:
            return True
    return False
