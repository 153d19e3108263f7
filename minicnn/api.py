"""The engine's part of the names in `minicnn`: minicnn/__init__.py loads this file when one of them is first used."""

from minicnn.cpu.path import cpu_path
from minicnn.cpu.threads import num_threads, release_blas, set_num_threads
from minicnn.devices import available as available_devices
from minicnn.gradient_check import GradientError, gradcheck
from minicnn.recording import debug
from minicnn.rng import seed
from minicnn.settings import allow_tf32, conv_algorithm, fusion
from minicnn.tensor import Tensor, no_grad

__all__ = [
    "GradientError", "Tensor", "allow_tf32", "available_devices", "conv_algorithm", "cpu_path", "debug", "fusion",
    "gradcheck", "no_grad", "num_threads", "release_blas", "seed", "set_num_threads",
]  # fmt: skip
