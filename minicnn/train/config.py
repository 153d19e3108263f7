"""The settings of a training run, each declared once with its default, rule, group and help text.

The check, the TOML and JSON files, the options of `minicnn train` and `minicnn transfer` and the table in
docs/training.md all come from these declarations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from minicnn import data, devices, models
from minicnn.data import augment
from minicnn.data.preprocessing import FITS
from minicnn.geometry import positive
from minicnn.names import unknown

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "onecycle", "linear", "exponential", "step", "multistep", "constant")
CLASS_WEIGHTS = ("none", "balanced")
AUTO = "auto"

Rule = Callable[[str, Any], object]
"""rule(name, value) raises ValueError or TypeError, one sentence, if the value is not valid."""


def setting(default: Any, group: str, help_: str, rule: Rule | Sequence[str] = (), *, verbs: str = "train transfer",
            resume_may_change: bool = False) -> Any:
    """A field of Config. rule: a function, or the values to choose from. verbs: those with an option for it."""
    metadata = {"group": group, "help": help_, "rule": rule, "verbs": verbs, "resume_may_change": resume_may_change}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


# --------------------------------------------------------------------------------------------------------------- rules


def at_least(least: int) -> Rule:
    """The rule for an integer of at least `least`."""
    return lambda name, value: positive(name, value, least)


def not_negative(name: str, value: float) -> None:
    """0 or more, and finite."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} (={value}) must be a number of at least 0")


def above_zero(name: str, value: float) -> None:
    """More than 0, and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} (={value}) must be a number above 0")


def share(name: str, value: float) -> None:
    """0 … 1, without 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} (={value}) must be at least 0 and below 1")


def known_dataset(name: str, value: str) -> None:
    """A dataset by name, or a folder."""
    if value not in data.names() and not Path(value).is_dir():
        raise ValueError(unknown(name, value, data.names()) + "; and there is no folder of that name")


def known_augmentation(name: str, value: str) -> None:
    """Words for `augment.parse`, or auto."""
    if value != AUTO:
        augment.parse(value)


# ------------------------------------------------------------------------------------------------------------ settings


@dataclass
class Config:
    """The settings of a training run. Learning rates are for the given batch size; `warmup`, `milestones` in epochs."""

    dataset: str = setting("digits", "Data", "A dataset by name, or a folder of pictures with a folder for each class.",
                           known_dataset, verbs="")  # fmt: skip
    validation: float = setting(0.1, "Data", "Share of each class of the training images for validation, which chooses "
                                             "the best epoch.")  # fmt: skip
    test: float = setting(0.15, "Data", "Share of each class of a folder of pictures for testing.", share)
    fit: str = setting("crop", "Data", "How a picture is fitted to the net's size: stretch and pad keep all of it, "
                                       "crop keeps the centre.", FITS)  # fmt: skip
    size: int = setting(0, "Data", "Height and width of the images made from picture files; 0: the net's default.",
                        at_least(0))  # fmt: skip
    augment: str = setting(AUTO, "Data", "Changes to training images, in words: 'pad-crop:4 flip', 'random-resized "
                                         "jitter', none.", known_augmentation)  # fmt: skip
    class_weights: str = setting("none", "Data", "balanced: images of rare classes weigh more.", CLASS_WEIGHTS)
    workers: int = setting(-1, "Data", "Threads that read pictures; -1: one per core if there are files to decode.",
                           at_least(-1), resume_may_change=True)  # fmt: skip
    model: str = setting(AUTO, "Model", "The net: NAME or NAME:VARIANT. auto: lenet5 for grey datasets, resnet20 for "
                                        "colour and for folders.")  # fmt: skip
    options: dict = setting(dict, "Model", "Option of the net, such as width=0.5; may be repeated.")  # noqa: RUF009
    weights: str = setting("", "Model", "File with the weights of the body.", verbs="")
    unfreeze: str = setting("", "Model", "Parts of the body that are trained further: layer4, features.9- (from there "
                                         "on), all.", verbs="transfer")  # fmt: skip
    epochs: int = setting(20, "Optimisation", "Passes over the training images.", at_least(1))
    batch_size: int = setting(32, "Optimisation", "Images per batch.", at_least(1))
    optimizer: str = setting("adamw", "Optimisation", f"The optimiser: {', '.join(OPTIMIZERS)}.", OPTIMIZERS)
    lr: float = setting(2e-3, "Optimisation", "Highest learning rate.", above_zero)
    momentum: float = setting(0.9, "Optimisation", "Momentum of sgd.", not_negative)
    accumulate: int = setting(1, "Optimisation", "Batches per step of the optimiser.", at_least(1))
    clip: float = setting(0.0, "Optimisation", "Largest norm of all gradients together; 0: no limit.", not_negative)
    body_rate: float = setting(0.1, "Optimisation", "Learning rate of the last unfrozen block, as a fraction of --lr.",
                               above_zero, verbs="transfer")  # fmt: skip
    layer_decay: float = setting(0.8, "Optimisation", "Learning rate of each earlier block, as a fraction of the "
                                                      "next block's.", above_zero, verbs="transfer")  # fmt: skip
    seed: int = setting(0, "Optimisation", "Seed of all random numbers: the same seed gives the same run.", at_least(0))
    device: str = setting(AUTO, "Optimisation", "cpu, cuda or auto.", lambda name, value: devices.get(value),
                          resume_may_change=True)  # fmt: skip
    schedule: str = setting("cosine", "Schedule", f"Learning rate over time: {', '.join(SCHEDULES)}.", SCHEDULES)
    warmup: float = setting(1.0, "Schedule", "Epochs at the start over which the learning rate rises.", not_negative)
    milestones: list = setting(list, "Schedule", "Epochs after which the rate falls by --gamma (multistep): 82,123.")  # noqa: RUF009
    gamma: float = setting(0.1, "Schedule", "Factor by which it falls: at each step, or over the whole run "
                                            "(exponential).", above_zero)  # fmt: skip
    weight_decay: float = setting(0.05, "Regularisation", "Weight decay.", not_negative)
    label_smoothing: float = setting(0.0, "Regularisation", "Share of the target spread over all classes.", share)
    ema: float = setting(0.0, "Regularisation", "Evaluate and save a running average of the weights with this decay, "
                                                "such as 0.999; 0: none.", share)  # fmt: skip
    patience: int = setting(0, "Regularisation", "Stop after this many epochs without improvement; 0: never.",
                            at_least(0))  # fmt: skip
    checkpoint_steps: int = setting(0, "Saving", "Save every N steps, besides after each epoch; 0: off.",
                                    at_least(0), resume_may_change=True)  # fmt: skip
    checkpoint_seconds: float = setting(300.0, "Saving", "Save every N seconds; 0: off.",
                                        not_negative, resume_may_change=True)  # fmt: skip
    tensorboard: bool = setting(False, "Saving", "Write event files for TensorBoard.", resume_may_change=True)
    gradient_flow: bool = setting(False, "Debugging", "Record each layer's gradients and dead ReLUs after each epoch.",
                                  resume_may_change=True)  # fmt: skip
    overfit_batches: int = setting(0, "Debugging", "Train and validate on the same N batches: a net that cannot learn "
                                                   "them has a bug.", at_least(0))  # fmt: skip
    limit_batches: int = setting(0, "Debugging", "Use N batches of each split only; 0: all.", at_least(0))

    def check(self) -> Config:
        """Return self. ValueError or TypeError, one sentence, for the first invalid value."""
        for f in fields(self):
            rule, value = f.metadata["rule"], getattr(self, f.name)
            if callable(rule):
                rule(f.name, value)
            elif rule and value not in rule:
                raise ValueError(unknown(f.name, value, rule))
        if self.model.partition("::")[0].endswith(".py"):
            raise ValueError(f"model {self.model!r} is a file: a run takes a net of the zoo by name; train a net of "
                             "your own in Python, with minicnn.train.fit(net, data)")  # fmt: skip
        if self.model != AUTO:
            models.resolve(self.model, self.options)
        frozen = self.weights and not self.unfreeze  # then there is no epoch to choose
        if not (0 if frozen else 1e-9) <= self.validation < 1:
            raise ValueError(
                f"validation (={self.validation}) must be between 0 and 1: it is the share of the training "
                "images for validation, which chooses the best epoch"
            )
        for epoch in self.milestones:
            if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 < epoch < self.epochs:
                raise ValueError(f"milestones (={self.milestones}) must be epochs from 1 to {self.epochs - 1}, after "
                                 "each of which the learning rate falls")  # fmt: skip
        if bool(self.milestones) != (self.schedule == "multistep"):
            raise ValueError(f"milestones (={self.milestones}) are for the schedule 'multistep', which needs them; "
                             f"the schedule is {self.schedule!r}")  # fmt: skip
        return self


RESUME_MAY_CHANGE = tuple(f.name for f in fields(Config) if f.metadata["resume_may_change"])
"""Settings that do not change the result: a run may be resumed with other values."""
