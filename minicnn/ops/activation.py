"""Activations: one function, applied to each element.  x, y, dx, dy all have the same shape, any shape.

At a kink the gradient is as in PyTorch: relu'(0) = 0, relu6'(0) = relu6'(6) = 0, leaky_relu'(0) = the slope below,
hardsigmoid'(±3) = 0, hardswish'(−3) = 0, hardswish'(3) = 1.
"""

from minicnn import devices
from minicnn.device import Array
from minicnn.op_checks import number
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
    y = device.elementwise(lambda x: device.xp.clip(x, 0, 6), x)
    return y, lambda dy: device.elementwise(lambda y, dy: dy * ((y > 0) & (y < 6)), y, dy)


@op
def leaky_relu(x: Array, *, negative_slope: float = 0.01):
    """y = x where x > 0, else slope·x.   dx = dy where x > 0, else slope·dy.   Maas et al. 2013"""
    device, negative_slope = devices.of(x), number("leaky_relu", "negative_slope", negative_slope)

    def scaled(x, values):
        return values * device.xp.where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))

    return device.elementwise(scaled, x, x), lambda dy: device.elementwise(scaled, x, dy)


@op
def tanh(x: Array):
    """y = tanh x.   dx = dy·(1 − y²)"""
    device = devices.of(x)
    y = device.elementwise(device.xp.tanh, x)
    return y, lambda dy: device.elementwise(lambda y, dy: dy * (1 - y * y), y, dy)


@op
def sigmoid(x: Array):
    """y = σ(x) = 1/(1 + e^−x).   dx = dy·y·(1 − y)"""
    device = devices.of(x)
    y = device.elementwise(_sigmoid, x)
    return y, lambda dy: device.elementwise(lambda y, dy: dy * y * (1 - y), y, dy)


@op
def silu(x: Array):
    """y = x·σ(x).   dx = dy·σ·(1 + x·(1 − σ)).   Elfwing et al. 2017; swish: Ramachandran et al. 2017"""
    device = devices.of(x)
    s = device.elementwise(_sigmoid, x)
    y = device.elementwise(device.xp.multiply, x, s)
    return y, lambda dy: device.elementwise(lambda x, s, dy: dy * s * (1 + x * (1 - s)), x, s, dy)


@op
def hardsigmoid(x: Array):
    """y = min(max(x + 3, 0), 6)/6.   dx = dy/6 where −3 < x < 3, else 0.   Howard et al. 2019, §5.2"""
    device = devices.of(x)
    y = device.elementwise(lambda x: device.xp.clip(x + 3, 0, 6) / 6, x)
    return y, lambda dy: device.elementwise(lambda x, dy: dy * ((x > -3) & (x < 3)) / 6, x, dy)


@op
def hardswish(x: Array):
    """y = x·min(max(x + 3, 0), 6)/6.   dx = dy·(2x + 3)/6 in (−3, 3), dy above, 0 below.   Howard et al. 2019, §5.2"""
    device = devices.of(x)
    xp = device.xp

    def dx(x, dy):
        return dy * xp.where(x <= -3, 0, xp.where(x < 3, (2 * x + 3) / 6, 1)).astype(x.dtype)

    return device.elementwise(lambda x: x * xp.clip(x + 3, 0, 6) / 6, x), lambda dy: device.elementwise(dx, x, dy)


def _sigmoid(x):
    """σ(x), computed from e^−|x|, which can't overflow."""
    xp = devices.of(x).xp
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)
