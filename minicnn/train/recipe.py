"""From settings to a model's options, an optimiser, a schedule and weights of the classes."""

from __future__ import annotations

import numpy as np

from minicnn import optim
from minicnn.train.config import Config
from minicnn.train.source import Pictures


def model_options(config: Config, pictures: Pictures) -> dict:
    """What the model is built with: as many classes and channels as the pictures have, and what the settings say."""
    channels = pictures.preprocessing.channels
    return {"num_classes": len(pictures.classes), "in_channels": channels, **config.options}


def optimizer(config: Config, params) -> optim.Optimizer:
    """The optimiser of the settings over parameters, or over groups of them with rates of their own."""
    if config.optimizer == "sgd":
        return optim.SGD(params, config.lr, config.momentum, config.weight_decay)
    kind = {"adam": optim.Adam, "adamw": optim.AdamW}[config.optimizer]
    return kind(params, config.lr, weight_decay=config.weight_decay)


def schedule(config: Config, made: optim.Optimizer, steps_per_epoch: int) -> optim.Schedule:
    """The schedule of the settings, a step a batch, behind its warm-up."""
    whole = config.epochs * steps_per_epoch
    if config.schedule == "onecycle":  # which rises by itself
        return optim.OneCycleLR(made, whole)
    warmup = round(config.warmup * steps_per_epoch) if config.epochs > config.warmup else 0
    rest = whole - warmup
    after: optim.Schedule
    if config.schedule == "cosine":
        after = optim.CosineAnnealingLR(made, T_max=rest)
    elif config.schedule == "linear":
        after = optim.PolynomialLR(made, rest)
    elif config.schedule == "exponential":  # by gamma over the whole run
        after = optim.ExponentialLR(made, config.gamma ** (1 / rest))
    elif config.schedule == "step":
        after = optim.StepLR(made, step_size=max(1, -(-rest // 3)), gamma=config.gamma)
    elif config.schedule == "multistep":
        after = optim.MultiStepLR(made, [e * steps_per_epoch - warmup for e in config.milestones], gamma=config.gamma)
    else:
        after = optim.ConstantLR(made)
    return optim.WarmUp(after, warmup)


def class_weights(config: Config, labels: np.ndarray, classes: int) -> list[float] | None:
    """w[k] = N/(K·n[k]), so that each class weighs the same as a whole; None where all images shall count alike."""
    if config.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    return [float(len(labels) / (classes * max(1, n))) for n in counts]
