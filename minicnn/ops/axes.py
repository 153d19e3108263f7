"""Helpers of the ops: checks of axis arguments, and the gradient of broadcasting."""

import operator

from minicnn.op_checks import brief


def normalise_axes(name, x, axis):
    """`axis` (None for all, an integer, or several) as a tuple of non-negative axes; `name`: the op, for errors."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = tuple(normalise_axis(name, x, a) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len({*axes}) < len(axes):
        raise ValueError(f"{name}: axis {axis} names an axis of shape {x.shape} twice")
    return axes


def normalise_axis(name, x, axis):
    """`axis`, one integer, as a non-negative axis."""
    try:
        a = operator.index(axis)
    except TypeError:
        a = None
    if a is None or isinstance(axis, bool):
        raise TypeError(f"{name}: axis must be an integer, not {brief(axis)}")
    if not -x.ndim <= a < x.ndim:
        use = f"use {-x.ndim} to {x.ndim - 1}" if x.ndim else "a scalar has no axes"
        raise ValueError(f"{name}: axis {a} is out of range for shape {x.shape}: {use}")
    return a % x.ndim


def restore_axes(dy, x, axes):
    """dy with the reduced axes of x inserted again with size 1, so that it broadcasts to x's shape."""
    return dy.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def unbroadcast(dy, like):
    """Sum dy over the axes along which `like` was broadcast: the gradient of broadcasting. → the shape of `like`"""
    shape = like.shape
    if dy.shape == shape:
        return dy
    dy = dy.sum(tuple(range(dy.ndim - len(shape))))                           # axes that `like` does not have
    return dy.sum(tuple(i for i, n in enumerate(shape) if n == 1 != dy.shape[i]), keepdims=True)
