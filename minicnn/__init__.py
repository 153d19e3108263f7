"""minicnn: convolutional networks from scratch, small enough to read.

    from minicnn import Tensor, no_grad, seed, gradcheck
    from minicnn import nn, optim, models

The ten-minute tour in reading order is docs/index.md.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what __getattr__ finds
    from minicnn import ops
    from minicnn.api import *
    from minicnn.plan import compile as compile

__all__ = [
    "GradientError", "Tensor", "allow_tf32", "available_devices", "conv_algorithm", "cpu_path", "debug", "fusion",
    "gradcheck", "no_grad", "num_threads", "ops", "release_blas", "seed", "set_num_threads",
]  # fmt: skip
__version__ = "0.1.0"

_PARTS = ("data", "explain", "inspect", "io", "models", "nn", "ops", "optim", "reference", "train")
_FUNCTIONS = {"fit": "train", "compile": "plan"}


def __getattr__(name):
    """Load the engine and the other parts on first use, because `minicnn --help` needs neither them nor NumPy."""
    if name in _PARTS:
        return importlib.import_module(f"minicnn.{name}")
    if name in __all__:
        return getattr(importlib.import_module("minicnn.api"), name)
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"minicnn.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"minicnn has no attribute {name!r}: its parts are {', '.join(_PARTS)}")


def __dir__():
    """What exists and what would be loaded, for Tab in an interactive session."""
    return sorted({*globals(), *__all__, *_PARTS, *_FUNCTIONS})
