"""The loss of a batch, from the outputs of a net.

A net with auxiliary classifiers has `aux_weights` and returns (logits, *auxiliary logits) in training:

    loss = loss(logits) + Σ_i aux_weights[i] · loss(auxiliary logits i)

Szegedy et al. 2014 (GoogLeNet), §5: 0.3 each.   A net may have a loss of its own, `model.loss(outputs, labels)`, which
replaces the cross entropy; label smoothing and class weights are then not possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.nn import Module
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor


def logits_of(outputs: Any) -> Tensor:
    """The main classifier's scores (N,K), without auxiliary outputs."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def check(model: Module, label_smoothing: float, weight: Sequence[float] | None) -> None:
    """ValueError where the model has a loss of its own, which does not use these settings."""
    if getattr(model, "loss", None) is not None and (label_smoothing or weight is not None):
        raise ValueError(f"{type(model).__name__} has its own loss, which uses neither label_smoothing nor "
                         "class_weights: leave them out")  # fmt: skip


def loss_of(model: Module, outputs: Any, labels: np.ndarray, *, label_smoothing: float = 0.0,
            weight: Sequence[float] | None = None) -> Tensor:  # fmt: skip
    """The loss of one batch as a scalar, including auxiliary outputs if the net returned any."""
    check(model, label_smoothing, weight)
    own = getattr(model, "loss", None)
    if own is not None:
        return own(outputs, labels)
    main, *aux = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = getattr(model, "aux_weights", ())
    if aux and len(aux) != len(weights):
        raise ValueError(f"{type(model).__name__} returned {len(aux)} auxiliary outputs, but its aux_weights are "
                         f"{tuple(weights)}: it needs one number for each")  # fmt: skip
    loss = cross_entropy(main, labels, label_smoothing=label_smoothing, weight=weight)
    for share, logits in zip(weights, aux):
        loss = loss + share * cross_entropy(logits, labels, label_smoothing=label_smoothing, weight=weight)
    return loss
