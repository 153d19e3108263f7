"""Exercise 6: softmax and cross entropy that do not overflow."""

from __future__ import annotations

import math

import numpy as np

from minicnn import reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake
from minicnn.course.finite import by_differences

STARTER = '''"""Exercise 6: softmax (소프트맥스) and cross entropy (교차 엔트로피), without overflow (오버플로).

e^1000 is too large for a computer, and e^−1000 is 0 there. But a softmax does not change if the same number is
subtracted from all scores of a row; and log p can be computed without p.

    minicnn course check ex06_softmax.py
"""

import numpy as np

EXERCISE = 6


def softmax(x):
    """p[n,k] = e^x[n,k] / Σ_j e^x[n,j]   for scores x (N, K), also for scores such as 1000 or −1000

    By hand: the scores 0 and log 3 = 1.0986… give 1/4 and 3/4.

    >>> softmax(np.array([[0., np.log(3)]])).round(6)
    array([[0.25, 0.75]])
    """
    raise NotImplementedError  # replace this line by your solution


def log_softmax(x):
    """log p[n,k] = x[n,k] − log Σ_j e^x[n,j], finite also where p is 0 on a computer

    >>> log_softmax(np.array([[0., 1000.]]))
    array([[-1000.,     0.]])
    """
    raise NotImplementedError  # replace this line by your solution


def cross_entropy(x, labels):
    """The mean over n of −log p[n, labels[n]]: a number.   x (N, K) scores   labels (N,) integers

    By hand: p = (1/4, 3/4) with the label 0 gives −log 1/4 = 1.386.

    >>> round(float(cross_entropy(np.array([[0., np.log(3)]]), np.array([0]))), 3)
    1.386
    """
    raise NotImplementedError  # replace this line by your solution


def cross_entropy_backward(x, labels):
    """The gradient of cross_entropy with respect to the scores:   dx[n,k] = (p[n,k] − [k is labels[n]]) / N

    >>> cross_entropy_backward(np.array([[0., np.log(3)]]), np.array([0])).round(6)
    array([[-0.75,  0.75]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _softmax(x):
    return reference.softmax(x - x.max(1, keepdims=True))  # the same by definition; the loops alone would overflow


def _log_softmax(x):
    y = np.zeros_like(x)
    for n, row in enumerate(x):
        top = max(row)
        y[n] = row - top - math.log(math.fsum(math.exp(v - top) for v in row))
    return y


def _wanted(x, labels):
    return np.eye(x.shape[1])[labels]


def _cross_entropy(x, labels):
    return np.float64(-math.fsum(row[k] for row, k in zip(_log_softmax(x), labels)) / len(x))


def _backward(x, labels):
    return (_softmax(x) - _wanted(x, labels)) / len(x)


def _exp(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def _shifted_by_all(x):
    return _exp(x - x.max())


SOFTMAX = (
    Mistake("no maximum subtracted", "e^x overflows for large x: subtract each row's maximum first.",
            lambda right, x: _exp(x)),
    Mistake("the maximum of the whole batch subtracted", "A row far below the batch's maximum becomes 0/0: subtract "
            "each row's own maximum, x.max(axis=1, keepdims=True).", lambda right, x: _shifted_by_all(x)),
    Mistake("along the wrong axis", "The sum goes over the classes of one row, axis 1.",
            lambda right, x: _softmax(x.T).T),
    Mistake("over the whole batch", "Each row has its own sum.", lambda right, x: np.exp(x - x.max()) / np.exp(
        x - x.max()).sum()),
    Mistake("a sigmoid of each score", "Softmax divides by the sum over the classes.",
            lambda right, x: 1 / (1 + np.exp(-x))),
    Mistake("scores divided by their sum", "Exponentials first, then the division.",
            lambda right, x: x / x.sum(1, keepdims=True)),
    Mistake("not divided by the sum", "The probabilities of a row add up to 1.",
            lambda right, x: np.exp(x - x.max(1, keepdims=True))),
)  # fmt: skip
LOG_SOFTMAX = (
    Mistake("logarithm of the softmax", "p can be 0 on a computer, and log 0 is −∞: subtract the logarithm of the sum "
            "instead.", lambda right, x: np.log(_softmax(x))),
    Mistake("logarithm of the softmax", "p can be 0 on a computer, and log 0 is −∞: subtract the logarithm of the sum "
            "instead.", lambda right, x: np.log(_exp(x))),
    Mistake("no maximum subtracted", "e^x overflows for large x: subtract each row's maximum first.",
            lambda right, x: x - np.log(np.exp(x).sum(1, keepdims=True))),
    Mistake("the maximum not added again", "x − max − log Σ e^(x − max): subtract the maximum in both places.",
            lambda right, x: right + x.max(1, keepdims=True)),
    *(Mistake("a small number added inside the logarithm", "log(p + 1e-…) is finite, but wrong for small p: subtract "
              "the logarithm of the sum instead.", lambda right, x, e=e: np.log(_softmax(x) + e))
      for e in (1e-15, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)),
    Mistake("another base", "log is the natural logarithm.", lambda right, x: right / math.log(10)),
    Mistake("another base", "log is the natural logarithm.", lambda right, x: right / math.log(2)),
)  # fmt: skip
LOSS = (
    Mistake("logarithm of the softmax", "p can be 0 on a computer, and log 0 is −∞: use log_softmax.",
            lambda right, x, labels: -np.log(_softmax(x))[range(len(x)), labels].mean()),
    Mistake("logarithm of the softmax", "p can be 0 on a computer, and log 0 is −∞: use log_softmax.",
            lambda right, x, labels: -np.log(_exp(x))[range(len(x)), labels].mean()),
    Mistake("sum instead of mean", "The loss is the mean over the images.", lambda right, x, labels: right * len(x)),
    Mistake("sign", "log p is negative, and the loss is −log p.", lambda right, x, labels: -right),
    Mistake("mean over the classes too", "Divide by N, not by N·K.", lambda right, x, labels: right / x.shape[1]),
    Mistake("the most probable class instead of the label", "Take the probability of the label.",
            lambda right, x, labels: _cross_entropy(x, x.argmax(1))),
    Mistake("probability instead of its logarithm", "The loss is −log p, not 1 − p.",
            lambda right, x, labels: 1 - _softmax(x)[range(len(x)), labels].mean()),
)  # fmt: skip
GRADIENT = (
    Mistake("not divided by N", "The loss is a mean: its gradient has the factor 1/N.",
            lambda right, x, labels: right * len(x)),
    Mistake("divided by N·K", "The loss is a mean over the N images, not over the classes.",
            lambda right, x, labels: right / x.shape[1]),
    Mistake("the label forgotten", "The label's class has p − 1, the others have p.",
            lambda right, x, labels: _softmax(x) / len(x)),
    Mistake("only the label's class", "All classes have a gradient: the label p − 1, the others p.",
            lambda right, x, labels: right * _wanted(x, labels)),
    Mistake("sign", "Going along −dx must make the label more probable: p − 1 is negative.",
            lambda right, x, labels: -right),
    Mistake("times the slope of the softmax again", "p − 1 is the gradient for the scores already.",
            lambda right, x, labels: right * _softmax(x) * (1 - _softmax(x))),
    Mistake("no maximum subtracted", "e^x overflows for large x: subtract each row's maximum first.",
            lambda right, x, labels: (_exp(x) - _wanted(x, labels)) / len(x)),
)  # fmt: skip


def _scores(*scales):
    """Random scores; each row has its own level. The first case is small."""

    def cases(rng):
        small = [rng.integers(-3, 4, (2, 3)) * 0.5 * s for s in scales]
        large = [rng.normal(size=(5, 4)) * s + np.arange(5)[:, None] * s for s in scales]
        return [(x * 1.0,) for x in (*small, *large)]

    return cases


def _far_apart(rng):
    return [(np.array([[0.0, 1, 2], [2000, 2001, 2000]]),), (np.array([[-1000.0, 0, 1000]]),),
            (rng.normal(size=(4, 3)) * 900,)]  # fmt: skip


def _labelled(scores):
    def cases(rng):
        return [(x, rng.permutation(len(x)) % x.shape[1]) for (x,) in scores(rng)]

    return cases


def _split(x, labels):
    return np.float64(1), [x], lambda x: reference.cross_entropy(x, labels)


EXERCISE = Exercise(
    6, "softmax", "Softmax and cross entropy without overflow", "소프트맥스의 수치 안정성", STARTER,
    (Function("softmax", ("p",), _softmax, SOFTMAX), Function("log_softmax", ("log p",), _log_softmax, LOG_SOFTMAX),
     Function("cross_entropy", ("the loss",), _cross_entropy, LOSS),
     Function("cross_entropy_backward", ("dx",), _backward, GRADIENT)),
    (Check("softmax", "softmax", _scores(1)),
     Check("softmax of large scores", "softmax", _far_apart),
     Check("log softmax", "log_softmax", _scores(1)),
     Check("log softmax of large scores", "log_softmax", _far_apart),
     Check("cross entropy", "cross_entropy", _labelled(_scores(1))),
     Check("cross entropy of large scores", "cross_entropy", _labelled(_far_apart)),
     Check("gradient", "cross_entropy_backward", _labelled(_scores(1, 300))),
     Check("finite differences", "cross_entropy_backward", _labelled(_scores(1)),
           rule=by_differences(_split, ("dx",)))),
)  # fmt: skip
