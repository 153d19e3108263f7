"""The loop: forward, loss, backward, step; and the same without the last two, to see how well it went."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from minicnn.nn import Module, watch
from minicnn.ops.softmax import cross_entropy
from minicnn.optim import Optimizer, Schedule
from minicnn.tensor import Tensor, no_grad


class NonFiniteLossError(ArithmeticError):
    """The loss is NaN or infinite; the sentence says at which step, and which layer was the first to go wrong."""


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # ends in NonFiniteLossError, which says more
def train_epoch(
    model: Module,
    batches: Iterable,
    prepare: Callable,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    label_smoothing: float = 0.0,
    first_step: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[float, float]:
    """One pass over `batches` of (images, labels), changing the model. → (mean loss, accuracy) as it went.

    prepare: images → the Tensor that the model takes.   on_step(step, loss) is called after each batch. Raises
    NonFiniteLossError before a loss that is NaN or infinite can spoil the weights.
    """
    model.train()
    seen = correct = total = 0.0
    for step, (images, labels) in enumerate(batches, first_step):
        x = prepare(images)
        optimizer.zero_grad()
        logits = model(x)  # (N, K)
        loss = cross_entropy(logits, labels, label_smoothing=label_smoothing)
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(_explain(model, x, step, loss.item(), optimizer))
        loss.backward()
        optimizer.step()
        schedule.step()
        seen += len(labels)
        total += loss.item() * len(labels)
        correct += (logits.numpy().argmax(1) == labels).sum()
        on_step(step, loss.item())
    return total / seen, correct / seen


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
    """Loss and confusion matrix over `batches` of (images, labels); the model is in eval mode and unchanged."""
    model.eval()
    confusion, total = np.zeros((num_classes, num_classes), np.int64), 0.0
    with no_grad():
        for images, labels in batches:
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
