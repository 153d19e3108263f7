"""Exercise 10: a residual block."""

from __future__ import annotations

import numpy as np

from minicnn import ops, reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, changed, gradients
from minicnn.course.finite import by_differences

STARTER = '''"""Exercise 10: the residual block (잔차 블록) and its shortcut (지름길 연결).

A block adds its input to its output, so it only learns the difference. Backward, dy goes both ways: through the layers
and, unchanged, along the shortcut. The block here has linear layers, so that the formulas stay short.

    minicnn course check ex10_residual.py
"""

import numpy as np

EXERCISE = 10


def residual(x, w1, w2):
    """y = relu(x + relu(x @ w1) @ w2)   with relu(v) = max(v, 0)

    x (N, D)   w1 (D, M)   w2 (M, D)   → y (N, D)

    By hand: x = 1 −2, w1 = (1, 1)ᵀ, w2 = (3, 4): x @ w1 = −1, its relu is 0, and y = relu(1, −2) = 1 0.

    >>> residual(np.array([[1., -2.]]), np.array([[1.], [1.]]), np.array([[3., 4.]]))
    array([[1., 0.]])
    """
    raise NotImplementedError  # replace this line by your solution


def residual_backward(dy, x, w1, w2):
    """→ (dx, dw1, dw2), the gradients of Σ dy·y

    The last relu passes dy on where its input is above 0; call that ds. It goes both to x directly, and back through
    w2, the inner relu and w1 to x again: dx is the sum of both.
    """
    raise NotImplementedError  # replace this line by your solution


def shortcut(x, channels, stride):
    """The shortcut without parameters of ResNet (option A): every `stride`-th pixel, and channels of zeros behind.

    x (N, C, H, W) → (N, channels, ⌈H / stride⌉, ⌈W / stride⌉), channels ≥ C

    By hand: the row 1 2 3 with stride 2 becomes 1 3; a second channel is 0 0.

    >>> shortcut(np.array([[[[1., 2., 3.]]]]), 2, 2)[0, :, 0]
    array([[1., 3.],
           [0., 0.]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _relu(v):
    return np.maximum(v, 0)


def _linear(x, w):
    return reference.linear(x, w.T)


def _branch(x, w1, w2):
    return _linear(_relu(_linear(x, w1)), w2)


def _right(x, w1, w2):
    return _relu(x + _branch(x, w1, w2))


def _net(x, w1, w2):
    """The block in the engine's ops."""
    return ops.relu(x + ops.relu(x @ w1) @ w2)


def _backward(dy, x, w1, w2):
    return gradients(_net, dy, x, w1, w2)


def _shortcut(x, channels, stride):
    n, c, h, w = x.shape
    y = np.zeros((n, channels, -(-h // stride), -(-w // stride)))
    for i, j in np.ndindex(y.shape[2:]):
        y[:, :c, i, j] = x[:, :, i * stride, j * stride]
    return y


def _passed(dy, x, w1, w2):
    """dy behind the last relu."""
    return dy * (x + _branch(x, w1, w2) > 0)


def _along(net):
    """The gradients of another block: net(x, w1, w2) in the engine's ops."""
    return lambda right, dy, *arrays: gradients(net, dy, *arrays)


def _no_inner_relu(right, dy, x, w1, w2):
    """The inner relu passes everything on, backward only."""
    ds = _passed(dy, x, w1, w2)
    return ds + ds @ w2.T @ w1.T, x.T @ (ds @ w2.T), right[2]


FORWARD = (
    Mistake("shortcut forgotten", "x is added before the last relu.", lambda right, x, *w: _relu(_branch(x, *w))),
    Mistake("added after the last relu", "relu(x + F), not relu(F) + x.",
            lambda right, x, *w: _relu(_branch(x, *w)) + x),
    Mistake("last relu forgotten", "The sum goes through a relu.", lambda right, x, *w: x + _branch(x, *w)),
    Mistake("inner relu forgotten", "Between the two layers there is a relu.",
            lambda right, x, w1, w2: _relu(x + _linear(_linear(x, w1), w2))),
    Mistake("multiplied instead of added", "The shortcut is added.", lambda right, x, *w: _relu(x * _branch(x, *w))),
    Mistake("a relu on the shortcut", "The shortcut is x itself.",
            lambda right, x, *w: _relu(_relu(x) + _branch(x, *w))),
    Mistake("a relu too many", "The second layer's output is added without a relu.",
            lambda right, x, *w: _relu(x + _relu(_branch(x, *w)))),
)  # fmt: skip
BACKWARD = (
    Mistake("the shortcut's gradient forgotten", "dx is a sum: x also goes along the shortcut.",
            lambda right, dy, *a: changed(right, 0, right[0] - _passed(dy, *a))),
    Mistake("the layers' gradient forgotten", "dx is a sum: x also goes through the two layers.",
            lambda right, dy, *a: changed(right, 0, _passed(dy, *a))),
    Mistake("the shortcut's gradient twice", "The shortcut passes ds on once.",
            lambda right, dy, *a: changed(right, 0, right[0] + _passed(dy, *a))),
    Mistake("last relu ignored", "The last relu passes dy on only where its input is above 0.",
            _along(lambda x, w1, w2: x + ops.relu(x @ w1) @ w2)),
    Mistake("last relu ignored on the shortcut", "The shortcut gets ds, which is dy behind the last relu, not dy.",
            lambda right, dy, *a: changed(right, 0, right[0] - _passed(dy, *a) + dy)),
    Mistake("inner relu ignored", "The inner relu passes the gradient on only where x @ w1 is above 0.",
            _no_inner_relu),
    Mistake("averaged over the batch", "dw1 and dw2 are sums over the rows of x.",
            lambda right, dy, *a: (right[0], right[1] / len(dy), right[2] / len(dy))),
    Mistake("dw1 and dw2 exchanged", "The order is (dx, dw1, dw2).", lambda right, *a: (right[0], right[2], right[1])),
)  # fmt: skip


def _other_pixels(right, x, channels, stride):
    n, c = x.shape[:2]
    rows = x[:, :, stride - 1 :: stride, stride - 1 :: stride]
    return np.concatenate([rows, np.zeros((n, channels - c, *rows.shape[2:]))], axis=1)


SHORTCUT = (
    Mistake("stride forgotten", "Every `stride`-th pixel, down and across.",
            lambda right, x, channels, stride: _shortcut(x, channels, 1)),
    Mistake("zeros in front", "The channels of zeros come behind those of x.",
            lambda right, x, channels, stride: np.roll(right, channels - x.shape[1], axis=1)),
    Mistake("channels repeated", "The new channels are zeros.",
            lambda right, x, channels, stride: right[:, np.arange(channels) % x.shape[1]]),
    Mistake("other pixels", "The first pixel counts: 0, stride, 2·stride, …", _other_pixels),
    Mistake("means instead of every stride-th pixel", "Option A takes single pixels, no means.",
            lambda right, x, channels, stride: None if x.shape[2] % stride or x.shape[3] % stride else np.pad(
                reference.avg_pool2d(x, kernel_size=stride), ((0, 0), (0, channels - x.shape[1]), (0, 0), (0, 0)))),
)  # fmt: skip


def _blocks(rng):
    small = [rng.integers(-3, 4, shape) * 1.0 for shape in ((2, 2), (2, 3), (3, 2))]
    return [tuple(small), (rng.normal(size=(6, 3)), rng.normal(size=(3, 5)), rng.normal(size=(5, 3)))]


def _with_dy(rng):
    """Without zeros, at which relu has a kink."""
    found = []
    for n, d, m in ((2, 1, 2), (7, 4, 5)):
        x, w1, w2 = rng.normal(size=(n, d)), rng.normal(size=(d, m)), rng.normal(size=(m, d))
        found.append((rng.normal(size=(n, d)), x, w1, w2))
    return found


def _maps(rng):
    return [(np.arange(1.0, 9).reshape(1, 1, 2, 4), 3, 2), (rng.normal(size=(2, 3, 6, 4)), 5, 2),
            (rng.normal(size=(2, 2, 4, 4)), 4, 1)]  # fmt: skip


def _odd_maps(rng):
    return [(rng.normal(size=(1, 2, 5, 3)), 4, 2), (rng.normal(size=(2, 3, 7, 5)), 6, 3)]


EXERCISE = Exercise(
    10, "residual", "A residual block", "잔차 블록", STARTER,
    (Function("residual", ("y",), _right, FORWARD),
     Function("residual_backward", ("dx", "dw1", "dw2"), _backward, BACKWARD),
     Function("shortcut", ("y",), _shortcut, SHORTCUT)),
    (Check("forward", "residual", _blocks),
     Check("dw1", "residual_backward", _with_dy, part=1),
     Check("dw2", "residual_backward", _with_dy, part=2),
     Check("dx", "residual_backward", _with_dy, part=0),
     Check("finite differences", "residual_backward", lambda rng: _with_dy(rng)[1:],
           rule=by_differences(lambda dy, *a: (dy, list(a), _right), ("dx", "dw1", "dw2"))),
     Check("a shortcut that changes the shape", "shortcut", _maps),
     Check("a shortcut of maps with odd sides", "shortcut", _odd_maps)),
)  # fmt: skip
