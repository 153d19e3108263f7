"""Masks: comparisons, and `where`, which takes each value from one array or the other.

A comparison is a step function: its derivative is 0 wherever it has one. So masks are constants: they have no gradient,
and `where` passes its own on to the values alone.
"""

from minicnn import devices
from minicnn.device import Array
from minicnn.ops.axes import unbroadcast
from minicnn.tensor import op


@op(constants=("a", "b"), numbers=("a", "b"))
def greater(a: Array | float, b: Array | float):
    """y = (a > b), element by element, as booleans; False where one is NaN.   No gradient."""
    return _mask("greater", a=a, b=b)


@op(constants=("a", "b"), numbers=("a", "b"))
def greater_equal(a: Array | float, b: Array | float):
    """y = (a ≥ b), element by element, as booleans; False where one is NaN.   No gradient."""
    return _mask("greater_equal", a=a, b=b)


@op(constants=("a", "b"), numbers=("a", "b"))
def less(a: Array | float, b: Array | float):
    """y = (a < b), element by element, as booleans; False where one is NaN.   No gradient."""
    return _mask("less", a=a, b=b)


@op(constants=("a", "b"), numbers=("a", "b"))
def less_equal(a: Array | float, b: Array | float):
    """y = (a ≤ b), element by element, as booleans; False where one is NaN.   No gradient."""
    return _mask("less_equal", a=a, b=b)


@op(constants=("a", "b"), numbers=("a", "b"))
def equal(a: Array | float, b: Array | float):
    """y = (a = b), element by element, as booleans; False where one is NaN.   No gradient."""
    return _mask("equal", a=a, b=b)


@op(constants=("a", "b"))
def logical_and(a: Array, b: Array):
    """y = true where a and b both are.   a, b: booleans; of numbers, all but 0 are true.   No gradient."""
    return _mask("logical_and", a=a, b=b)


@op(constants=("a", "b"))
def logical_or(a: Array, b: Array):
    """y = true where a is, or b, or both.   a, b: booleans; of numbers, all but 0 are true.   No gradient."""
    return _mask("logical_or", a=a, b=b)


@op(constants=("mask",))
def logical_not(mask: Array):
    """y = true where the mask is not.   mask: booleans; of numbers, all but 0 are true.   No gradient."""
    return _mask("logical_not", mask=mask)


@op(constants=("mask",), numbers=("a", "b"))
def where(mask: Array, a: Array | float, b: Array | float):
    """y = a where the mask is true, else b, element by element.   da = dy where it is true, else 0; db = dy − da

    mask: booleans; of numbers, all but 0 are true. The three broadcast; one of a and b may be a number. What is not
    taken has no part in y or in a gradient, not even an infinity or NaN. Kept for backward: the mask.
    """
    _checked("where", mask=mask)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        raise TypeError(f"where: a (={a}) and b (={b}) are both numbers: wrap one in Tensor(...), which says the dtype")
    xp = devices.of(mask).xp
    y = _elementwise("where", lambda a, b, mask: xp.where(mask, a, b), a=a, b=b, mask=mask)
    return y, (None, lambda dy: unbroadcast(xp.where(mask, dy, 0), a), lambda dy: unbroadcast(xp.where(mask, 0, dy), b))


def _mask(name, **arrays):
    """(what the array module's function of this name computes, no gradients)"""
    _checked(name, **arrays)
    device = devices.of(next(a for a in arrays.values() if not isinstance(a, (int, float))))
    return _elementwise(name, getattr(device.xp, name), **arrays), (None,) * len(arrays)


def _checked(op_name, **arrays):
    for name, a in arrays.items():
        if not isinstance(a, (int, float)) and a.dtype.kind not in "biuf":
            raise TypeError(f"{op_name}: {name} must hold booleans or numbers, not {a.dtype}")


def _elementwise(op_name, function, **arrays):
    device = devices.of(next(a for a in arrays.values() if not isinstance(a, (int, float))))
    try:
        return device.elementwise(function, *arrays.values())
    except ValueError:
        shapes = ", ".join(f"{name} {getattr(a, 'shape', ())}" for name, a in arrays.items())
        raise ValueError(f"{op_name}: the shapes of {shapes} do not broadcast: counted from the last, each axis must "
                         "have the same size in all, or size 1") from None
