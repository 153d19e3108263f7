"""From a dataset and a net to a trained model: the loop, the run around it, and what is written down about it."""

from minicnn.train.loop import Evaluation, NonFiniteLossError, evaluate, train_epoch
from minicnn.train.run import Config, Run

__all__ = ["Config", "Evaluation", "NonFiniteLossError", "Run", "evaluate", "train_epoch"]
