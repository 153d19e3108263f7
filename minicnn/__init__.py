"""minicnn: convolutional networks from scratch, small enough to read.

    from minicnn import Tensor, no_grad, seed, gradcheck
    from minicnn import nn, optim, models

The ten-minute tour in reading order is docs/index.md.
"""

from minicnn.devices import available as available_devices
from minicnn.gradcheck import GradientError, gradcheck
from minicnn.rng import seed
from minicnn.tensor import Tensor, no_grad

__all__ = ["GradientError", "Tensor", "available_devices", "gradcheck", "no_grad", "seed"]
__version__ = "0.1.0"
