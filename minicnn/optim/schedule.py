"""Learning-rate schedules. Each multiplies the groups' initial learning rates by a factor of the step t = 0, 1, …

    schedule = CosineAnnealingLR(optimizer, T_max=steps)
    for ...:  ...;  optimizer.step();  schedule.step()

Call `step()` after each mini-batch or after each epoch, and count in the same unit.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

from minicnn.geometry import positive
from minicnn.nn.settings_text import settings
from minicnn.optim.optimizer import Optimizer


class Schedule:
    """lr(t) = factor(t)·lr(0) for every group of the optimiser."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer, self.t = optimizer, 0
        self.first = [group["lr"] for group in optimizer.param_groups]
        self._set()

    def factor(self, t: int, first: float) -> float:
        """The factor at step t of the initial learning rate `first`; implemented by each schedule."""
        raise NotImplementedError(f"{type(self).__name__} has no factor method")

    def step(self) -> None:
        """Move to the next step."""
        self.go_to(self.t + 1)

    def go_to(self, t: int) -> None:
        """Move to step t. A schedule has no other state, so a resumed run continues from here."""
        self.t = t
        self._set()

    def __repr__(self) -> str:
        rates = ", ".join(f"{group['lr']:.6g}" for group in self.optimizer.param_groups)
        return f"{type(self).__name__}({', '.join([*settings(self), f't={self.t}', f'lr={rates}'])})"

    def _set(self) -> None:
        for group, first in zip(self.optimizer.param_groups, self.first):
            group["lr"] = first * self.factor(self.t, first)


class ConstantLR(Schedule):
    """lr(t) = lr(0)"""

    def factor(self, t: int, first: float) -> float:
        """1"""
        return 1.0


class StepLR(Schedule):
    """lr(t) = lr(0)·γ^⌊t/step_size⌋"""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        self.step_size, self.gamma = positive("step_size", step_size), gamma
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """γ^⌊t/step_size⌋"""
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """lr(t) = lr(0)·γ^(number of milestones ≤ t)"""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """γ^(number of milestones ≤ t)"""
        return self.gamma ** bisect.bisect_right(self.milestones, t)


class CosineAnnealingLR(Schedule):
    """lr(t) = eta_min + ½·(lr(0) − eta_min)·(1 + cos(π·t/T_max)); eta_min from T_max on.   Loshchilov & Hutter 2016"""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max, self.eta_min = positive("T_max", T_max), eta_min
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """Half a cosine, from 1 down to eta_min/lr(0)."""
        low = self.eta_min / first if first else 0.0
        return low + (1 - low) * (1 + math.cos(math.pi * min(t, self.T_max) / self.T_max)) / 2


class PolynomialLR(Schedule):
    """lr(t) = lr(0)·(1 − t/total_iters)^power; 0 from total_iters on.   Liu et al. 2015 (ParseNet); power 1: linear"""

    def __init__(self, optimizer: Optimizer, total_iters: int, power: float = 1.0):
        self.total_iters, self.power = positive("total_iters", total_iters), power
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """(1 − t/total_iters)^power"""
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class ExponentialLR(Schedule):
    """lr(t) = lr(0)·γ^t"""

    def __init__(self, optimizer: Optimizer, gamma: float):
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """γ^t"""
        return self.gamma**t


class OneCycleLR(Schedule):
    """Rises along half a cosine from lr(0)/div_factor to lr(0), then falls to lr(0)/(div_factor·final_div_factor).

    The maximum is at t = pct_start·total_steps − 1, the end at total_steps − 1; after that the rate is constant. lr(0),
    the optimiser's lr, is PyTorch's max_lr. PyTorch also changes the momentum; this schedule does not.
    Smith & Topin 2017, "Super-convergence"
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, pct_start: float = 0.3, div_factor: float = 25.0,
                 final_div_factor: float = 1e4):
        if not 0 < pct_start < 1:
            raise ValueError(f"pct_start (={pct_start}) must be between 0 and 1: it is the fraction of the steps "
                             "in which the rate rises")
        self.total_steps, self.pct_start = positive("total_steps", total_steps), pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.low, self.end = 1 / div_factor, 1 / div_factor / final_div_factor
        super().__init__(optimizer)

    def factor(self, t: int, first: float) -> float:
        """The rise, then the fall."""
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if t < top:
            return _half_cosine(self.low, 1.0, t / top)
        return _half_cosine(1.0, self.end, min(1.0, (t - top) / (last - top)))


def _half_cosine(start: float, end: float, share: float) -> float:
    """The value at `share` (0 … 1) of half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class WarmUp(Schedule):
    """A linear rise from start·lr(0) to lr(0) in `steps` steps, then another schedule.   Goyal et al. 2017, §2.2

    The other schedule starts at its own t = 0 after the rise:
    `WarmUp(CosineAnnealingLR(optimizer, T_max=900), steps=100)`.
    """

    def __init__(self, after: Schedule, steps: int, start: float = 0.1):
        self.after, self.steps, self.start = after, positive("steps", steps, least=0), start
        self.optimizer, self.t, self.first = after.optimizer, 0, after.first
        self._set()

    def factor(self, t: int, first: float) -> float:
        """The rise, then the other schedule's factor."""
        if t < self.steps:
            return self.start + (1 - self.start) * t / self.steps
        return self.after.factor(t - self.steps, first)

    def __repr__(self) -> str:
        return super().__repr__().replace("WarmUp(", f"WarmUp({type(self.after).__name__}"
                                          f"({', '.join(settings(self.after))}), ", 1)  # fmt: skip
