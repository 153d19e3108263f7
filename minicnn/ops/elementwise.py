"""exp, log and sqrt, element by element. (+ − · / and powers stand in minicnn/tensor.py.)"""

from minicnn import devices
from minicnn.tensor import op


@op
def exp(x):
    """y = e^x.   dx = dy·y"""
    device = devices.of(x)
    y = device.map(device.xp.exp, x)
    return y, lambda dy: device.map(device.xp.multiply, y, dy)


@op
def log(x):
    """y = ln x.   dx = dy/x"""
    device = devices.of(x)
    return device.map(device.xp.log, x), lambda dy: device.map(lambda x, dy: dy / x, x, dy)


@op
def sqrt(x):
    """y = √x.   dx = dy/(2y)"""
    device = devices.of(x)
    y = device.map(device.xp.sqrt, x)
    return y, lambda dy: device.map(lambda y, dy: dy / (2 * y), y, dy)
