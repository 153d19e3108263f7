"""What to train and how: one flat list of settings, the same on the command line, in a TOML file and in config.json."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
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


@dataclass
class Config:
    """What to train, and how. Learning rates are for the batch size given; `warmup` and `milestones` are in epochs."""

    dataset: str = "digits"
    model: str = "lenet5"
    options: dict = field(default_factory=dict)
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adamw"
    lr: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 0.05
    schedule: str = "cosine"
    milestones: list = field(default_factory=list)
    gamma: float = 0.1
    warmup: float = 1.0
    label_smoothing: float = 0.0
    augment: str = "auto"
    validation: float = 0.1
    test: float = 0.15
    fit: str = "crop"
    size: int = 0
    class_weights: str = "none"
    clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    tensorboard: bool = False
    gradient_flow: bool = False
    patience: int = 0
    overfit_batches: int = 0
    limit_batches: int = 0
    workers: int = -1
    weights: str = ""
    unfreeze: str = ""
    body_rate: float = 0.1
    layer_decay: float = 0.8
    seed: int = 0
    device: str = "auto"
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 300.0

    def check(self) -> Config:
        """Self, if every value makes sense; otherwise one sentence about the first that does not."""
        check_dataset(self.dataset)
        for what, value, known in (
            ("fit", self.fit, FITS),
            ("model", self.model, models.names()),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("class_weights", self.class_weights, CLASS_WEIGHTS),
        ):
            if value not in known:
                raise ValueError(unknown(what, value, known))
        devices.get(self.device)
        for name, least in (("epochs", 1), ("batch_size", 1), ("size", 0), ("seed", 0), ("accumulate", 1),
                            ("patience", 0), ("overfit_batches", 0), ("limit_batches", 0), ("workers", -1),
                            ("checkpoint_steps", 0)):  # fmt: skip
            positive(name, getattr(self, name), least)
        for name in ("warmup", "momentum", "weight_decay", "clip", "checkpoint_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} (={getattr(self, name)}) must be a number of at least 0")
        if self.augment != "auto":
            augment.parse(self.augment)
        for name in ("label_smoothing", "ema", "test"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be at least 0 and below 1")
        frozen = self.weights and not self.unfreeze  # then no epoch has to be chosen
        if not (0 if frozen else 1e-9) <= self.validation < 1:
            raise ValueError(
                f"validation (={self.validation}) must lie between 0 and 1: it is the share of the training "
                "images that is kept aside to choose the best epoch by"
            )
        for name in ("lr", "gamma", "body_rate", "layer_decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} (={getattr(self, name)}) must be a number above 0")
        self._check_milestones()
        return self

    def _check_milestones(self):
        for epoch in self.milestones:
            if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 < epoch < self.epochs:
                raise ValueError(f"milestones (={self.milestones}) must be epochs from 1 to {self.epochs - 1}, after "
                                 "each of which the learning rate falls")  # fmt: skip
        if bool(self.milestones) != (self.schedule == "multistep"):
            raise ValueError(f"milestones (={self.milestones}) belong to the schedule 'multistep', which needs them; "
                             f"the schedule is {self.schedule!r}")  # fmt: skip


HOW_OFTEN = ("checkpoint_steps", "checkpoint_seconds", "device", "workers", "tensorboard", "gradient_flow")
"""Settings that do not change what is learned, so that a run may go on with others."""


def read(values: Any, where: str = "") -> Config:
    """The Config of names and values; ValueError names the file `where`, the setting and what it must be."""
    where = where and f"{where}: "
    if not isinstance(values, dict):
        raise ValueError(f"{where}settings must have names, not be of type {type(values).__name__}")
    known = {f.name: f for f in fields(Config)}
    given = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{where}{unknown('setting', str(name), known)}")
        kind = str(known[name].type)
        if kind == "float" and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value).__name__ != kind:
            raise ValueError(f"{where}{name} must be a value of type {kind}, not {value!r:.60}")
        given[name] = value
    try:
        return Config(**given).check()
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{where}{problem}") from None


def check_dataset(name: str) -> None:
    """ValueError unless it names a dataset or a folder."""
    if name not in data.names() and not Path(name).is_dir():
        raise ValueError(unknown("dataset", name, data.names()) + "; and there is no folder of that name")


def absolute(config: Config) -> Config:
    """The same with whole paths: a run may go on from another place."""
    def whole(path):
        return str(Path(path).resolve()) if path and path not in data.names() else path

    return replace(config, dataset=whole(config.dataset), weights=whole(config.weights))


def from_toml(path: Path) -> dict:
    """The settings in a TOML file, as they stand there: `lr = 0.01`, a line each; `read` makes a Config of them."""
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file of settings {path}: check the name and the folder") from None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path} is no TOML ({problem}): write a setting a line, such as lr = 0.01") from None
    read(values, str(path))
    return values


def from_json(path: Path) -> Config:
    """The Config in a run's config.json."""
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path} can't be read ({problem}): take it from a copy, or train again") from None
    return read(values, str(path))


def differences(a: Config, b: dict) -> str:
    """How the settings `b` differ from `a` where it matters for what is learned: "model is 'x', not 'y'", or ""."""
    mine = asdict(a)
    names = [name for name in {**mine, **b} if name not in HOW_OFTEN and mine.get(name) != b.get(name)]
    return ", ".join(f"{name} is {b.get(name)!r}, not {mine.get(name)!r}" for name in names)
