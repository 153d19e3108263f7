"""Optimisers and learning-rate schedules; names and arguments are PyTorch's."""

from minicnn.optim.adam import Adam, AdamW
from minicnn.optim.average import EMA
from minicnn.optim.clip import clip_grad_norm
from minicnn.optim.optimizer import Optimizer
from minicnn.optim.schedule import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    Schedule,
    StepLR,
    WarmUp,
)
from minicnn.optim.sgd import SGD

__all__ = [
    "EMA", "SGD", "Adam", "AdamW", "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "MultiStepLR", "OneCycleLR",
    "Optimizer", "PolynomialLR", "Schedule", "StepLR", "WarmUp", "clip_grad_norm",
]  # fmt: skip
