"""Exercise 5: max pooling, with ties."""

from __future__ import annotations

import numpy as np

from minicnn import ops, reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, gradients
from minicnn.course.finite import by_differences

STARTER = '''"""Exercise 5: max pooling (최대 풀링), and what happens to ties.

Pooling keeps the largest pixel of each window. Backward, all of a window's dy goes to the pixel that was the largest.
If several are equally large (a tie), it goes to the first of them, row by row. After a ReLU ties are common: zeros.

    minicnn course check ex05_pooling.py
"""

import numpy as np

EXERCISE = 5


def max_pool(x, kernel, stride):
    """y[n,c,i,j] = max of x[n, c, i·stride + p, j·stride + q] over p, q = 0 … kernel − 1

    x (N, C, H, W)   kernel, stride: integers   → y (N, C, OH, OW), OH = (H − kernel) // stride + 1, OW likewise.

    >>> max_pool(np.array([[[[1., 5., 2., 0.], [3., 4., 8., 6.]]]]), 2, 2)[0, 0]
    array([[5., 8.]])
    """
    raise NotImplementedError  # replace this line by your solution


def max_pool_backward(dy, x, kernel, stride):
    """dx, where each dy[n,c,i,j] is added to the largest pixel of its window; to the first one if there are several.

    The first: row by row, from left to right. Windows may overlap: then a pixel gets a sum.   dx has the shape of x.

    By hand: the window 7 7 / 2 7 has three largest pixels. The first one gets dy = 10, the others get nothing.

    >>> max_pool_backward(np.array([[[[10.]]]]), np.array([[[[7., 7.], [2., 7.]]]]), 2, 2)[0, 0]
    array([[10.,  0.],
           [ 0.,  0.]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _max_pool(x, kernel, stride):
    return reference.max_pool2d(x, kernel_size=kernel, stride=stride)


def _right(dy, x, kernel, stride):
    return gradients(lambda x: ops.max_pool2d(x, kernel_size=kernel, stride=stride), dy, x)[0]


def _sent(weights, add=True):
    """weights(window, its maximum) → the share of dy of each pixel of the window."""

    def gives(right, dy, x, kernel, stride):
        dx = np.zeros_like(x)
        for n, c, i, j in np.ndindex(dy.shape):
            here = (n, c, slice(i * stride, i * stride + kernel), slice(j * stride, j * stride + kernel))
            share = weights(x[here]) * dy[n, c, i, j]
            dx[here] = share + dx[here] if add else np.where(share != 0, share, dx[here])
        return dx

    return gives


def _first(window):
    return (np.arange(window.size) == window.argmax()).reshape(window.shape) * 1.0


def _last(window):
    return _first(window[::-1, ::-1])[::-1, ::-1]


def _first_by_column(window):
    return _first(window.T).T


def _largest(window):
    return (window == window.max()) * 1.0


def _shared(window):
    return _largest(window) / _largest(window).sum()


FORWARD = (
    Mistake("starts from 0", "The largest pixel can be negative: start from −∞ or from the first pixel, not from 0.",
            lambda right, *a: np.maximum(right, 0)),
    Mistake("mean instead of maximum", "Max pooling keeps the largest pixel.",
            lambda right, x, k, s: reference.avg_pool2d(x, kernel_size=k, stride=s)),
    Mistake("largest absolute value", "−9 is smaller than 1.", lambda right, x, k, s: _max_pool(abs(x), k, s)),
    Mistake("stride taken to be the kernel", "Windows start every `stride` pixels, and may overlap.",
            lambda right, x, k, s: _max_pool(x, k, k)),
    Mistake("stride 1", "Windows start every `stride` pixels.", lambda right, x, k, s: _max_pool(x, k, 1)),
    Mistake("incomplete windows kept", "Only windows that fit completely count.",
            lambda right, x, k, s: reference.max_pool2d(x, kernel_size=k, stride=s, ceil_mode=True)),
)  # fmt: skip
BACKWARD = (
    Mistake("to all of the largest", "With a tie only the first of the largest pixels gets dy; you gave it to all: "
            "x == y is true several times.", _sent(_largest)),
    Mistake("to the last of the largest", "With a tie the first of the largest pixels gets dy; you gave it to the "
            "last: use > instead of >=.", _sent(_last)),
    Mistake("shared among the largest", "With a tie the first of the largest pixels gets all of dy, not a share of it.",
            _sent(_shared)),
    Mistake("first by columns", "The first is meant row by row.", _sent(_first_by_column)),
    Mistake("overwritten where windows overlap", "A pixel that is the largest of several windows gets the sum: add "
            "(+=), don't assign (=).", _sent(_first, add=False)),
    Mistake("to the whole window", "Only the largest pixel gets dy.", _sent(np.ones_like)),
    Mistake("averaged over the window", "That is the gradient of average pooling: the largest pixel gets all of dy.",
            _sent(lambda window: np.ones_like(window) / window.size)),
)  # fmt: skip


def _inputs(stride, values="apart", kernel=2):
    """Arrays for pooling. values: "apart", all different; "few", many ties; "negative", nothing above 0."""

    def cases(rng):
        found = []
        for n, c, h, w in ((1, 1, kernel, kernel + stride), (2, 3, 2 * stride + kernel, 3 * stride + kernel + 1)):
            x = rng.permutation(n * c * h * w).reshape(n, c, h, w) / 4.0 - 3
            if values == "few":
                x = rng.integers(0, 2, x.shape) * 1.0
            elif values == "negative":
                x = -1 - abs(x)
            found.append((x, kernel, stride))
        return found

    return cases


def _backward(stride, values="apart", kernel=2):
    def cases(rng):
        found = []
        for x, k, s in _inputs(stride, values, kernel)(rng):
            n, c, h, w = x.shape
            found.append((rng.integers(1, 9, (n, c, (h - k) // s + 1, (w - k) // s + 1)) / 2.0, x, k, s))
        if values == "few":
            found.insert(0, (np.array([[[[10.0]]]]), np.zeros((1, 1, 2, 2)), 2, 2))
        return found

    return cases


def _small(rng):
    x = rng.permutation(2 * 5 * 7).reshape(1, 2, 5, 7) / 4.0
    return [(rng.normal(size=(1, 2, 2, 3)), x, 3, 2)]


def _split(dy, x, kernel, stride):
    return dy, [x], lambda x: reference.max_pool2d(x, kernel_size=kernel, stride=stride)


EXERCISE = Exercise(
    5, "pooling", "Max pooling and ties", "최대 풀링과 동점", STARTER,
    (Function("max_pool", ("y",), _max_pool, FORWARD), Function("max_pool_backward", ("dx",), _right, BACKWARD)),
    (Check("windows side by side", "max_pool", _inputs(2)),
     Check("overlapping windows", "max_pool", _inputs(2, kernel=3)),
     Check("negative pixels", "max_pool", _inputs(2, "negative")),
     Check("gradient", "max_pool_backward", _backward(2)),
     Check("gradient of overlapping windows", "max_pool_backward", _backward(1, kernel=3)),
     Check("gradient with ties", "max_pool_backward", _backward(2, "few")),
     Check("finite differences", "max_pool_backward", _small, rule=by_differences(_split, ("dx",)))),
)  # fmt: skip
