"""A training run and its folder.

config.json         everything that was asked for: enough to do it again
metrics.jsonl       a line an epoch
best.safetensors    the model with the best validation accuracy (its weights, classes and preprocessing)
last.safetensors    the model after the last epoch
test.json           what the best model does on the test images
env.json            machine and versions
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import threadpoolctl

import minicnn
from minicnn import data, devices, models, optim, rng
from minicnn.contract import positive
from minicnn.data.augment import random_shift
from minicnn.io import atomic, model_file
from minicnn.names import unknown
from minicnn.tensor import Tensor, no_grad
from minicnn.train.loop import Evaluation, NonFiniteLossError, evaluate, train_epoch

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "constant")
FILES = (
    "metrics.jsonl", "test.json", "best.safetensors", "last.safetensors",
    "curves.png", "confusion.png", "filters.png", "sample.png",
)  # fmt: skip
"""What a run leaves beside config.json and env.json; a run that replaces another takes the other's away first."""


@dataclass
class Config:
    """What to train, and how. Learning rates are for the batch size given; `warmup` is in epochs."""

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
    warmup: float = 1.0
    label_smoothing: float = 0.0
    shift: int = 2
    validation: float = 0.1
    seed: int = 0
    device: str = "auto"

    def check(self) -> Config:
        """Self, if every value makes sense; otherwise one sentence about the first that does not."""
        for what, value, known in (
            ("dataset", self.dataset, data.names()),
            ("model", self.model, models.names()),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                raise ValueError(unknown(what, value, known))
        devices.get(self.device)
        for name, least in (("epochs", 1), ("batch_size", 1), ("shift", 0), ("seed", 0)):
            positive(name, getattr(self, name), least)
        for name in ("warmup", "momentum", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} (={getattr(self, name)}) must be a number of at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing (={self.label_smoothing}) must be at least 0 and below 1")
        if not 0 < self.validation < 1:
            raise ValueError(
                f"validation (={self.validation}) must lie between 0 and 1: it is the share of the training "
                "images that is kept aside to choose the best epoch by"
            )
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr (={self.lr}) must be a number above 0")
        return self


class Run:
    """One training run in one folder: `Run(config, "runs/first").train()`, then `.test()`."""

    def __init__(self, config: Config, folder: str | Path, overwrite: bool = False):
        self.config, self.folder = config.check(), Path(folder)
        # not only a whole run: a config.json or a test.json may be somebody's own, of quite another kind
        if not overwrite and any((self.folder / name).exists() for name in ("config.json", "env.json", *FILES)):
            raise FileExistsError(
                f"{self.folder} holds a run already, which stays as it is: give another folder, or "
                "--overwrite to replace it"
            )
        self.bundle = data.load(config.dataset)
        rng.seed(config.seed)
        self.training, self.validation = stratified_split(self.bundle.train, config.validation, rng.generator())
        channels, _, _ = self.bundle.train.images.shape[1:]
        options = {"num_classes": len(self.bundle.classes), "in_channels": channels, **config.options}
        self.model = models.build(config.model, **options).to(config.device)
        self.prepare = preparer(self.bundle.mean, self.bundle.std, config.device)
        self.description = model_file.Description(
            config.model,
            options,
            list(self.bundle.classes),
            list(self.bundle.train.images.shape[1:]),
            list(self.bundle.mean),
            list(self.bundle.std),
            trained_on=config.dataset,
        )
        self.metrics: list[dict] = []
        self._try_one_image()
        self.steps_per_epoch = -(-len(self.training) // config.batch_size)
        self.optimizer, self.schedule = self._optimizer()
        self._make_folder()

    def train(
        self,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_epoch: Callable[[dict], None] = lambda record: None,
    ) -> list[dict]:
        """All epochs. on_step(step, loss) after each batch, on_epoch(record) after each epoch. → the records"""
        best = (-1.0, 0.0)
        for epoch in range(1, self.config.epochs + 1):
            started = time.perf_counter()
            loss, accuracy = train_epoch(
                self.model,
                self._batches(),
                self.prepare,
                self.optimizer,
                self.schedule,
                label_smoothing=self.config.label_smoothing,
                first_step=(epoch - 1) * self.steps_per_epoch,
                on_step=on_step,
            )
            seconds = time.perf_counter() - started
            result = self.evaluate(self.validation)
            if not np.isfinite(result.loss):  # the last step of the epoch spoilt the weights: keep what was saved
                raise NonFiniteLossError(
                    f"the validation loss is {result.loss} after epoch {epoch}: try a smaller learning rate than "
                    f"{self.config.lr:.3g}, or a warm-up"
                )
            record = {
                "epoch": epoch,
                "loss": loss,
                "accuracy": accuracy,
                "val_loss": result.loss,
                "val_accuracy": result.accuracy,
                "lr": self.optimizer.param_groups[0]["lr"],
                "seconds": seconds,
            }
            score = (result.accuracy, -result.loss)
            record["best"] = score > best
            if record["best"]:
                best = score
                self._save("best.safetensors")
            self._save("last.safetensors")
            self.metrics.append(record)
            with open(self.folder / "metrics.jsonl", "a") as file:
                file.write(json.dumps(record) + "\n")
            on_epoch(record)
        return self.metrics

    def test(self) -> Evaluation:
        """What the best model does on the test images; also written to test.json."""
        self.model, _ = model_file.load(self.folder / "best.safetensors")
        self.model.to(self.config.device)
        result = self.evaluate(self.bundle.test)
        self._write(
            "test.json",
            {
                "accuracy": result.accuracy,
                "loss": result.loss,
                "images": len(self.bundle.test),
                "confusion": result.confusion.tolist(),
            },
        )
        return result

    def evaluate(self, dataset) -> Evaluation:
        """Loss and confusion matrix of the model as it is now."""
        return evaluate(self.model, data.Batches(dataset, 500, shuffle=False), self.prepare, len(self.bundle.classes))

    def _try_one_image(self):
        """A sentence, before any file is written, if the model does not take these images or tell these classes."""
        c, shape = self.config, self.bundle.train.images.shape[1:]
        fits = f"{c.model} was made for {models.input_shape(c.model)}: choose another model or dataset"
        try:
            with no_grad():
                outputs = self.model.eval()(self.prepare(self.bundle.train.images[:1])).shape[1:]
        except ValueError as problem:
            raise ValueError(f"{c.model} does not take the {shape} images of {c.dataset} ({problem}); {fits}") from None
        if outputs != (len(self.bundle.classes),):
            raise ValueError(f"{c.model} gives outputs of shape {outputs}, but {c.dataset} has "
                             f"{len(self.bundle.classes)} classes: set num_classes to that")

    def _batches(self):
        for images, labels in data.Batches(self.training, self.config.batch_size, shuffle=True, rng=rng.generator()):
            yield (random_shift(images, self.config.shift, rng.generator()) if self.config.shift else images), labels

    def _optimizer(self):
        c, params = self.config, self.model.parameters()
        optimizer: optim.Optimizer
        if c.optimizer == "sgd":
            optimizer = optim.SGD(params, c.lr, c.momentum, weight_decay=c.weight_decay)
        else:
            optimizer = {"adam": optim.Adam, "adamw": optim.AdamW}[c.optimizer](
                params, c.lr, weight_decay=c.weight_decay
            )
        warmup = round(c.warmup * self.steps_per_epoch) if c.epochs > c.warmup else 0
        rest = c.epochs * self.steps_per_epoch - warmup
        schedule: optim.Schedule
        if c.schedule == "cosine":
            schedule = optim.CosineAnnealingLR(optimizer, T_max=rest)
        elif c.schedule == "step":
            schedule = optim.StepLR(optimizer, step_size=max(1, -(-rest // 3)))
        else:
            schedule = optim.ConstantLR(optimizer)
        return optimizer, optim.WarmUp(schedule, warmup)

    def _make_folder(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        self._write("config.json", asdict(self.config))
        self._write("env.json", environment(self.config.device))

    def _save(self, name):
        model_file.save(self.folder / name, self.model, self.description)

    def _write(self, name, values):
        atomic.write(self.folder / name, (json.dumps(values, indent=1) + "\n").encode())


def preparer(mean, std, device: str = "cpu") -> Callable:
    """The function from uint8 images (N,C,H,W) to the Tensor that a model trained with this mean and std takes."""
    return lambda images: Tensor(data.normalise(images, mean, std), device=devices.get(device).name)


def stratified_split(dataset, share: float, generator: np.random.Generator):
    """(the rest, `share` of the images of every class, at least one of each), drawn with `generator`."""
    aside = np.zeros(len(dataset), bool)
    for label in np.unique(dataset.labels):
        members = np.flatnonzero(dataset.labels == label)
        aside[generator.permutation(members)[: max(1, round(share * len(members)))]] = True
    return (
        data.Dataset(dataset.images[~aside], dataset.labels[~aside]),
        data.Dataset(dataset.images[aside], dataset.labels[aside]),
    )


def environment(device: str = "cpu") -> dict:
    """The machine and the versions that a figure was measured with."""
    blas = [
        f"{lib['internal_api']} {lib['version']}, {lib['num_threads']} threads"
        for lib in threadpoolctl.threadpool_info()
        if lib["user_api"] == "blas"
    ]
    return {
        "minicnn": minicnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "device": devices.get(device).name,
    }
