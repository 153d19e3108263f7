"""Layers that set values to 0 at random in training, and do nothing in eval mode.

The layer draws the mask, the op applies it.
"""

import math
from collections.abc import Callable

from minicnn import devices, ops
from minicnn.device import Array
from minicnn.nn.module import Module
from minicnn.piece import present
from minicnn.rng import next_draw
from minicnn.tensor import Tensor


class _Masked(Module):
    """Draws a mask over the first `axes` axes of x (None: all of them) and passes it to `op`."""

    op: Callable[..., Tensor] = staticmethod(ops.dropout)
    axes: int | None = None

    def __init__(self, p: float = 0.5):
        if not 0 <= p < 1:
            raise ValueError(f"{type(self).__name__}: p (={p}) must be at least 0 and below 1: "
                             "it is the probability that a value is set to 0")
        self.p = p

    def mask(self, x: Tensor) -> Array:
        """Booleans, False with probability p."""
        shape, shared = x.shape[: self.axes], present.get()
        start = shared.piece.first * math.prod(shape[1:]) if shared else 0    # of our rows in the whole batch's mask
        return devices.of(x.data).dropout_mask(shape, self.p, *next_draw(), start)

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return self.op(x, self.mask(x), p=self.p) if self.training and self.p > 0 else x


class Dropout(_Masked):
    """Each value is 0 with probability p, the others are multiplied by 1/(1 − p).   Srivastava et al. 2014"""


class Dropout2d(_Masked):
    """Each whole map is 0 with probability p, the others are multiplied by 1/(1 − p).

    x (N,C,H,W).   Tompson et al. 2015
    """

    op = staticmethod(ops.dropout2d)
    axes = 2


class StochasticDepth(_Masked):
    """Skips a residual branch with probability p, per image ("row") or for the whole batch ("batch", as in the paper).

    Otherwise its output is multiplied by 1/(1 − p).   x (N,…).   Huang et al. 2016
    """

    op = staticmethod(ops.stochastic_depth)
    axes = 1

    def __init__(self, p: float, mode: str = "row"):
        super().__init__(p)
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch', not {mode!r}")
        self.mode = mode

    def mask(self, x: Tensor) -> Array:
        """Booleans (N,), False with probability p."""
        if self.mode == "row":
            return super().mask(x)
        device = devices.of(x.data)
        return device.xp.broadcast_to(device.dropout_mask((1,), self.p, *next_draw()), x.shape[:1])
