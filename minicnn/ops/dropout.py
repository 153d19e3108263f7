"""Dropout: random values are set to 0. The layer draws the mask and passes it to the op, which is deterministic.

Masks hold booleans, False with probability p. The other values are divided by 1 − p, so that the mean stays the same
and no scaling is needed after training ("inverted" dropout).
"""

from minicnn import devices
from minicnn.device import Array
from minicnn.op_checks import number
from minicnn.tensor import op


@op(constants=("mask",))
def dropout(x: Array, mask: Array, *, p: float):
    """y = x·mask/(1 − p): drops values.   x and mask have one shape.   Hinton et al. 2012; Srivastava et al. 2014

    dx = dy·mask/(1 − p).   Kept for backward: the mask.
    """
    return _masked("dropout", x, mask, p, x.shape)


@op(constants=("mask",))
def dropout2d(x: Array, mask: Array, *, p: float):
    """y[n,c] = x[n,c]·mask[n,c]/(1 − p): drops whole maps.   x (N,C,H,W)   mask (N,C).   Tompson et al. 2015, §3.2"""
    return _masked("dropout2d", x, mask, p, x.shape[:2])


@op(constants=("mask",))
def stochastic_depth(x: Array, mask: Array, *, p: float):
    """y[n] = x[n]·mask[n]/(1 − p): drops the branch for whole images.   x (N,…)   mask (N,).   Huang et al. 2016

    The paper multiplies by 1 − p at test time instead, which is equivalent.
    """
    return _masked("stochastic_depth", x, mask, p, x.shape[:1])


def _masked(name, x, mask, p, shape):
    p = number(name, "p", p, least=0, below=1)
    if mask.shape != shape or x.ndim < len(shape):
        raise ValueError(f"{name}: the mask has shape {mask.shape}, but for x {x.shape} it must be {shape}")
    if mask.dtype.kind not in "biuf":
        raise TypeError(f"{name}: mask must be booleans, not {mask.dtype}")
    device, scale = devices.of(x), x.dtype.type(1 / (1 - p))
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    def apply(x): return device.elementwise(lambda x, mask: x * (mask * scale), x, mask)
    return apply(x), (apply, None)
