"""Learning rates over time. A schedule multiplies each group's first learning rate by a factor of the step t = 0, 1, …

    schedule = CosineAnnealingLR(optimizer, T_max=steps)
    for ...:  ...;  optimizer.step();  schedule.step()

A step is whatever you call `step()` for: a mini-batch or an epoch.
"""

from __future__ import annotations

import bisect
import math

from minicnn.geometry import positive
from minicnn.optim.optimizer import Optimizer


class Schedule:
    """lr(t) = factor(t)·lr(0) for every group of the optimiser."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer, self.t = optimizer, 0
        self.first = [group["lr"] for group in optimizer.param_groups]
        self._set()

    def factor(self, t: int, first: float) -> float:
        """What the first learning rate `first` is multiplied by at step t; every schedule has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no factor method")

    def step(self) -> None:
        """Go on by one step."""
        self.go_to(self.t + 1)

    def go_to(self, t: int) -> None:
        """Be at step t: a schedule has no other memory, so that training can go on from there."""
        self.t = t
        self._set()

    def _set(self):
        for group, first in zip(self.optimizer.param_groups, self.first):
            group["lr"] = first * self.factor(self.t, first)


class ConstantLR(Schedule):
    """lr(t) = lr(0)"""

    def factor(self, t, first):
        """1"""
        return 1.0


class StepLR(Schedule):
    """lr(t) = lr(0)·γ^⌊t/step_size⌋"""

    def __init__(self, optimizer, step_size, gamma=0.1):
        self.step_size, self.gamma = positive("step_size", step_size), gamma
        super().__init__(optimizer)

    def factor(self, t, first):
        """γ^⌊t/step_size⌋"""
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """lr(t) = lr(0)·γ^(number of milestones ≤ t)"""

    def __init__(self, optimizer, milestones, gamma=0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t, first):
        """γ^(number of milestones ≤ t)"""
        return self.gamma ** bisect.bisect_right(self.milestones, t)


class CosineAnnealingLR(Schedule):
    """lr(t) = eta_min + ½·(lr(0) − eta_min)·(1 + cos(π·t/T_max)); eta_min from T_max on.   Loshchilov & Hutter 2016"""

    def __init__(self, optimizer, T_max, eta_min=0.0):
        self.T_max, self.eta_min = positive("T_max", T_max), eta_min
        super().__init__(optimizer)

    def factor(self, t, first):
        """The cosine's half wave, from 1 down to eta_min/lr(0)."""
        low = self.eta_min / first if first else 0.0
        return low + (1 - low) * (1 + math.cos(math.pi * min(t, self.T_max) / self.T_max)) / 2


class PolynomialLR(Schedule):
    """lr(t) = lr(0)·(1 − t/total_iters)^power; 0 from total_iters on.   Liu et al. 2015 (ParseNet); power 1: a line"""

    def __init__(self, optimizer, total_iters, power=1.0):
        self.total_iters, self.power = positive("total_iters", total_iters), power
        super().__init__(optimizer)

    def factor(self, t, first):
        """(1 − t/total_iters)^power"""
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class ExponentialLR(Schedule):
    """lr(t) = lr(0)·γ^t"""

    def __init__(self, optimizer, gamma):
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t, first):
        """γ^t"""
        return self.gamma**t


class OneCycleLR(Schedule):
    """Up along half a cosine from lr(0)/div_factor to lr(0), down along another to lr(0)/(div_factor·final_div_factor).

    The top is at t = pct_start·total_steps − 1, the end at total_steps − 1; then it stays. lr(0), the optimiser's, is
    PyTorch's max_lr. Momentum, which PyTorch cycles too, is left alone.   Smith & Topin 2017, "Super-convergence"
    """

    def __init__(self, optimizer, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
        if not 0 < pct_start < 1:
            raise ValueError(f"pct_start (={pct_start}) must lie between 0 and 1, the share of the steps that rise")
        self.total_steps, self.pct_start = positive("total_steps", total_steps), pct_start
        self.low, self.end = 1 / div_factor, 1 / div_factor / final_div_factor
        super().__init__(optimizer)

    def factor(self, t, first):
        """The two half waves."""
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if t < top:
            return _wave(self.low, 1.0, t / top)
        return _wave(1.0, self.end, min(1.0, (t - top) / (last - top)))


def _wave(start, end, share):
    """From start to end along half a cosine, `share` of the way."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class WarmUp(Schedule):
    """Another schedule, behind `steps` steps that rise linearly from start·lr(0) to lr(0).   Goyal et al. 2017, §2.2

    The inner schedule starts at its own t = 0 when the rise is over:
    `WarmUp(CosineAnnealingLR(optimizer, T_max=900), steps=100)`.
    """

    def __init__(self, after: Schedule, steps, start=0.1):
        self.after, self.steps, self.start = after, positive("steps", steps, least=0), start
        self.optimizer, self.t, self.first = after.optimizer, 0, after.first
        self._set()

    def factor(self, t, first):
        """The rise, then the inner schedule's factor."""
        if t < self.steps:
            return self.start + (1 - self.start) * t / self.steps
        return self.after.factor(t - self.steps, first)
