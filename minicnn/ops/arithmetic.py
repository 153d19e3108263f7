"""Arithmetic, element by element. Two arguments broadcast as in NumPy; either of them may be a number."""

from numbers import Real

from minicnn import devices
from minicnn.ops.axes import unbroadcast
from minicnn.tensor import op


@op
def add(a, b):
    """y = a + b.   da = dy, db = dy, summed over the axes that were broadcast"""
    return _apply("add", a, b), (lambda dy: unbroadcast(dy, a), lambda dy: unbroadcast(dy, b))


@op
def subtract(a, b):
    """y = a − b.   da = dy, db = −dy"""
    return _apply("subtract", a, b), (lambda dy: unbroadcast(dy, a), lambda dy: unbroadcast(-dy, b))


@op
def multiply(a, b):
    """y = a · b.   da = dy·b, db = dy·a"""
    return _apply("multiply", a, b), (lambda dy: unbroadcast(dy * b, a), lambda dy: unbroadcast(dy * a, b))


@op
def divide(a, b):
    """y = a / b.   da = dy/b, db = −dy·y/b"""
    y = _apply("divide", a, b)
    return y, (lambda dy: unbroadcast(dy / b, a), lambda dy: unbroadcast(-dy * y / b, b))


@op
def negative(x):
    """y = −x.   dx = −dy"""
    return -x, lambda dy: -dy


@op
def power(x, *, exponent):
    """y = x^e, e a number.   dx = dy·e·x^(e−1)"""
    if not isinstance(exponent, Real):
        raise TypeError(f"power: the exponent must be a number, not a {type(exponent).__name__}: "
                        "for b ** t with a Tensor t write exp(t * log(b))")
    return x**exponent, lambda dy: dy * exponent * x ** (exponent - 1)


@op
def exp(x):
    """y = e^x.   dx = dy·y"""
    device = devices.of(x)
    y = device.elementwise(device.xp.exp, x)
    return y, lambda dy: device.elementwise(device.xp.multiply, y, dy)


@op
def log(x):
    """y = ln x.   dx = dy/x"""
    device = devices.of(x)
    return device.elementwise(device.xp.log, x), lambda dy: device.elementwise(lambda x, dy: dy / x, x, dy)


@op
def sqrt(x):
    """y = √x.   dx = dy/(2y)"""
    device = devices.of(x)
    y = device.elementwise(device.xp.sqrt, x)
    return y, lambda dy: device.elementwise(lambda y, dy: dy / (2 * y), y, dy)


@op
def abs(x):
    """y = |x|.   dx = dy·sign(x), 0 at the kink x = 0"""
    device = devices.of(x)
    return device.elementwise(device.xp.abs, x), lambda dy: device.elementwise(
        lambda x, dy: dy * device.xp.sign(x), x, dy)


@op
def clip(x, *, low=None, high=None):
    """y = min(max(x, low), high), either of them None for no limit.   dx = dy where low < x < high, else 0"""
    if not all(limit is None or isinstance(limit, Real) for limit in (low, high)):
        raise TypeError(f"clip: low (={low!r}) and high (={high!r}) must be numbers or None")
    low, high = (-float("inf") if low is None else low), (float("inf") if high is None else high)
    if not low <= high:
        raise ValueError(f"clip: low (={low}) must not be above high (={high})")
    device = devices.of(x)
    return (device.elementwise(lambda x: device.xp.clip(x, low, high), x),
            lambda dy: device.elementwise(lambda x, dy: dy * ((x > low) & (x < high)), x, dy))


def _apply(function, *arguments):
    """The array module's `function` on the device of the arguments, of which one may be a number."""
    device = next(device for a in arguments if (device := devices.find(a)) is not None)
    return device.elementwise(getattr(device.xp, function), *arguments)
