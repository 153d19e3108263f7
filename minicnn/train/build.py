"""The objects that the settings define: model options, images that fit, optimiser, schedule, class weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from minicnn import models, optim
from minicnn.data import Splits
from minicnn.names import unknown
from minicnn.nn import Module
from minicnn.tensor import no_grad
from minicnn.train.config import Config
from minicnn.train.source import input_shape, preparer

MARGIN = 8
"""Images may be this many pixels smaller, per side, than the net's size: they get a margin."""


def model_options(config: Config, splits: Splits) -> tuple[str, dict]:
    """The model's name without its variant, and its options: classes and channels of the data, then the settings."""
    numbers = {"num_classes": len(splits.classes), "in_channels": splits.preprocessing.channels}
    return models.resolve(config.model, {**numbers, **config.options})


def fit_images(model: Module, config: Config, splits: Splits) -> Splits:
    """The splits with images that the model takes: unchanged, or with a margin if they are slightly too small.

    ValueError, one sentence, where the model takes neither, or gives outputs for another number of classes.
    """
    shape, classes = splits.preprocessing.shape, len(splits.classes)
    made_for = input_shape(config)
    missing = made_for[1] - shape[1], made_for[2] - shape[2]
    try:
        outputs = _outputs(model, shape, config)
    except ValueError as problem:
        if splits.in_memory and min(missing) >= 0 and 0 < max(missing) <= MARGIN:
            black = (0, 0, 0)  # as around the digits
            padded = replace(splits.preprocessing, size=made_for[1:], margin=missing, background=black)
            return fit_images(model, config, splits.with_preprocessing(padded))
        raise ValueError(f"{config.model} does not take the {shape} images of {config.dataset} ({problem}); "
                         f"{config.model} was made for {made_for}: choose another model or dataset") from None
    if outputs != (classes,):
        raise ValueError(f"{config.model} gives outputs of shape {outputs}, but {config.dataset} has {classes} "
                         "classes: set num_classes to that")  # fmt: skip
    return splits


def _outputs(model: Module, shape: tuple[int, ...], config: Config) -> tuple[int, ...]:
    with no_grad(), model.evaluating():
        return model(preparer(config.device)(np.zeros((1, *shape), np.float32))).shape[1:]


def optimizer(name: str, params, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> optim.Optimizer:
    """An optimiser by name over parameters, or over groups of them with their own learning rates."""
    if name == "sgd":
        return optim.SGD(params, lr, momentum, weight_decay)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[name](params, lr, weight_decay=weight_decay)


def schedule(name: str, made: optim.Optimizer, epochs: int, steps_per_epoch: int, *, warmup: float = 0.0,
             gamma: float = 0.1, milestones: Sequence[int] = ()) -> optim.Schedule:  # fmt: skip
    """A schedule by name, one step per batch, after a warm-up; warmup and milestones in epochs."""
    whole = epochs * steps_per_epoch
    if name == "onecycle":  # includes a warm-up
        return optim.OneCycleLR(made, whole)
    first = round(warmup * steps_per_epoch) if epochs > warmup else 0
    rest = whole - first
    after: optim.Schedule
    if name == "cosine":
        after = optim.CosineAnnealingLR(made, T_max=rest)
    elif name == "linear":
        after = optim.PolynomialLR(made, rest)
    elif name == "exponential":  # by gamma over the whole run
        after = optim.ExponentialLR(made, gamma ** (1 / rest))
    elif name == "step":
        after = optim.StepLR(made, step_size=max(1, -(-rest // 3)), gamma=gamma)
    elif name == "multistep":
        after = optim.MultiStepLR(made, [e * steps_per_epoch - first for e in milestones], gamma=gamma)
    else:
        after = optim.ConstantLR(made)
    return optim.WarmUp(after, first)


def check(setting: str, value: str) -> None:
    """ValueError for a value that this setting can't have."""
    known = Config.__dataclass_fields__[setting].metadata["rule"]
    if value not in known:
        raise ValueError(unknown(setting, value, known))


def class_weights(how: str, labels: np.ndarray, classes: int) -> list[float] | None:
    """"balanced": w[k] = N/(K·n[k]), so that all classes have the same total weight. "none": None."""
    if how == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    return [float(len(labels) / (classes * max(1, n))) for n in counts]
