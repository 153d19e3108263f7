"""Helpers of the ops: axes as the caller names them, and the gradient of broadcasting."""


def normalise_axes(name, x, axis):
    """`axis` (None for all, an integer, or several) as a tuple of axes from 0 up; `name` is the op's, for the error."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if isinstance(a, bool) or not hasattr(a, "__index__"):
            raise TypeError(f"{name}: axis must be an integer, several, or None, not {axis!r}")
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"{name}: axis {a} is out of range for shape {x.shape}: use {-x.ndim} to {x.ndim - 1}")
    return tuple(a % x.ndim for a in axes)


def restore_axes(dy, x, axes):
    """dy with the reduced axes of x back in place, 1 long, so that it broadcasts to x's shape."""
    return dy.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def unbroadcast(dy, like):
    """Sum dy over the axes along which `like` was broadcast: the gradient of broadcasting. → the shape of `like`"""
    shape = like.shape
    if dy.shape == shape:
        return dy
    dy = dy.sum(tuple(range(dy.ndim - len(shape))))                           # axes that `like` does not have
    return dy.sum(tuple(i for i, n in enumerate(shape) if n == 1 != dy.shape[i]), keepdims=True)
