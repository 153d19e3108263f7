"""minicnn: convolutional networks from scratch, small enough to read.

    from minicnn import Tensor, no_grad, seed, gradcheck
    from minicnn import nn, optim, models

The ten-minute tour in reading order is docs/index.md.
"""

import importlib

from minicnn import ops
from minicnn.cpu.path import cpu_path
from minicnn.cpu.threads import num_threads, release_blas, set_num_threads
from minicnn.devices import available as available_devices
from minicnn.gradcheck import GradientError, gradcheck
from minicnn.recording import debug
from minicnn.rng import seed
from minicnn.settings import allow_tf32, conv_algorithm, fusion
from minicnn.tensor import Tensor, no_grad

__all__ = [
    "GradientError", "Tensor", "allow_tf32", "available_devices", "conv_algorithm", "cpu_path", "debug",
    "fusion", "gradcheck", "no_grad", "num_threads", "ops", "release_blas", "seed", "set_num_threads",
]  # fmt: skip
__version__ = "0.1.0"

_PARTS = ("data", "inspect", "io", "models", "nn", "optim", "reference", "train")


def __getattr__(name):
    """Load `minicnn.models` and the other parts on first use, to keep `import minicnn` fast."""
    if name in _PARTS:
        return importlib.import_module(f"minicnn.{name}")
    if name == "fit":
        return importlib.import_module("minicnn.train").fit
    raise AttributeError(f"minicnn has no attribute {name!r}: its parts are {', '.join(_PARTS)}")
