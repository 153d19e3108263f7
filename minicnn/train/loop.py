"""The training loop (forward, loss, backward, step), and evaluation (forward, loss)."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.data.augment import Mixed
from minicnn.data.loader import Whole
from minicnn.nn import Module, watch
from minicnn.optim import EMA, Optimizer, Schedule, clip_grad_norm
from minicnn.plan import predictor
from minicnn.ranks import Alone
from minicnn.tensor import Tensor, no_grad
from minicnn.train.losses import logits_of, loss_of
from minicnn.train.shared import Shared, shares, total_weight


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the message names the step and the first layer with a non-finite output."""

    of_all_ranks = True


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
    shared: Shared | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[float, float]:
    """Train on `batches` of (images, labels), or on a `Loader`, once. → (mean loss, accuracy) of the epoch

    prepare: images → the Tensor that the model takes.   on_step(step, loss) is called after each step.
    accumulate: the number of batches in a step, with the gradients of one large batch; only batch norm uses each batch
    alone.   weight (K,): the weight of each class's images.   clip: the largest norm of all gradients together, 0: no
    limit.   average: updated after each step.   progress: where to continue the epoch, with `batches` the remaining
    ones; it is updated after each batch.   shared: the step of several ranks; then `batches` is a Loader with
    part=team.part, and the results are those of all ranks.

    Images that `Mixup` mixed have the loss λ·loss(labels) + (1 − λ)·loss(others).   The loss is losses.loss_of.

    NonFiniteLossError, before a loss that is NaN or infinite can spoil the weights.
    """
    model.train()
    progress, shared = progress or Progress(), shared or Shared(model, Alone())
    remaining = iter(batches)
    for step in itertools.count(first_step):
        group = list(itertools.islice(remaining, accumulate))
        if not group:
            break
        optimizer.zero_grad()
        parts = [_Part(weight, *batch) for batch in group]
        size, total = sum(p.size for p in parts), sum(p.weight for p in parts)
        loss, correct = 0.0, 0.0
        for part in parts:
            with shared.piece(part.whole):
                x = prepare(part.images)
                outputs = model(x)
                mean = _loss(model, outputs, part, label_smoothing, weight)
                if shared.ranks.size == 1 and not math.isfinite(mean.item()):
                    raise NonFiniteLossError(_explain(model, x, step, mean.item(), optimizer))
                share = part.weight / total
                with shared.sending() if part is parts[-1] else contextlib.nullcontext():
                    mean.backward(None if share == 1 else np.asarray(share, mean.dtype))
            if part.counts:
                loss += mean.item() * share
                correct += int((logits_of(outputs).numpy().argmax(1) == part.labels).sum())
        all_loss, correct = shared.finish(loss, correct)
        if not math.isfinite(all_loss):                                       # on all ranks in the same step
            with shared.piece(parts[-1].whole):                               # batch norm's messages again
                sentence = _explain(model, x, step, all_loss, optimizer)
            raise NonFiniteLossError(_of_the_first(shared.ranks, sentence, not math.isfinite(loss)))
        loss = all_loss
        progress.correct += round(correct)
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


def _of_the_first(team: Alone, sentence: str, mine: bool) -> str:
    """The sentence of the first rank for which `mine` is true."""
    line = np.zeros(801, np.uint8)
    text = np.frombuffer(sentence.encode()[:800], np.uint8)
    line[0], line[1 : 1 + len(text)] = mine, text
    lines = team.gather(line)
    first = int(lines[:, 0].argmax())
    return f"{lines[first, 1:].tobytes().rstrip(bytes(1)).decode(errors='ignore')} (rank {first})"


class _Part:
    """A batch of a step, or this rank's piece of it.

    size: the images of the whole batch.   weight: the sum of their weights.   shares: the part of this sum that belongs
    to our images, for their labels and for the labels that Mixup added.   counts: false if our images are stand-ins.
    """

    def __init__(self, weight: Sequence[float] | None, images: Any, labels: np.ndarray, indices: Any = None,
                 mixed: Mixed | None = None, whole: Whole | None = None):
        self.images, self.labels, self.mixed, self.whole = images, labels, mixed, whole
        self.counts, self.shares = True, (1.0, 1.0)
        if whole:
            self.counts, self.shares = whole.piece.size > 0, shares(labels, mixed, whole, weight)
            labels, mixed = whole.labels, whole.mixed
        self.size, self.weight = len(labels), total_weight(weight, labels, mixed)


def _loss(model: Module, outputs: Any, part: _Part, label_smoothing: float, weight: Sequence[float] | None) -> Tensor:
    """The mean loss of a batch, as a scalar; of a piece its summand."""
    loss = loss_of(model, outputs, part.labels, label_smoothing=label_smoothing, weight=weight)
    first, second = part.shares
    if part.mixed is None:
        return loss if first == 1 else first * loss
    others = loss_of(model, outputs, part.mixed.others, label_smoothing=label_smoothing, weight=weight)
    return first * part.mixed.share * loss + second * (1 - part.mixed.share) * others


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


def evaluate(model: Module, batches: Iterable, prepare: Callable, num_classes: int = 0,
             team: Alone | None = None) -> Evaluation:  # fmt: skip
    """Loss and confusion matrix over `batches` of (images, labels), or a `Loader`. The model stays in eval mode.

    num_classes: the size of the matrix; 0: as many as the model has outputs.   team: the ranks, each of which has other
    batches, or none; all get the result for all images.
    """
    confusion, total = np.zeros((num_classes, num_classes), np.int64), 0.0
    answer = predictor(model, len(getattr(batches, "dataset", ())))
    with no_grad():
        for images, labels, *more in batches:
            if len(more) > 2 and more[2] and not more[2].piece.size:          # stand-ins
                continue
            logits = answer(prepare(images))                                  # (N, K)
            total += loss_of(model, logits, labels).item() * len(labels)
            if not confusion.size:
                confusion = np.zeros((logits.shape[1],) * 2, np.int64)
            np.add.at(confusion, (labels, logits.numpy().argmax(1)), 1)
    if team is not None and team.size > 1:
        total, confusion = _of_all(team, total, confusion)
    if not confusion.sum():
        raise ValueError("evaluate: there are no images to evaluate on")
    return Evaluation(total / int(confusion.sum()), confusion)


def _of_all(team: Alone, total: float, confusion: np.ndarray) -> tuple[float, np.ndarray]:
    """The sums over the ranks; one without images knows no number of classes."""
    classes = int(team.gather(np.array([len(confusion)], np.int64)).max())
    sums = np.zeros(classes**2 + 1)                                           # float64: exact up to 2⁵³ images
    sums[-1] = total
    if confusion.size:
        sums[:-1] = confusion.ravel()
    team.sum(sums)
    return float(sums[-1]), sums[:-1].reshape(classes, classes).astype(np.int64)


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
