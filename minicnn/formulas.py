"""The formulas of the activations, for arrays of any device: `xp` is its array module.

A backend computes them step by step, or has a kernel for a formula that does so in one pass. At a kink a gradient is as
in PyTorch: see ops/activation.py.
"""

import math

from minicnn.error_function import erfc

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""α and λ of Klambauer et al. 2017, eq. 14"""


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


def elu(xp, x, alpha):
    """x where x > 0, else α·(e^x − 1)"""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


def elu_dx(xp, x, dy, alpha):
    """dy where x > 0, else dy·α·e^x"""
    return dy * xp.where(x > 0, 1, alpha * xp.exp(xp.minimum(x, 0)))


def selu(xp, x):
    """λ·elu(x, α)"""
    return SELU_SCALE * elu(xp, x, SELU_ALPHA)


def selu_dx(xp, x, dy):
    """λ times elu's gradient"""
    return SELU_SCALE * elu_dx(xp, x, dy, SELU_ALPHA)


def gelu(xp, x):
    """x·Φ(x), Φ(x) = ½·erfc(−x/√2)"""
    return x * (erfc(xp, x * -math.sqrt(0.5)) / 2)


def gelu_dx(xp, x, dy):
    """dy·(Φ(x) + x·e^(−x²/2)/√(2π))"""
    near = xp.clip(x, -40, 40)                                     # beyond, e^(−x²/2) is 0
    return dy * (erfc(xp, x * -math.sqrt(0.5)) / 2 + near * xp.exp(near * near / -2) / math.sqrt(2 * math.pi))


def gelu_tanh(xp, x):
    """x·s, s = ½·(1 + tanh u) = σ(2u), u = √(2/π)·(x + 0.044715·x³)"""
    near = xp.clip(x, -40, 40)                                     # beyond, s is 0 or 1
    return x * sigmoid(xp, 2 * math.sqrt(2 / math.pi) * (near + 0.044715 * near * near * near))


def gelu_tanh_dx(xp, x, dy):
    """dy·s·(1 + 2·√(2/π)·x·(1 − s)·(1 + 3·0.044715·x²))"""
    c, near = 2 * math.sqrt(2 / math.pi), xp.clip(x, -40, 40)
    s = sigmoid(xp, c * (near + 0.044715 * near * near * near))
    return dy * (s * (1 + c * near * (1 - s) * (1 + 3 * 0.044715 * near * near)))


def softplus(xp, x, beta):
    """ln(1 + e^(βx))/β, computed from e^−|βx|, which can't overflow"""
    z = beta * x
    return (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta


def softplus_dx(xp, x, dy, beta):
    """dy·σ(βx)"""
    return dy * sigmoid(xp, beta * x)


def mish(xp, x):
    """x·tanh(ln(1 + e^x))"""
    return x * xp.tanh(softplus(xp, x, 1))


def mish_dx(xp, x, dy):
    """dy·(t + x·(1 − t²)·σ(x)), t = tanh(ln(1 + e^x))"""
    t = xp.tanh(softplus(xp, x, 1))
    return dy * (t + x * (1 - t * t) * sigmoid(xp, x))
