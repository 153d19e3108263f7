"""Activations: one curve, applied to each element.  x, y, dx, dy all have one shape, any shape.

At a kink the gradient is that of PyTorch: relu'(0) = 0, relu6'(0) = relu6'(6) = 0, leaky_relu'(0) = the slope below,
hardsigmoid'(±3) = 0, hardswish'(−3) = 0, hardswish'(3) = 1.
"""

from minicnn import devices
from minicnn.tensor import op


@op
def relu(x):
    """y = max(x, 0).   dx = dy where x > 0, else 0.   Nair & Hinton 2010"""
    y = devices.of(x).xp.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)


@op
def relu6(x):
    """y = min(max(x, 0), 6).   dx = dy where 0 < x < 6, else 0.   Howard et al. 2017 (MobileNet)"""
    y = devices.of(x).xp.clip(x, 0, 6)
    return y, lambda dy: dy * ((y > 0) & (y < 6))


@op
def leaky_relu(x, *, negative_slope=0.01):
    """y = x where x > 0, else slope·x.   dx = dy where x > 0, else slope·dy.   Maas et al. 2013"""
    xp = devices.of(x).xp
    slope = xp.where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))
    return x * slope, lambda dy: dy * slope


@op
def tanh(x):
    """y = tanh x.   dx = dy·(1 − y²)"""
    y = devices.of(x).xp.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


@op
def sigmoid(x):
    """y = σ(x) = 1/(1 + e^−x).   dx = dy·y·(1 − y)"""
    y = _sigmoid(x)
    return y, lambda dy: dy * y * (1 - y)


@op
def silu(x):
    """y = x·σ(x).   dx = dy·σ·(1 + x·(1 − σ)).   Elfwing et al. 2017; swish: Ramachandran et al. 2017"""
    s = _sigmoid(x)
    return x * s, lambda dy: dy * s * (1 + x * (1 - s))


@op
def hardsigmoid(x):
    """y = min(max(x + 3, 0), 6)/6.   dx = dy/6 where −3 < x < 3, else 0.   Howard et al. 2019, §5.2"""
    y = devices.of(x).xp.clip(x + 3, 0, 6) / 6
    return y, lambda dy: dy * ((x > -3) & (x < 3)) / 6


@op
def hardswish(x):
    """y = x·min(max(x + 3, 0), 6)/6.   dx = dy·(2x + 3)/6 in (−3, 3), dy above, 0 below.   Howard et al. 2019, §5.2"""
    xp = devices.of(x).xp
    y = x * xp.clip(x + 3, 0, 6) / 6
    return y, lambda dy: dy * xp.where(x <= -3, 0, xp.where(x < 3, (2 * x + 3) / 6, 1)).astype(x.dtype)


def _sigmoid(x):
    """σ(x), from the exponential of −|x|, which can't overflow."""
    xp = devices.of(x).xp
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)
