"""exp, log and sqrt, element by element. (+ − · / and powers stand in minicnn/tensor.py.)"""

from minicnn import devices
from minicnn.tensor import op


@op
def exp(x):
    """y = e^x.   dx = dy·y"""
    y = devices.of(x).xp.exp(x)
    return y, lambda dy: dy * y


@op
def log(x):
    """y = ln x.   dx = dy/x"""
    return devices.of(x).xp.log(x), lambda dy: dy / x


@op
def sqrt(x):
    """y = √x.   dx = dy/(2y)"""
    y = devices.of(x).xp.sqrt(x)
    return y, lambda dy: dy / (2 * y)
