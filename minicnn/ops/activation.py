"""Activations: one function, applied to each element.  x, y, dx, dy all have the same shape, any shape.

At a kink the gradient is as in PyTorch: relu'(0) = 0, relu6'(0) = relu6'(6) = 0, leaky_relu'(0) = the slope below,
hardsigmoid'(±3) = 0, hardswish'(−3) = 0, hardswish'(3) = 1, elu'(0) = α, selu'(0) = λα, prelu'(0) = w.
"""

from minicnn import devices, formulas
from minicnn.device import Array
from minicnn.op_checks import brief, number
from minicnn.tensor import op


@op
def relu(x: Array):
    """y = max(x, 0).   dx = dy where x > 0, else 0.   Nair & Hinton 2010"""
    device = devices.of(x)
    y = device.relu(x)
    return y, lambda dy: device.relu_dx(dy, y)


@op
def relu6(x: Array):
    """y = min(max(x, 0), 6).   dx = dy where 0 < x < 6, else 0.   Howard et al. 2017 (MobileNet)"""
    device = devices.of(x)
    y = device.evaluate(formulas.clip, x, 0, 6)
    return y, lambda dy: device.evaluate(formulas.clip_dx, y, dy, 0, 6)


@op
def leaky_relu(x: Array, *, negative_slope: float = 0.01):
    """y = x where x > 0, else slope·x.   dx = dy where x > 0, else slope·dy.   Maas et al. 2013"""
    device, slope = devices.of(x), number("leaky_relu", "negative_slope", negative_slope)
    def scaled(values): return device.evaluate(formulas.leaky_relu, x, values, slope)
    return scaled(x), scaled


@op
def tanh(x: Array):
    """y = tanh x.   dx = dy·(1 − y²)"""
    device = devices.of(x)
    y = device.elementwise(device.xp.tanh, x)
    return y, lambda dy: device.evaluate(formulas.tanh_dx, y, dy)


@op
def sigmoid(x: Array):
    """y = σ(x) = 1/(1 + e^−x).   dx = dy·y·(1 − y)"""
    device = devices.of(x)
    y = device.evaluate(formulas.sigmoid, x)
    return y, lambda dy: device.evaluate(formulas.sigmoid_dx, y, dy)


@op
def silu(x: Array):
    """y = x·σ(x).   dx = dy·σ·(1 + x·(1 − σ)).   Elfwing et al. 2017; swish: Ramachandran et al. 2017"""
    device = devices.of(x)
    return device.evaluate(formulas.silu, x), lambda dy: device.evaluate(formulas.silu_dx, x, dy)


@op
def hardsigmoid(x: Array):
    """y = min(max(x + 3, 0), 6)/6.   dx = dy/6 where −3 < x < 3, else 0.   Howard et al. 2019, §5.2"""
    device = devices.of(x)
    return device.evaluate(formulas.hardsigmoid, x), lambda dy: device.evaluate(formulas.hardsigmoid_dx, x, dy)


@op
def hardswish(x: Array):
    """y = x·min(max(x + 3, 0), 6)/6.   dx = dy·(2x + 3)/6 in (−3, 3), dy above, 0 below.   Howard et al. 2019, §5.2"""
    device = devices.of(x)
    return device.evaluate(formulas.hardswish, x), lambda dy: device.evaluate(formulas.hardswish_dx, x, dy)


@op
def elu(x: Array, *, alpha: float = 1.0):
    """y = x where x > 0, else α·(e^x − 1).   dx = dy where x > 0, else dy·α·e^x.   Clevert et al. 2015, eq. 15"""
    device, alpha = devices.of(x), number("elu", "alpha", alpha)
    return device.evaluate(formulas.elu, x, alpha), lambda dy: device.evaluate(formulas.elu_dx, x, dy, alpha)


@op
def selu(x: Array):
    """y = λ·elu(x, α), λ = 1.0507…, α = 1.6733….   dx = λ·dy where x > 0, else λ·dy·α·e^x.   Klambauer et al. 2017

    With these two constants, layers keep mean 0 and variance 1.
    """
    device = devices.of(x)
    return device.evaluate(formulas.selu, x), lambda dy: device.evaluate(formulas.selu_dx, x, dy)


@op
def gelu(x: Array, *, approximate: str = "none"):
    """y = x·Φ(x), Φ the standard normal distribution's cumulative function.   dx = dy·(Φ + x·e^(−x²/2)/√(2π))

    approximate="tanh": y = ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), which differs from it by at most 5e-4.
    Hendrycks & Gimpel 2016, §2
    """
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {brief(approximate)}")
    device = devices.of(x)
    y, dx = (formulas.gelu_tanh, formulas.gelu_tanh_dx) if approximate == "tanh" else (formulas.gelu, formulas.gelu_dx)
    return device.evaluate(y, x), lambda dy: device.evaluate(dx, x, dy)


@op
def softplus(x: Array, *, beta: float = 1.0):
    """y = ln(1 + e^(βx))/β, a smooth ReLU; β > 0.   dx = dy·σ(βx).   Dugas et al. 2000

    PyTorch returns x itself where βx > 20, which differs by at most 2.1e-9/β.
    """
    if number("softplus", "beta", beta, least=0) == 0:
        raise ValueError(f"softplus: beta (={beta}) must be above 0: use relu for β → ∞")
    device = devices.of(x)
    return device.evaluate(formulas.softplus, x, beta), lambda dy: device.evaluate(formulas.softplus_dx, x, dy, beta)


@op
def mish(x: Array):
    """y = x·tanh(ln(1 + e^x)).   dx = dy·(t + x·(1 − t²)·σ(x)), t the tanh.   Misra 2019"""
    device = devices.of(x)
    return device.evaluate(formulas.mish, x), lambda dy: device.evaluate(formulas.mish_dx, x, dy)


@op
def prelu(x: Array, w: Array):
    """y = x where x > 0, else w[c]·x, a learned slope for each channel.   x (N,C,…)   w (C,) or (1,)

    dx = dy where x > 0, else w[c]·dy.   dw = Σ dy·x where x ≤ 0.   Kept for backward: x and w.   He et al. 2015, §2.1
    """
    C = x.shape[1] if x.ndim > 1 else 1
    if w.shape not in ((1,), (C,)):
        raise ValueError(f"prelu: w has shape {w.shape}, but x {x.shape} has {C} channels: w must have shape ({C},), "
                         "or (1,) for all channels")
    device, xp = devices.of(x), devices.of(x).xp
    slope = w.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else w           # (C, 1, …)
    def scaled(values): return xp.where(x > 0, values, slope * values)

    def dw(dy):
        each = xp.where(x > 0, 0, dy * x)                                     # (N, C, …)
        return each.sum().reshape(1) if w.size == 1 else device.channel_sums(each)

    return scaled(x), (scaled, dw)
