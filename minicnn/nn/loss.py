"""Losses as modules; the ops compute them."""

from collections.abc import Sequence
from typing import Any

from minicnn.device import Array
from minicnn.nn.module import Module
from minicnn.ops.loss import binary_cross_entropy_with_logits, mse_loss
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor


class CrossEntropyLoss(Module):
    """Mean cross entropy of softmax(logits) (N,K) with class indices (N,), or with probabilities (N,K).

    label_smoothing, weight, ignore_index: as in ops.cross_entropy.
    """

    def __init__(self, label_smoothing: float = 0.0, weight: Sequence[float] | None = None,
                 ignore_index: int | None = None):
        self.label_smoothing, self.weight, self.ignore_index = label_smoothing, weight, ignore_index

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        """logits (N,K), labels (N,) or (N,K) → a scalar"""
        return cross_entropy(logits, labels, label_smoothing=self.label_smoothing, weight=self.weight,
                             ignore_index=self.ignore_index)


class MSELoss(Module):
    """Mean of (x − target)²."""

    def forward(self, x: Tensor, target: Tensor | Array) -> Tensor:
        """x and target of one shape → a scalar"""
        return mse_loss(x, target)


class BCEWithLogitsLoss(Module):
    """Mean binary cross entropy of σ(x) with targets from 0 to 1."""

    def forward(self, x: Tensor, target: Tensor | Array) -> Tensor:
        """x and target of one shape → a scalar"""
        return binary_cross_entropy_with_logits(x, target)
