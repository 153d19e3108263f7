"""One training of one arm: a function of the claim's file, the size, the arm, the learning rate and the seed.

The record that it returns holds nothing else, neither times nor the machine, so that a repeated job gives its bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from minicnn import rng
from minicnn.claims.claim import Arm, Plan
from minicnn.claims.images import Images
from minicnn.nn import Module
from minicnn.train import build
from minicnn.train.loop import Evaluation, NonFiniteLossError, evaluate, train_epoch
from minicnn.train.source import preparer

NO_BETTER = 0.98
"""A net has not learned if its training error is this share of that of always saying the most frequent class."""


@dataclass
class Trained:
    """A net after its training, for a plan's `measure`. The test images are open, except in a pilot."""

    model: Module
    images: Images
    plan: Plan
    seed: int
    device: str

    def evaluate(self, images: Any) -> Evaluation:
        """Loss and errors on images, such as `trained.images.test.open()`."""
        return evaluate(self.model, self.images.splits.evaluated(images), preparer(self.device), self.images.classes)


def run(plan: Plan, arm: Arm, rate: float, seed: int, pilot: bool = False, device: str = "cpu",
        folder: str = "") -> dict[str, Any]:  # fmt: skip
    """Train one net and measure it. → its record:

    {"arm", "rate", "seed", "pilot", "diverged", "reached": whether it reached the plan's goal,
     "values": {quantity: number}, "curve": the mean training error of each epoch, in %}

    diverged: the loss was infinite, or the net is no better than guessing at the end.

    Quantities, errors in %: train_error and train_loss at the end, test_error, gap = test_error − train_error; in a
    pilot validation_error and validation_loss instead of the test's; and those of `measure`. A plan with a goal has one
    quantity, `epochs`: when the goal was reached, or all epochs if it was not.
    """
    plan = replace(plan, **arm.settings)
    rng.seed(seed + (arm.stream << 32))
    images = Images(plan, arm, seed, pilot, folder)
    model = arm.net().to(device)
    if arm.before is not None:
        arm.before(model, images.splits, plan, seed, device)
    record: dict[str, Any] = {"arm": arm.name, "rate": rate, "seed": seed, "pilot": pilot, "diverged": False,
                              "reached": plan.goal is None, "values": {}, "curve": []}  # fmt: skip
    try:
        _train(plan, model, images, rate, seed + (arm.stream << 32), device, record)
    except NonFiniteLossError:
        record["diverged"] = True
    images.test.training_is_over()
    record["values"] = {name: _rounded(x) for name, x in _values(plan, model, images, seed, device, record).items()}
    return record


def _train(plan: Plan, model: Module, images: Images, rate: float, seed: int, device: str, record: dict) -> None:
    """Train until the goal or the last epoch; the record gets the error of each epoch."""
    if not plan.epochs:
        return
    loader = images.splits.loader(images.train, plan.batch_size, 0 if images.splits.in_memory else -1, plan.augment,
                                  shuffle=True, seed=seed)  # fmt: skip
    optimizer = build.optimizer(plan.optimizer, model.parameters(), rate, plan.momentum, plan.weight_decay)
    schedule = build.schedule(plan.schedule, optimizer, plan.epochs, len(loader), milestones=plan.milestones)
    prepare = preparer(device)
    with loader:
        for _ in range(plan.epochs):
            _, right = train_epoch(model, loader, prepare, optimizer, schedule, first_step=schedule.t,
                                   clip=plan.clip)  # fmt: skip
            record["curve"].append(_rounded(100 * (1 - right)))
            if plan.goal is not None and record["curve"][-1] <= plan.goal:
                record["reached"] = True
                return


def _values(plan: Plan, model: Module, images: Images, seed: int, device: str, record: dict) -> dict[str, Any]:
    """The quantities at the end of a training."""
    values: dict[str, Any] = {}
    if plan.goal is not None:
        values["epochs"] = crossing(record["curve"], plan.goal) if record["reached"] else float(plan.epochs)
        return values
    trained = Trained(model, images, plan, seed, device)
    if plan.epochs and not record["diverged"]:
        result = trained.evaluate(images.train)
        values |= {"train_error": _error(result), "train_loss": result.loss}
        # dead units, for example, learn nothing any more
        record["diverged"] = values["train_error"] >= NO_BETTER * 100 * (1 - images.most_frequent)
    if record["diverged"]:
        guessing = _guessing(images)
        held_out = "validation_error" if record["pilot"] else "test_error"
        return {"train_error": guessing, held_out: guessing, "gap": 0.0}
    if plan.epochs:
        if record["pilot"] and images.validation is not None:
            result = trained.evaluate(images.validation)
            values |= {"validation_error": _error(result), "validation_loss": result.loss}
        if not record["pilot"]:
            values["test_error"] = _error(trained.evaluate(images.test.open()))
            values["gap"] = values["test_error"] - values["train_error"]
    if plan.measure is not None and not record["pilot"]:
        values |= plan.measure(trained)
    return values


def _guessing(images: Images) -> float:
    """The error of guessing, in %."""
    return 100 * (1 - 1 / images.classes)


def crossing(curve: list[float], goal: float) -> float:
    """When the training error reached the goal, in epochs, on the line between two epochs' means.

    The mean of epoch e, from 1 on, is the error at its middle, e − ½. The first mean may already be below the goal.
    """
    now = curve[-1]
    if len(curve) == 1:
        return 0.5
    before = curve[-2]
    return len(curve) - 1.5 + (before - goal) / (before - now)


def _error(result: Evaluation) -> float:
    return 100 * (1 - result.accuracy)


def _rounded(x: Any) -> Any:
    """Numbers with nine digits, which JSON files show fully; NaN and infinity as None."""
    if isinstance(x, (list, tuple)):
        return [_rounded(item) for item in x]
    return float(f"{float(x):.9g}") if x is not None and math.isfinite(x) else None

