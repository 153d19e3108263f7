"""The formulas of the activations, for arrays of any device: `xp` is its array module.

A backend computes them step by step, or has a kernel for a formula that does so in one pass. At a kink a gradient is as
in PyTorch: see ops/activation.py.
"""


def clip(xp, x, low, high):
    """min(max(x, low), high)"""
    return xp.clip(x, low, high)


def clip_dx(xp, x, dy, low, high):
    """dy where low < x < high, else 0"""
    return dy * ((x > low) & (x < high))


def leaky_relu(xp, x, values, slope):
    """values where x > 0, else slope·values: forward, the values are x, and backward dy"""
    return values * xp.where(x > 0, x.dtype.type(1), x.dtype.type(slope))


def tanh_dx(xp, y, dy):
    """dy·(1 − y²)"""
    return dy * (1 - y * y)


def sigmoid(xp, x):
    """1/(1 + e^−x), computed from e^−|x|, which can't overflow"""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def sigmoid_dx(xp, y, dy):
    """dy·y·(1 − y)"""
    return dy * y * (1 - y)


def silu(xp, x):
    """x·σ(x)"""
    return x * sigmoid(xp, x)


def silu_dx(xp, x, dy):
    """dy·σ·(1 + x·(1 − σ))"""
    s = sigmoid(xp, x)
    return dy * s * (1 + x * (1 - s))


def hardsigmoid(xp, x):
    """min(max(x + 3, 0), 6)/6"""
    return xp.clip(x + 3, 0, 6) / 6


def hardsigmoid_dx(xp, x, dy):
    """dy/6 where −3 < x < 3, else 0"""
    return dy * ((x > -3) & (x < 3)) / 6


def hardswish(xp, x):
    """x·min(max(x + 3, 0), 6)/6"""
    return x * xp.clip(x + 3, 0, 6) / 6


def hardswish_dx(xp, x, dy):
    """dy·(2x + 3)/6 where −3 < x < 3, dy above, 0 below"""
    return dy * xp.where(x <= -3, 0, xp.where(x < 3, (2 * x + 3) / 6, 1)).astype(x.dtype)
