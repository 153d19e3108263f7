"""Elementwise arithmetic. Two arguments broadcast as in NumPy; one of them may be a number."""

import math

from minicnn import devices, formulas
from minicnn.deferred import Later, fusable
from minicnn.device import Array
from minicnn.error_function import erf as error_function
from minicnn.op_checks import number
from minicnn.ops.axes import unbroadcast
from minicnn.tensor import op


@op(numbers=("a", "b"))
@fusable
def add(a: Array | float, b: Array | float):
    """y = a + b.   da = dy, db = dy, summed over the axes that were broadcast"""
    def y(relu=False): return devices.of(a).add_relu(a, b) if relu else devices.of(a).add(a, b)
    def da(dy): return unbroadcast(dy, a)
    def db(dy): return unbroadcast(dy, b)

    if isinstance(a, (int, float)) or isinstance(b, (int, float)) or a.shape != b.shape:
        return _apply("add", a, b), (da, db)
    return Later(devices.of(a), a.shape, a.dtype, y), (da, db)


@op(numbers=("a", "b"))
def subtract(a: Array | float, b: Array | float):
    """y = a − b.   da = dy, db = −dy"""
    return _apply("subtract", a, b), (lambda dy: unbroadcast(dy, a), lambda dy: unbroadcast(-dy, b))


@op(numbers=("a", "b"))
def multiply(a: Array | float, b: Array | float):
    """y = a · b.   da = dy·b, db = dy·a"""
    return _apply("multiply", a, b), (lambda dy: unbroadcast(dy * b, a), lambda dy: unbroadcast(dy * a, b))


@op(numbers=("a", "b"))
def divide(a: Array | float, b: Array | float):
    """y = a / b.   da = dy/b, db = −dy·y/b"""
    y = _apply("divide", a, b)
    return y, (lambda dy: unbroadcast(dy / b, a), lambda dy: unbroadcast(-dy * y / b, b))


@op(numbers=("a", "b"))
def maximum(a: Array | float, b: Array | float):
    """y = the larger of a and b, element by element; NaN if one is NaN.   da = dy where a > b, db = dy where b > a

    Where a = b each gets dy/2, as in PyTorch.
    """
    return _larger("maximum", a, b, lambda one, other: one < other)


@op(numbers=("a", "b"))
def minimum(a: Array | float, b: Array | float):
    """y = the smaller of a and b, element by element; NaN if one is NaN.   da = dy where a < b, db = dy where b < a

    Where a = b each gets dy/2, as in PyTorch.
    """
    return _larger("minimum", a, b, lambda one, other: one > other)


@op
def negative(x: Array):
    """y = −x.   dx = −dy"""
    return -x, lambda dy: -dy


@op(numbers=("x", "exponent"))
def power(x: Array | float, exponent: Array | float):
    """y = x^e.   dx = dy·e·x^(e−1), 0 for e = 0;   de = dy·y·ln x for x > 0, 0 for x = 0, NaN for x < 0"""
    if isinstance(exponent, (int, float)):
        e = number("power", "exponent", exponent)
        return x**e, (lambda dy: dy * e * x ** (e - 1), None)
    xp, y = devices.of(exponent).xp, _apply("power", x, exponent)

    def dx(dy):
        slope = xp.where(exponent == 0, 0, exponent * _apply("power", x, xp.where(exponent == 0, 1, exponent - 1)))
        return unbroadcast(dy * slope, x)

    def de(dy):
        if isinstance(x, (int, float)):
            return unbroadcast(dy * y * (math.log(x) if x > 0 else math.nan if x < 0 else 0), exponent)
        return unbroadcast(dy * xp.where(x == 0, 0, y * xp.log(xp.where(x == 0, 1, x))), exponent)

    return y, (dx, de)


@op
def exp(x: Array):
    """y = e^x.   dx = dy·y"""
    device = devices.of(x)
    y = device.elementwise(device.xp.exp, x)
    return y, lambda dy: device.elementwise(device.xp.multiply, y, dy)


@op
def log(x: Array):
    """y = ln x.   dx = dy/x"""
    device = devices.of(x)
    return device.elementwise(device.xp.log, x), lambda dy: device.elementwise(lambda x, dy: dy / x, x, dy)


@op
def erf(x: Array):
    """y = 2/√π · ∫₀ˣ e^(−t²) dt, the error function.   dx = dy·2/√π·e^(−x²)"""
    device, xp = devices.of(x), devices.of(x).xp

    def slope(x, dy):
        near = xp.clip(x, -30, 30)                                            # beyond, e^(−x²) is 0
        return dy * (xp.exp(-near * near) * (2 / math.sqrt(math.pi)))

    return device.evaluate(error_function, x), lambda dy: device.elementwise(slope, x, dy)


@op
def sqrt(x: Array):
    """y = √x.   dx = dy/(2y)"""
    device = devices.of(x)
    y = device.elementwise(device.xp.sqrt, x)
    return y, lambda dy: device.elementwise(lambda y, dy: dy / (2 * y), y, dy)


@op
def abs(x: Array):
    """y = |x|.   dx = dy·sign(x), 0 at the kink x = 0"""
    device = devices.of(x)
    return device.elementwise(device.xp.abs, x), lambda dy: device.elementwise(
        lambda x, dy: dy * device.xp.sign(x), x, dy)


@op
def clip(x: Array, *, low: float | None = None, high: float | None = None):
    """y = min(max(x, low), high), either of them None for no limit.   dx = dy where low < x < high, else 0"""
    low = -float("inf") if low is None else number("clip", "low", low)
    high = float("inf") if high is None else number("clip", "high", high)
    if low > high:
        raise ValueError(f"clip: low (={low}) must not be above high (={high})")
    device = devices.of(x)
    return (device.evaluate(formulas.clip, x, low, high),
            lambda dy: device.evaluate(formulas.clip_dx, x, dy, low, high))


def _larger(name, a, b, loses):
    """maximum, or minimum with the other comparison."""
    xp = next(device for x in (a, b) if (device := devices.find(x)) is not None).xp

    def to(one, other):
        return lambda dy: unbroadcast(xp.where(loses(one, other), 0, xp.where(one == other, dy / 2, dy)), one)

    return _apply(name, a, b), (to(a, b), to(b, a))


def _apply(function, *arguments):
    """The array module's `function` on the device of the arguments; one of them may be a number."""
    device = next(device for a in arguments if (device := devices.find(a)) is not None)
    try:
        return device.elementwise(getattr(device.xp, function), *arguments)
    except ValueError:
        a, b = (getattr(a, "shape", ()) for a in arguments)
        raise ValueError(f"{function}: shapes {a} and {b} do not broadcast: counted from the last, each axis must have "
                         "the same size in both, or size 1") from None
