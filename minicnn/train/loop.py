"""The training loop (forward, loss, backward, step), and evaluation (forward, loss)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minicnn.data.augment import Mixed
from minicnn.nn import Module, watch
from minicnn.optim import EMA, Optimizer, Schedule, clip_grad_norm
from minicnn.plan import predictor
from minicnn.tensor import Tensor, no_grad
from minicnn.train.losses import logits_of, loss_of


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the message names the step and the first layer with a non-finite output."""


@dataclass
class Progress:
    """The progress of an epoch: batches done, and the sums over their images."""

    batches: int = 0
    images: int = 0
    correct: int = 0
    loss: float = 0.0


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # ends in NonFiniteLossError, which says more
def train_epoch(
    model: Module,
    batches: Iterable,
    prepare: Callable,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    label_smoothing: float = 0.0,
    weight: Sequence[float] | None = None,
    clip: float = 0.0,
    accumulate: int = 1,
    average: EMA | None = None,
    progress: Progress | None = None,
    first_step: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[float, float]:
    """Train on `batches` of (images, labels), or on a `Loader`, once. → (mean loss, accuracy) of the epoch

    prepare: images → the Tensor that the model takes.   on_step(step, loss) is called after each step.
    accumulate: the number of batches in a step, with the gradients of one large batch; only batch norm uses each batch
    alone.   weight (K,): the weight of each class's images.   clip: the largest norm of all gradients together, 0: no
    limit.   average: updated after each step.   progress: where to continue the epoch, with `batches` the remaining
    ones; it is updated after each batch.

    Images that `Mixup` mixed have the loss λ·loss(labels) + (1 − λ)·loss(others).   The loss is losses.loss_of.

    NonFiniteLossError, before a loss that is NaN or infinite can spoil the weights.
    """
    model.train()
    progress = progress or Progress()
    remaining = iter(batches)
    for step in itertools.count(first_step):
        group = list(itertools.islice(remaining, accumulate))
        if not group:
            break
        optimizer.zero_grad()
        size, loss = sum(len(labels) for _, labels, *_ in group), 0.0
        counts = [_count(weight, labels, more) for _, labels, *more in group]
        for (images, labels, *more), count in zip(group, counts):
            x = prepare(images)
            outputs = model(x)
            part = loss_of(model, outputs, labels, label_smoothing=label_smoothing, weight=weight)
            if mixed := _mixed(more):
                others = loss_of(model, outputs, mixed.others, label_smoothing=label_smoothing, weight=weight)
                part = mixed.share * part + (1 - mixed.share) * others
            if not math.isfinite(part.item()):
                raise NonFiniteLossError(_explain(model, x, step, part.item(), optimizer))
            share = count / sum(counts)
            part.backward(np.asarray(share, part.dtype) if len(group) > 1 else None)
            loss += part.item() * share
            progress.correct += int((logits_of(outputs).numpy().argmax(1) == labels).sum())
        if clip:
            clip_grad_norm((p for g in optimizer.param_groups for p in g["params"]), clip)
        optimizer.step()
        schedule.step()
        if average:
            average.update()
        progress.batches += len(group)
        progress.images += size
        progress.loss += loss * size
        on_step(step, loss)
    return progress.loss / progress.images, progress.correct / progress.images


def _mixed(more: list) -> Mixed | None:
    """The Mixup labels of a Loader's batch (images, labels, indices, mixed), or None."""
    return more[1] if len(more) > 1 else None


def _count(weight: Sequence[float] | None, labels: np.ndarray, more: list) -> float:
    """The weight of a batch in an accumulated step: its images, or the sum of their class weights."""
    if weight is None:
        return len(labels)
    of = np.asarray(weight, float)
    mixed = _mixed(more)
    if mixed is None:
        return float(of[labels].sum())
    return float(mixed.share * of[labels].sum() + (1 - mixed.share) * of[mixed.others].sum())


@dataclass(repr=False)
class Evaluation:
    """The results of a model on a set of images."""

    loss: float
    confusion: np.ndarray  # (K, K): confusion[truth, prediction] images

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def __repr__(self) -> str:
        right, images = int(np.trace(self.confusion)), int(self.confusion.sum())
        return (f"<{type(self).__name__}: {100 * right / max(1, images):.2f} % right ({right:,} of {images:,} images), "
                f"loss {self.loss:.4f}>")  # fmt: skip

    def worst_pairs(self, count: int = 3) -> list[tuple[int, int, int]]:
        """The most frequent mistakes: (truth, prediction, count)."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [(int(t), int(p), int(wrong[t, p])) for t, p in zip(rows, columns) if wrong[t, p]]


def evaluate(model: Module, batches: Iterable, prepare: Callable, num_classes: int = 0) -> Evaluation:
    """Loss and confusion matrix over `batches` of (images, labels), or a `Loader`. The model stays in eval mode.

    num_classes: the size of the matrix; 0: as many as the model has outputs.
    """
    confusion, total = np.zeros((num_classes, num_classes), np.int64), 0.0
    answer = predictor(model, len(getattr(batches, "dataset", ())))
    with no_grad():
        for images, labels, *_ in batches:
            logits = answer(prepare(images))                                  # (N, K)
            total += loss_of(model, logits, labels).item() * len(labels)
            if not confusion.size:
                confusion = np.zeros((logits.shape[1],) * 2, np.int64)
            np.add.at(confusion, (labels, logits.numpy().argmax(1)), 1)
    if not confusion.sum():
        raise ValueError("evaluate: there are no images to evaluate on")
    return Evaluation(total / int(confusion.sum()), confusion)


def first_nonfinite(model: Module, x: Tensor) -> str | None:
    """The first layer, in order of computation, whose output holds a NaN or an infinity: "features.3 (Conv2d)"."""
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def look(module, inputs, output):
        is_layer = not any(isinstance(m, Module) for _, m in module.members())
        if is_layer and not found and not np.isfinite(output.numpy()).all():
            found.append(f"{names[id(module)] or 'the model'} ({type(module).__name__})")

    with no_grad(), watch(look), np.errstate(all="ignore"):
        model(x)
    return found[0] if found else None


def _explain(model, x, step, loss, optimizer):
    lr = optimizer.param_groups[0]["lr"]
    spoilt = np.flatnonzero([not np.isfinite(image).all() for image in x.numpy()])
    if spoilt.size:
        return (f"the loss is {loss} at step {step}, because the images hold a NaN or an infinity, the first in image "
                f"{spoilt[0]} of the batch: check the data; some convolution algorithms spread it beyond its windows, "
                "but never to another image")
    layer = first_nonfinite(model, x)
    where = (
        f"the first layer with a non-finite output is {layer}" if layer else "all layers are finite, the loss overflows"
    )
    return f"the loss is {loss} at step {step}; {where}: try a smaller learning rate than {lr:.3g}, or a warm-up"
