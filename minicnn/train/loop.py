"""The loop: forward, loss, backward, step; and the same without the last two, to see how well it went."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minicnn.nn import Module, watch
from minicnn.ops.softmax import cross_entropy
from minicnn.optim import EMA, Optimizer, Schedule, clip_grad_norm
from minicnn.tensor import Tensor, no_grad


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the sentence says at which step, and which layer was the first to go wrong."""


@dataclass
class Progress:
    """How far an epoch is: batches done, and the sums over their images."""

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
    """One pass over `batches` of (images, labels), or a `Loader`, changing the model. → (mean loss, accuracy) of it

    prepare: images → the Tensor that the model takes.   on_step(step, loss) is called after each step. `accumulate`
    batches make a step, as one large batch would, except that batch norm sees each of them by itself. weight: how much
    an image of each class counts. clip: the longest that the gradients may be, 0: any length. average: follows the
    weights. progress: the epoch goes on from there, `batches` being the rest, and is kept up to date. Raises
    NonFiniteLossError before a loss that is NaN or infinite can spoil the weights.
    """
    model.train()
    progress = progress or Progress()
    pieces = iter(batches)
    for step in itertools.count(first_step):
        group = list(itertools.islice(pieces, accumulate))
        if not group:
            break
        optimizer.zero_grad()
        size, loss = sum(len(labels) for _, labels, *_ in group), 0.0
        for images, labels, *more in group:
            x = prepare(images)
            logits = model(x)  # (N, K)
            part = cross_entropy(logits, labels, label_smoothing=label_smoothing, weight=weight)
            if more and (mixed := more[1]):
                others = cross_entropy(logits, mixed.others, label_smoothing=label_smoothing, weight=weight)
                part = mixed.share * part + (1 - mixed.share) * others
            if not math.isfinite(part.item()):
                raise NonFiniteLossError(_explain(model, x, step, part.item(), optimizer))
            share = len(labels) / size
            part.backward(np.asarray(share, part.dtype) if len(group) > 1 else None)
            loss += part.item() * share
            progress.correct += int((logits.numpy().argmax(1) == labels).sum())
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


@dataclass
class Evaluation:
    """How a model does on a set of images."""

    loss: float
    confusion: np.ndarray  # (K, K): confusion[truth, prediction] images

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def worst_pairs(self, count: int = 3) -> list[tuple[int, int, int]]:
        """The commonest mistakes: (truth, prediction, how many)."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [(int(t), int(p), int(wrong[t, p])) for t, p in zip(rows, columns) if wrong[t, p]]


def evaluate(model: Module, batches: Iterable, prepare: Callable, num_classes: int) -> Evaluation:
    """Loss and confusion matrix over `batches` of (images, labels), or a `Loader`; the model, in eval mode, stays."""
    model.eval()
    confusion, total = np.zeros((num_classes, num_classes), np.int64), 0.0
    with no_grad():
        for images, labels, *_ in batches:
            logits = model(prepare(images))  # (N, K)
            total += cross_entropy(logits, labels).item() * len(labels)
            np.add.at(confusion, (labels, logits.numpy().argmax(1)), 1)
    if not confusion.sum():
        raise ValueError("evaluate: there are no images to evaluate on")
    return Evaluation(total / int(confusion.sum()), confusion)


def first_nonfinite(model: Module, x: Tensor) -> str | None:
    """The first layer, in the order of computing, whose output holds a NaN or an infinity: "features.3 (Conv2d)"."""
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
    if not np.isfinite(x.numpy()).all():
        return f"the loss is {loss} at step {step}, because the images hold a NaN or an infinity: check the data"
    layer = first_nonfinite(model, x)
    where = (
        f"the first layer with a non-finite output is {layer}" if layer else "all layers are finite, the loss overflows"
    )
    return f"the loss is {loss} at step {step}; {where}: try a smaller learning rate than {lr:.3g}, or a warm-up"
