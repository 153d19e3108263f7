"""Evaluation of a trained model: accuracy of each class, and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minicnn.nn import Module
from minicnn.ops.softmax import softmax
from minicnn.plan import predictor
from minicnn.tensor import no_grad
from minicnn.train.loop import Evaluation
from minicnn.train.losses import loss_of


@dataclass(repr=False)
class Assessment(Evaluation):
    """An Evaluation with each picture's label, and its five most probable classes with their probabilities."""

    labels: np.ndarray         # (N,)
    top: np.ndarray            # (N, 5) classes, the most probable first; fewer if there are fewer classes
    probabilities: np.ndarray  # (N, 5)
    names: Sequence[str]       # (N,) the name of each picture

    def top_accuracy(self, k: int) -> float:
        """The share of pictures whose class is among the k most probable ones."""
        return float((self.top[:, :k] == self.labels[:, None]).any(1).mean())

    def of_class(self, k: int) -> dict:
        """{"images", "right", "recall", "precision", "taken_for": the most frequent mistake}; None for 0/0."""
        row, column = self.confusion[k], self.confusion[:, k]
        wrong = row.copy()
        wrong[k] = 0
        return {
            "images": int(row.sum()), "right": int(row[k]),
            "recall": float(row[k] / row.sum()) if row.sum() else None,
            "precision": float(row[k] / column.sum()) if column.sum() else None,
            "taken_for": int(wrong.argmax()) if wrong.any() else None,
        }  # fmt: skip

    def worst(self, count: int) -> np.ndarray:
        """The mistakes with the highest probability, the worst first."""
        wrong = np.flatnonzero(self.top[:, 0] != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong, 0], kind="stable")][:count]


def assess(model: Module, batches: Iterable, prepare: Callable, classes: int, names: Sequence[str]) -> Assessment:
    """Evaluate `batches` of a Loader without shuffling; names: the name of each picture."""
    labels, top, shares, loss = [], [], [], 0.0
    answer = predictor(model, len(names))
    with no_grad():
        for images, truth, *_ in batches:
            logits = answer(prepare(images))                                  # (n, K)
            loss += loss_of(model, logits, truth).item() * len(truth)
            p = softmax(logits).numpy()                                       # (n, K)
            order = np.argsort(-p, axis=1, kind="stable")[:, :5]
            labels.append(truth)
            top.append(order)
            shares.append(np.take_along_axis(p, order, 1))
    if not labels:
        raise ValueError("assess: there are no pictures to evaluate")
    truth, guesses = np.concatenate(labels), np.concatenate(top)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, guesses[:, 0]), 1)
    return Assessment(loss / len(truth), confusion, truth, guesses, np.concatenate(shares), names)
