"""Optimisers and learning-rate schedules; names and arguments are PyTorch's."""

from minicnn.optim.adam import Adam, AdamW
from minicnn.optim.optimizer import Optimizer
from minicnn.optim.schedule import ConstantLR, CosineAnnealingLR, MultiStepLR, Schedule, StepLR, WarmUp
from minicnn.optim.sgd import SGD

__all__ = [
    "SGD", "Adam", "AdamW", "ConstantLR", "CosineAnnealingLR", "MultiStepLR", "Optimizer", "Schedule", "StepLR",
    "WarmUp",
]  # fmt: skip
