"""From the numbers of every seed to a verdict. The rules are the same for all claims; the thresholds are theirs.

1. d of each seed: the difference or ratio of two quantities of the same seed, so that arms are compared in pairs.
2. The interval for the mean of d, or of log d. A claim with k comparisons has intervals at level 1 − 0.05/k, so that
   all of them together are right in 95 % of experiments (Bonferroni).
3. A comparison holds if its interval lies wholly on the claimed side of the threshold, and does not hold if it lies
   wholly on the other side. Otherwise this size cannot tell.
4. It can't tell either with fewer than two seeds, or if d is exactly equal in all seeds: identical numbers have no
   spread, and no interval can be computed from them.
5. A training that did not reach its goal counts with its whole budget: d is then only a bound. A bound can support the
   verdict that it implies, never the opposite one.
6. A training that diverged (its loss was infinite, or it ended no better than guessing) counts with the error of
   guessing, and as one that did not reach its goal.
7. Where the trainings of both arms diverged in more than half of the seeds, this size cannot tell.
8. The claim holds if all its comparisons hold, and does not hold if one of them does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.claims.claim import FAILS, HOLDS, UNKNOWN, Claim, Comparison
from minicnn.claims.statistics import INTERVALS

LEVEL = 0.95

Records = Mapping[tuple[str, int], Mapping[str, Any]]
"""{(arm, seed): its record}, as `training.run` makes them."""


@dataclass(frozen=True)
class Outcome:
    """The result of one comparison. estimate, low, high: of d; None where no interval can be computed."""

    says: str
    verdict: str
    values: tuple[float, ...]      # d of each seed
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    threshold: float
    at_least: bool
    unit: str
    bounded: int                   # seeds in which d is only a bound, because a training did not reach its goal
    reason: str = ""               # why no interval can tell, where it is not the interval itself


def judge(claim: Claim, records: Records, seeds: Sequence[int]) -> tuple[str, list[Outcome]]:
    """The verdict of a claim, and the outcome of each comparison."""
    level = 1 - (1 - LEVEL) / len(claim.comparisons)
    outcomes = [compare(comparison, records, seeds, level) for comparison in claim.comparisons]
    return together([outcome.verdict for outcome in outcomes]), outcomes


def together(verdicts: Sequence[str]) -> str:
    """The verdict of several comparisons that must all hold."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if set(verdicts) == {HOLDS} else UNKNOWN


def compare(comparison: Comparison, records: Records, seeds: Sequence[int], level: float = LEVEL) -> Outcome:
    """The outcome of one comparison over these seeds."""
    c = comparison
    pairs = [(value(records, c.first, seed), value(records, c.second, seed) if c.second else (0.0, False))
             for seed in seeds]  # fmt: skip
    d = [_ratio(a, b) if c.ratio else a - b for (a, _), (b, _) in pairs]
    above = sum(late for (_, late), _ in pairs)            # d is at least this
    below = sum(late for _, (_, late) in pairs)            # d is at most this

    def outcome(verdict: str, reason: str = "", estimate: float | None = None, low: float | None = None,
                high: float | None = None) -> Outcome:  # fmt: skip
        return Outcome(c.says, verdict, tuple(d), estimate, low, high, level, c.threshold, c.at_least is not None,
                       c.unit, sum(a or b for (_, a), (_, b) in pairs), reason)  # fmt: skip

    if c.second is not None and 2 * sum(_both_diverged(records, c, seed) for seed in seeds) > len(seeds):
        return outcome(UNKNOWN, "in most seeds neither net has learned anything")
    if not np.isfinite(d).all() or (c.ratio and min(d, default=1) <= 0):
        return outcome(UNKNOWN, "a quantity is missing, because a training diverged before it could be measured")
    if len(d) < 2:
        return outcome(UNKNOWN, "one seed has no spread: run more")
    if max(d) - min(d) <= 1e-12 * max(map(abs, d)):        # rounding errors of a ratio are no spread
        return outcome(UNKNOWN, "all seeds gave exactly the same number, so there is no spread", d[0], d[0], d[0])
    estimate, low, high = INTERVALS[c.interval]([math.log(x) for x in d] if c.ratio else d, level)
    if c.ratio:
        estimate, low, high = math.exp(estimate), math.exp(low), math.exp(high)
    verdict = UNKNOWN
    if low > c.threshold and not below:
        verdict = HOLDS if c.at_least is not None else FAILS
    elif high < c.threshold and not above:
        verdict = FAILS if c.at_least is not None else HOLDS
    stopped = verdict == UNKNOWN and not low <= c.threshold <= high
    reason = "some trainings did not reach the goal, so the numbers are bounds on the wrong side" if stopped else ""
    return outcome(verdict, reason, estimate, low, high)


def _both_diverged(records: Records, c: Comparison, seed: int) -> bool:
    """Whether the trainings of both arms diverged with this seed."""
    return c.second is not None and all(records[term[0], seed].get("diverged") for term in (c.first, c.second))


def value(records: Records, term: tuple[str, str], seed: int) -> tuple[float, bool]:
    """A quantity of an arm, and whether it is only a lower bound; NaN where it is missing."""
    arm, quantity = term
    record = records[arm, seed]
    found = record["values"].get(quantity)
    return (math.nan if found is None else float(found)), quantity == "epochs" and not record["reached"]


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan
