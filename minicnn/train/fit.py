"""Train a net of your own in one call, without files: `fit(net, data.load("digits"), epochs=5)`."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from minicnn import rng
from minicnn.data import Dataset, Preprocessing, Splits, stratified
from minicnn.data.transforms import channel_statistics
from minicnn.nn import Module
from minicnn.optim import Optimizer
from minicnn.ranks import Alone
from minicnn.tensor import Tensor
from minicnn.train import build, plots
from minicnn.train.loop import evaluate, train_epoch
from minicnn.train.shared import Pieces, Shared


@dataclass
class History:
    """The result of `fit`: one record for each epoch. `print` shows a table."""

    records: list[dict] = field(default_factory=list)
    stopped: bool = False
    """Whether Ctrl-C ended the training."""
    preprocessing: Preprocessing | None = None
    """How images became the net's input; use it for your own pictures. None: `fit` got floats or batches."""

    @property
    def best(self) -> dict[str, Any]:
        """The record of the best epoch, whose weights the net now has. ValueError before the first epoch."""
        if not self.records:
            raise ValueError("no epoch was finished, so there is no best one")
        return next(r for r in reversed(self.records) if r["best"])

    def __getitem__(self, name: str) -> list[Any]:
        """The values of one metric, one for each epoch: history["val_accuracy"]."""
        return [record[name] for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def plot(self) -> Any:
        """Loss, error rate and learning rate over the epochs. → a matplotlib figure"""
        if not self.records:
            raise ValueError("no epoch was finished, so there is nothing to plot")
        return plots.curves(self.records)

    def __repr__(self) -> str:
        lines = [line(record, len(self.records)) for record in self.records]
        return "\n".join([*lines, "stopped by Ctrl-C" if self.stopped else ""]).rstrip() or "no epoch was finished"


def fit(net: Module, data: Any, *, epochs: int = 10, batch_size: int = 32, lr: float = 1e-3,
        optimizer: str | Optimizer = "adamw", schedule: str = "constant", validation: Any = 0.1,
        augment: str | None = None, label_smoothing: float = 0.0, class_weights: str = "none",
        on_epoch: Callable[[dict], None] | None = None, on_step: Callable[[int, float], None] | None = None,
        verbose: bool = True, team: Alone | None = None) -> History:  # fmt: skip
    """Train `net` and leave it with the weights of its best epoch, in eval mode. → its History

    data         `data.load(…)`; a Dataset; (images, labels), two arrays; or batches, an iterable of (images, labels)
                 that starts again each time, such as a list or a Loader. Bytes (N,C,H,W) are normalised by the mean and
                 standard deviation of each channel; floats are used unchanged. Labels are integers from 0
    validation   the share of each class for validation, if the data has no validation split; or data like the first
                 argument. Validation chooses the best epoch; with 0 or None the training loss does
    augment      changes to training images, in words: "pad-crop:2 flip"; for `data.load` and arrays of bytes
    optimizer    adamw, adam, sgd; or an Optimizer with its own learning rate
    schedule     constant, cosine, onecycle, linear, exponential or step: the learning rate over the epochs
    on_epoch     is called with each epoch's record: epoch, loss, accuracy, val_loss, val_accuracy, lr, seconds, best
    on_step      is called with the number of each step, from 0, and its loss
    verbose      a progress bar in a terminal or notebook, and a line for each epoch
    team         the ranks that share each batch, from `ranks.joined()`: every rank calls fit with the same arguments,
                 and all end with the same weights; rank 0 shows the progress

    The order of the images depends on `minicnn.seed`. Ctrl-C ends the training; the best weights so far are kept.
    The training loop is that of `minicnn train`. NonFiniteLossError if the loss is NaN or infinite.
    """
    if not isinstance(net, Module):
        raise TypeError(f"fit: the net must be a Module, not {type(net).__name__}")
    if type(epochs) is not int or epochs < 1:
        raise ValueError(f"fit: epochs (={epochs}) must be an integer of at least 1")
    parameters = net.parameters()
    if not parameters:
        raise ValueError(f"fit: {type(net).__name__} has no parameters to train")
    team = team or Alone()
    batches, held_out, preprocessing = _batches(data, validation, batch_size, augment, team.part)
    if isinstance(optimizer, str):
        build.check("optimizer", optimizer)
        optimizer = build.optimizer(optimizer, parameters, lr, weight_decay=0.01 if optimizer == "adamw" else 0.0)
    build.check("schedule", schedule)
    steps = len(batches) if hasattr(batches, "__len__") else sum(1 for _ in batches)
    rates = build.schedule(schedule, optimizer, epochs, steps)
    weight = build.class_weights(class_weights, *_labels(batches)) if class_weights != "none" else None
    shared = Shared(net, team)
    if team.size > 1:
        batches, held_out = Pieces(batches, team), held_out and Pieces(held_out, team)
    device, dtype = parameters[0].device, parameters[0].dtype

    def prepare(images):
        if not isinstance(images, Tensor) and np.asarray(images).dtype == np.uint8:
            raise ValueError("fit: the batches hold bytes: normalise them first (data.normalise), or give data.load(…) "
                             "or two arrays, which fit normalises")  # fmt: skip
        return images if isinstance(images, Tensor) else Tensor(np.asarray(images, dtype), device=device)

    history, kept = History(preprocessing=preprocessing), net.state_dict()
    with _shown(verbose and team.rank == 0, epochs, steps) as (show_step, say):
        def after_step(step, loss):
            show_step(step, loss)
            if on_step:
                on_step(step, loss)

        try:
            for epoch in range(1, epochs + 1):
                started = time.monotonic()
                loss, accuracy = train_epoch(net, batches, prepare, optimizer, rates, label_smoothing=label_smoothing,
                                             weight=weight, first_step=rates.t, shared=shared, on_step=after_step)
                record = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
                if held_out is not None:
                    result = evaluate(net, held_out, prepare, team=team)
                    record |= {"val_loss": result.loss, "val_accuracy": result.accuracy}
                record["lr"], record["seconds"] = optimizer.param_groups[0]["lr"], time.monotonic() - started
                record["best"] = all(_score(record) > _score(r) for r in history.records)
                team.in_step("weights", [tensor.numpy() for _, tensor in net.named_state()])
                history.records.append(record)
                if record["best"]:
                    kept = net.state_dict()
                say(record)
                if on_epoch:
                    on_epoch(record)
        except KeyboardInterrupt:
            if team.size > 1:                                                 # the others go on, and would wait
                raise
            history.stopped = True
            if not history.records:
                kept = net.state_dict()
    net.load_state_dict(kept)
    net.eval()
    return history


def _score(record: dict) -> tuple[float, float]:
    """The score that chooses the best epoch: accuracy, then loss; on the validation images if there are any."""
    if "val_loss" in record:
        return record["val_accuracy"], -record["val_loss"]
    return 0.0, -record["loss"]


# ---------------------------------------------------------------------------------------------------------------- data


def _batches(data: Any, validation: Any, batch_size: int, augment: str | None, part: tuple[int, int] = (0, 1)):
    """(training batches, validation batches or None, the preprocessing or None)

    part: (rank, ranks); batches that are read from a dataset are this rank's pieces, the others are whole.
    """
    share = validation if isinstance(validation, (int, float)) else 0.0
    if not 0 <= share < 1:
        raise ValueError(f"fit: validation (={validation}) must be at least 0 and below 1, or images and labels")
    given = None if isinstance(validation, (int, float)) else validation
    seed = int(rng.generator().integers(2**31))
    if isinstance(data, Dataset):
        data = data.images, data.labels
    if _is_pair(data):
        data = _of_arrays(data[0], data[1])
    if isinstance(data, Splits):
        if data.validation is None and given is None and share:
            data = data.with_validation(share, seed)
        train = data.loader(data.train, batch_size, augment=augment or "", shuffle=True, seed=seed, part=part)
        if given is None:
            held_out = None if data.validation is None else data.evaluated(data.validation, part=part)
        else:
            held_out = data.evaluated(_of_arrays(*given).train, part=part) if _is_pair(given) else given
        return train, held_out, data.preprocessing
    if augment:
        raise ValueError(f"fit: augment (={augment!r}) needs images as bytes, from data.load or as arrays of uint8")
    if isinstance(data, _Floats):
        aside = None
        if given is None and share:
            data, aside = stratified(data, share, seed, 2)
        if _is_pair(given):
            aside = _of_arrays(given[0], given[1])
        held_out = given if aside is None else _Shuffled(aside, max(batch_size, 256), None)
        return _Shuffled(data, batch_size, seed), held_out, None
    if not isinstance(data, Iterable):
        raise TypeError(f"fit: the data must be data.load(…), (images, labels), or batches, not {type(data).__name__}")
    if iter(data) is iter(data):
        raise ValueError("fit: the batches can be iterated only once, so the second epoch would have none: give a list "
                         "of them, or an object whose __iter__ starts again")  # fmt: skip
    return data, given, None


def _is_pair(data: Any) -> TypeGuard[Sequence[Any]]:
    """Whether it is (images, labels) and not a list of batches."""
    return isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(a, "shape") for a in data)


def _of_arrays(images: Any, labels: Any) -> Any:
    """`Splits` for arrays of bytes, `_Floats` for arrays of floats."""
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"fit: labels must be integers from 0, one for each image, not {labels.dtype} of shape "
                        f"{labels.shape}")  # fmt: skip
    if images.dtype != np.uint8:
        return _Floats(images, labels.astype(np.int64))
    if images.ndim == 3:
        images = images[:, None]                                              # (N, H, W) → (N, 1, H, W)
    train = Dataset(images, labels.astype(np.int64))
    classes = [str(k) for k in range(int(labels.max()) + 1)]
    return Splits.of_arrays("arrays", train, None, classes, *channel_statistics(images))


@dataclass
class _Floats:
    """Arrays that need no preprocessing."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if len(self.images) != len(self.labels) or self.labels.ndim != 1 or not len(self.labels):
            raise ValueError(f"fit: there are {len(self.images)} images but labels of shape {self.labels.shape}: each "
                             "image needs exactly one label")  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices) -> _Floats:
        return _Floats(self.images[indices], self.labels[indices])


class _Shuffled:
    """The batches of `_Floats`, in a new order each epoch; without a seed in the order of the arrays."""

    def __init__(self, data: _Floats, batch_size: int, seed: int | None):
        self.data, self.batch_size, self.seed, self.epoch = data, batch_size, seed, 0

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(self.data))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        self.epoch += 1
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.data.images[chosen], self.data.labels[chosen]


def _labels(batches: Iterable) -> tuple[np.ndarray, int]:
    """All labels, and the number of classes."""
    source = getattr(batches, "dataset", None) or getattr(batches, "data", None)
    labels = source.labels if source is not None else np.concatenate([labels for _, labels, *_ in batches])
    return labels, int(labels.max()) + 1


# ------------------------------------------------------------------------------------------------------------- display


def line(record: dict, epochs: int) -> str:
    """One line about an epoch, as `minicnn train` prints it."""
    told = (f"epoch {record['epoch']:>2}/{epochs}   loss {record['loss']:.4f}   "
            f"training {100 * record['accuracy']:6.2f} %")  # fmt: skip
    if "val_accuracy" in record:
        told += f"   validation {100 * record['val_accuracy']:6.2f} %"
    return f"{told}   {record['seconds']:5.1f} s{'  best' if record['best'] else ''}"


@contextlib.contextmanager
def _shown(verbose: bool, epochs: int, steps: int):
    """(on_step, say): a bar in a terminal or a notebook, and a line for each epoch there and on a pipe."""
    if not verbose:
        yield (lambda step, loss: None), (lambda record: None)
        return
    from rich.console import Console

    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    with progress_bar(console, not (console.is_terminal or console.is_jupyter)) as progress:
        bar = progress.add_task("", total=steps, loss="")

        def on_step(step, loss):
            epoch, done = divmod(step, steps)
            progress.update(bar, description=f"epoch {epoch + 1}", completed=done + 1, loss=f"loss {loss:.4f}")

        yield on_step, lambda record: console.print(line(record, epochs), markup=False)


def progress_bar(console: Any, hidden: bool) -> Any:
    """A progress bar of rich; its tasks have a description, a total and a field `loss`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
               TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=console, transient=True, disable=hidden)
