"""From a dataset and a net to a trained model: `fit` in one call, or a `Run` with a folder and checkpoints."""

from minicnn.train.bar import progress
from minicnn.train.config import Config
from minicnn.train.fit import History, fit
from minicnn.train.loop import Evaluation, NonFiniteLossError, evaluate, train_epoch
from minicnn.train.run import Run
from minicnn.train.shared import Shared
from minicnn.train.stop import Stopped, on_signals

__all__ = ["Config", "Evaluation", "History", "NonFiniteLossError", "Run", "Shared", "Stopped", "evaluate", "fit",
           "on_signals", "progress", "train_epoch"]
