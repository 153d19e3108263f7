"""Activations: one function, applied to each element.  x, y, dx, dy all have the same shape, any shape.

At a kink the gradient is as in PyTorch: relu'(0) = 0, relu6'(0) = relu6'(6) = 0, leaky_relu'(0) = the slope below,
hardsigmoid'(±3) = 0, hardswish'(−3) = 0, hardswish'(3) = 1.
"""

from minicnn import devices, formulas
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
