"""Exercise 9: a step of SGD with momentum and weight decay."""

from __future__ import annotations

import numpy as np

from minicnn.course.exercise import Check, Exercise, Function, Mistake

STARTER = '''"""Exercise 9: momentum (모멘텀) and weight decay (가중치 감쇠).

Momentum adds up the gradients of earlier steps in a velocity v, so that steps in the same direction become longer and
zigzags cancel. Weight decay pulls every weight towards 0.

    minicnn course check ex09_momentum.py
"""

import numpy as np

EXERCISE = 9


def sgd_step(w, g, v, lr, momentum, decay):
    """→ (the new w, the new v), in the order of PyTorch:   g' = g + decay·w;   v = momentum·v + g';   w = w − lr·v

    w, g, v: arrays of one shape, weights, gradient and velocity (속도); they must not be changed in place.
    lr: the learning rate (학습률).

    By hand: w = 2, g = 1, v = 4, lr = 0.1, momentum 0.5, decay 0.25: g' = 1.5, v = 3.5, w = 2 − 0.35 = 1.65.

    >>> w, v = sgd_step(np.array([2.]), np.array([1.]), np.array([4.]), 0.1, 0.5, 0.25)
    >>> w, v
    (array([1.65]), array([3.5]))
    """
    raise NotImplementedError  # replace this line by your solution


def nesterov_step(w, g, v, lr, momentum, decay):
    """The same with Nesterov's momentum:   g' = g + decay·w;   v = momentum·v + g';   w = w − lr·(g' + momentum·v)

    By hand, with the numbers above: g' = 1.5, v = 3.5, w = 2 − 0.1·(1.5 + 0.5·3.5) = 1.675.
    """
    raise NotImplementedError  # replace this line by your solution


def decoupled_step(w, g, v, lr, momentum, decay):
    """Weight decay that does not go through the velocity, as in AdamW:

        v = momentum·v + g;   w = w − lr·v − lr·decay·w

    Both w on the right are the old one. By hand, with the numbers above: v = 3, w = 2 − 0.3 − 0.05 = 1.65.
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _element_by_element(step):
    """A function of arrays from one of numbers."""

    def arrays(w, g, v, lr, momentum, decay):
        new = [step(float(a), float(b), float(c), lr, momentum, decay) for a, b, c in zip(w.flat, g.flat, v.flat)]
        return tuple(np.array(part).reshape(w.shape) for part in zip(*new))

    return arrays


@_element_by_element
def _sgd(w, g, v, lr, momentum, decay):
    v = momentum * v + (g + decay * w)
    return w - lr * v, v


@_element_by_element
def _nesterov(w, g, v, lr, momentum, decay):
    v = momentum * v + (g + decay * w)
    return w - lr * ((g + decay * w) + momentum * v), v


@_element_by_element
def _decoupled(w, g, v, lr, momentum, decay):
    v = momentum * v + g
    return w - lr * v - lr * decay * w, v


def _with(step, **other):
    """The step with other arguments: each a function of the right ones."""

    def gives(right, w, g, v, lr, momentum, decay):
        given = {"w": w, "g": g, "v": v, "lr": lr, "momentum": momentum, "decay": decay}
        return step(**{**given, **{name: value(**given) for name, value in other.items()}})

    return gives


def _mistakes(step):
    """Those that every one of the three steps can have."""
    return (
        Mistake("uphill", "The step goes against the gradient: w − lr·…, not +.",
                lambda right, w, *a: (2 * w - right[0], right[1])),
        Mistake("momentum forgotten", "The old velocity counts `momentum` times.",
                _with(step, momentum=lambda **a: 0.0)),
        Mistake("velocity not kept", "Return the new velocity, not the old one.", lambda right, w, g, v, *a: (
            right[0], v)),
        Mistake("gradient damped", "The new gradient counts fully, not (1 − momentum) times: v is no average.",
                _with(step, g=lambda g, momentum, **a: (1 - momentum) * g,
                      decay=lambda decay, momentum, **a: (1 - momentum) * decay)),
        Mistake("learning rate forgotten", "The step is lr times the velocity.", lambda right, w, g, v, lr, *a: (
            w - (w - right[0]) / lr, right[1])),
        Mistake("w and v exchanged", "The order is (w, v).", lambda right, *a: right[::-1]),
    )  # fmt: skip


DECAY = (
    Mistake("decay forgotten", "decay·w is added to the gradient.", _with(_sgd, decay=lambda **a: 0.0)),
    Mistake("decay with the wrong sign", "decay·w is added to the gradient, so that the step makes w smaller.",
            _with(_sgd, decay=lambda decay, **a: -decay)),
    Mistake("decay twice as large", "The gradient of decay/2·w² is decay·w, without a 2.",
            _with(_sgd, decay=lambda decay, **a: 2 * decay)),
    Mistake("decay not through the velocity", "That is the decoupled form; here decay·w is added to the gradient.",
            lambda right, *a: _decoupled(*a)),
    Mistake("decay of the gradient", "decay·w is added, not decay·g.", lambda right, w, g, v, lr, momentum, decay: _sgd(
        w, g + decay * g, v, lr, momentum, 0.0)),
    Mistake("old velocity in the step", "First the new velocity, then the step with it.",
            lambda right, w, g, v, lr, *a: (w - lr * v, right[1])),
    Mistake("learning rate inside the velocity", "v = momentum·v + g' has no learning rate; the step has.",
            lambda right, w, g, v, lr, momentum, decay: (
                w - (momentum * v + lr * (g + decay * w)), momentum * v + lr * (g + decay * w))),
)  # fmt: skip
NESTEROV = (
    Mistake("momentum without Nesterov's look ahead", "The step is g' + momentum·v with the new v, not v.",
            lambda right, *a: _sgd(*a)),
    Mistake("decay forgotten in the look ahead", "g' = g + decay·w, in the velocity and in the step.",
            lambda right, w, g, v, lr, momentum, decay: (w - lr * (g + momentum * right[1]), right[1])),
)  # fmt: skip
DECOUPLED = (
    Mistake("decay through the velocity", "That is SGD's form; here v has no decay.", lambda right, *a: _sgd(*a)),
    Mistake("decay without the learning rate", "w is decayed by lr·decay·w.",
            lambda right, w, g, v, lr, momentum, decay: (w - lr * right[1] - decay * w, right[1])),
    Mistake("decay of the new weights", "Both w on the right are the old one.",
            lambda right, w, g, v, lr, momentum, decay: ((w - lr * right[1]) * (1 - lr * decay), right[1])),
    Mistake("decay forgotten", "w is decayed by lr·decay·w.", _with(_decoupled, decay=lambda **a: 0.0)),
)  # fmt: skip


def _cases(momentum=True, decay=True, first=False):
    """first: the first step, whose velocity is 0."""

    def cases(rng):
        found = []
        for shape in ((1,), (3, 2)):
            w, g, v = rng.integers(1, 9, (3, *shape)) * 0.5 if shape == (1,) else rng.normal(size=(3, *shape))
            found.append((w, g, v * (not first), round(rng.uniform(0.1, 0.4), 2),
                          round(rng.uniform(0.3, 0.9), 2) * momentum,
                          round(rng.uniform(0.1, 0.5), 2) * decay))  # fmt: skip
        return found

    return cases


EXERCISE = Exercise(
    9, "momentum", "Momentum and weight decay", "모멘텀과 가중치 감쇠", STARTER,
    (Function("sgd_step", ("w", "v"), _sgd, _mistakes(_sgd) + DECAY),
     Function("nesterov_step", ("w", "v"), _nesterov, NESTEROV + _mistakes(_nesterov)),
     Function("decoupled_step", ("w", "v"), _decoupled, DECOUPLED + _mistakes(_decoupled))),
    (Check("without momentum and decay", "sgd_step", _cases(momentum=False, decay=False)),
     Check("the first step", "sgd_step", _cases(first=True)),
     Check("momentum", "sgd_step", _cases(decay=False)),
     Check("momentum and decay", "sgd_step", _cases()),
     Check("Nesterov", "nesterov_step", _cases()),
     Check("decoupled decay", "decoupled_step", _cases())),
)  # fmt: skip
