"""From a dataset and a net to a trained model: the loop, the run around it, and what is written down about it."""

from minicnn.train.config import Config
from minicnn.train.loop import Evaluation, NonFiniteLossError, evaluate, train_epoch
from minicnn.train.run import Run
from minicnn.train.stop import Stopped, on_signals

__all__ = ["Config", "Evaluation", "NonFiniteLossError", "Run", "Stopped", "evaluate", "on_signals", "train_epoch"]
