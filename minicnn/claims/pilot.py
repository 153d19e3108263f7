"""Each arm's own best learning rate, by trainings on other seeds than the experiment's, before the experiment.

A rate must keep a distance from those that fail: if training diverges at the next larger rate that was tried, the rate
is not chosen. At such an edge a few seeds in ten fail, too, and their errors of 90 % would hide what the arms differ
in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minicnn.claims.claim import Arm, Plan

EXTENSIONS = 2
"""How often the grid grows beyond its end, if the best rate is the last one."""


@dataclass
class Pilot:
    """The pilot of one arm: rates with their scores, the smallest mean is the best, away from rates that fail.

    scores {rate: the mean of plan.pilot_by over the pilot's seeds; None: a training diverged}
    """

    arm: str
    rates: list[float]
    scores: dict[float, float | None] = field(default_factory=dict)
    extended: int = 0

    @classmethod
    def of(cls, plan: Plan, arm: Arm) -> Pilot:
        """The pilot that the plan asks for; with a single rate there is nothing to choose."""
        return cls(arm.name, sorted(arm.settings.get("rates", plan.rates)))

    def missing(self) -> list[float]:
        """The rates that have no score yet."""
        return [rate for rate in self.rates if rate not in self.scores] if len(self.rates) > 1 else []

    def score(self, rate: float, records: list[Mapping[str, Any]], plan: Plan) -> None:
        """Note the score of a rate; where it is at the edge and all are known, the grid grows by one rate."""
        found = [None if r["diverged"] else r["values"].get(plan.pilot_by) for r in records]
        numbers = [x for x in found if x is not None]
        self.scores[rate] = sum(numbers) / len(numbers) if len(numbers) == len(found) else None
        if plan.goal is not None and self.scores[rate] == plan.epochs:  # nobody reached the goal: who came nearest?
            self.scores[rate] = plan.epochs + sum(r["curve"][-1] for r in records) / len(records)
        if not self.missing() and self.at_edge and self.extended < EXTENSIONS:
            low, high = (self.rates[1], self.rates[0]) if self.best == self.rates[0] else self.rates[-2:]
            self.rates = sorted([*self.rates, float(f"{high * high / low:.3g}")])
            self.extended += 1

    @property
    def best(self) -> float:
        """The rate with the smallest score among those whose next larger one does not fail; of equal ones the smallest.

        Where there is none, the smallest score of all.
        """
        if len(self.rates) == 1:
            return self.rates[0]
        known = sorted(self.scores)
        safe = [rate for rate, larger in zip(known, [*known[1:], known[-1]]) if self.scores[larger] is not None]
        return min(safe or known, key=lambda rate: (_number(self.scores[rate]), rate))

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest that was tried."""
        return len(self.rates) > 1 and self.best in (self.rates[0], self.rates[-1])


def _number(score: float | None) -> float:
    return math.inf if score is None else score
