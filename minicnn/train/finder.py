"""Search for a learning rate: increase it at each step, and find where the loss falls and where it stops falling.

Smith 2015, "Cyclical learning rates for training neural networks", §3.3
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minicnn.data.figures import figure
from minicnn.train.loop import NonFiniteLossError, train_epoch
from minicnn.train.shared import Shared

if TYPE_CHECKING:
    from minicnn.train.run import Run

SMOOTH = 0.9
WORSE = 4.0
"""The search ends where the smoothed loss is WORSE times the smallest one so far."""


@dataclass
class Search:
    """The learning rates that were tried, the loss at each, the smoothed losses, and the suggestion.

    least: the rate with the smallest smoothed loss.   steepest: the one at which it falls fastest over log(rate).
    suggestion: a tenth of `least`: there the loss is about to rise, and a whole run must stay stable.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    least: float
    steepest: float
    suggestion: float


def find_lr(run: Run, low: float = 1e-6, high: float = 1.0, steps: int = 100,
            on_step: Callable[[int], None] = lambda done: None) -> Search:  # fmt: skip
    """Train `steps` steps while the rate grows from low to high, by the same factor each time. This ruins the model.

    The loss is smoothed as s ← 0.9·s + 0.1·loss, divided by 1 − 0.9ᵗ. ValueError where it never falls. Of several ranks
    (run.team) each computes a piece of the batches, and all get the same result.
    """
    if not 0 < low < high:
        raise ValueError(f"the rates to try, {low:g} to {high:g}, must be above 0, the lower one first")
    rates, losses, smoothed = [], [], []
    mean = 0.0
    groups = run.state.optimizer.param_groups
    shares = [first / max(run.state.schedule.first) for first in run.state.schedule.first]

    def batches():
        for epoch in itertools.count():
            run.loader.epoch, run.loader.batch = epoch, 0
            yield from run.loader

    class Growing:
        """The schedule: low·(high/low)^(t/(steps − 1))."""

        t = 0

        def step(self):
            self.t += 1
            self.set()

        def set(self):
            for group, share in zip(groups, shares):
                group["lr"] = share * low * (high / low) ** (self.t / max(1, steps - 1))

    growing = Growing()
    growing.set()

    def after(step, loss):
        nonlocal mean
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        rates.append(low * (high / low) ** (step / max(1, steps - 1)))
        losses.append(loss)
        smoothed.append(mean / (1 - SMOOTH ** len(losses)))
        on_step(len(losses))
        if smoothed[-1] > WORSE * min(smoothed) or len(losses) == steps:
            raise _EnoughError

    with contextlib.suppress(_EnoughError, NonFiniteLossError):
        train_epoch(
            run.model, batches(), run.prepare, run.state.optimizer, growing,  # type: ignore[arg-type]
            weight=run.weight, label_smoothing=run.config.label_smoothing, accumulate=run.config.accumulate,
            shared=Shared(run.model, run.team), on_step=after,
        )  # fmt: skip
    least, steepest = _marks(rates, smoothed)
    return Search(rates, losses, smoothed, least, steepest, least / 10)


class _EnoughError(Exception):
    pass


def _marks(rates, smoothed):
    """The rates at which the smoothed loss is least, and before that falls fastest."""
    begin = min(10, len(rates) // 4)                       # the first few are hardly smoothed yet
    least = int(np.argmin(smoothed[begin:])) + begin if len(smoothed) > begin else 0
    if least - begin < 2:
        raise ValueError("the loss falls at no learning rate: check the data and the model, or try more steps")
    slope = np.gradient(np.asarray(smoothed[begin : least + 1]), np.log(rates[begin : least + 1]))
    return float(rates[least]), float(rates[begin + int(np.argmin(slope))])


def draw(search: Search, path: str | Path) -> None:
    """The loss over the learning rate, with the marks."""
    fig = figure(7, 4)
    ax = fig.subplots()
    ax.plot(search.rates, search.losses, color="0.75", linewidth=0.8, label="loss of each batch")
    ax.plot(search.rates, search.smoothed, label="smoothed")
    ax.axvline(search.steepest, color="0.5", linestyle=":", label=f"falls fastest at {search.steepest:.2g}")
    ax.axvline(search.least, color="0.5", linestyle="--", label=f"is least at {search.least:.2g}")
    ax.axvline(search.suggestion, color="tab:red", label=f"a tenth of that: {search.suggestion:.2g}")
    ax.set_xscale("log")
    top = max(search.smoothed[0], min(search.smoothed)) * 1.5
    ax.set_ylim(0, top)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss (cross entropy)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    fig.savefig(path)
