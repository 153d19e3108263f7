"""Exercise 7: batch norm and its gradients."""

from __future__ import annotations

import numpy as np

from minicnn import ops, reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, changed, gradients, sizes
from minicnn.course.finite import by_differences

STARTER = '''"""Exercise 7: batch norm (배치 정규화), forward and backward.

Each channel is shifted and scaled by its own mean (평균) and variance (분산), taken over all images and pixels of the
batch. Backward, remember that a pixel also changes the mean and the variance of its channel.

    minicnn course check ex07_batch_norm.py
"""

import numpy as np

EXERCISE = 7


def batch_norm(x, gamma, beta, eps):
    """y = γ·x̂ + β,   x̂ = (x − μ) / √(σ² + ε)

    x (N, C, H, W)   gamma, beta (C,)   μ, σ² (C,): mean and variance over N, H and W; σ² divides by M = N·H·W.

    By hand: one channel with the numbers 1 and 3: μ = 2, σ² = 1, x̂ = −1 and 1; with γ = 5, β = 7 and ε = 0: 2 and 12.

    >>> batch_norm(np.array([[[[1., 3.]]]]), np.array([5.]), np.array([7.]), 0.0)[0, 0]
    array([[ 2., 12.]])
    """
    raise NotImplementedError  # replace this line by your solution


def batch_norm_backward(dy, x, gamma, eps):
    """→ (dx, dgamma, dbeta)

        dbeta[c] = Σ dy   dgamma[c] = Σ dy·x̂   (sums over N, H and W)
        dx = γ / √(σ² + ε) · (dy − mean(dy) − x̂ · mean(dy·x̂))   (means over N, H and W)

    By hand: the numbers 0, 0 and 3 with ε = 0: μ = 1, σ² = 2, x̂ = −0.7071, −0.7071, 1.4142. With γ = 1 and
    dy = 3, 0, 0: mean(dy) = 1, mean(dy·x̂) = −0.7071, dx = 0.7071·(3 − 1 − 0.5, 0 − 1 − 0.5, 0 − 1 + 1).

    >>> x, dy = np.array([[[[0., 0., 3.]]]]), np.array([[[[3., 0., 0.]]]])
    >>> dx, dgamma, dbeta = batch_norm_backward(dy, x, np.array([1.]), 0.0)
    >>> [round(float(v), 4) + 0.0 for v in (*dx[0, 0, 0], *dgamma, *dbeta)]
    [1.0607, -1.0607, 0.0, -2.1213, 3.0]
    """
    raise NotImplementedError  # replace this line by your solution
'''

AXES = (0, 2, 3)


def _column(v):
    return v[:, None, None]


def _right(x, gamma, beta, eps):
    return reference.batch_norm(x, gamma, beta, eps=eps)


def _backward(dy, x, gamma, eps):
    return gradients(lambda x, g, b: ops.batch_norm(x, g, b, eps=eps), dy, x, gamma, np.zeros_like(gamma))


def _normalised(axes=AXES, unbiased=0, scale=None):
    """Forward with another mean and variance, or another way to scale(σ², ε)."""

    def gives(right, x, gamma, beta, eps):
        variance = x.var(axes, ddof=unbiased, keepdims=True)
        divisor = scale(variance, eps) if scale else np.sqrt(variance + eps)
        return _column(gamma) * (x - x.mean(axes, keepdims=True)) / divisor + _column(beta)

    return gives


def _dx(of):
    """dx that is another expression of (dy, x̂, 1/√(σ² + ε), γ, mean)."""

    def gives(right, dy, x, gamma, eps, unbiased=0):
        inv = 1 / np.sqrt(x.var(AXES, keepdims=True) + eps)
        hat = (x - x.mean(AXES, keepdims=True)) * inv
        return changed(right, 0, of(dy, hat, inv, _column(gamma), lambda a: a.mean(AXES, keepdims=True)))

    return gives


def _unbiased_dx(right, dy, x, gamma, eps):
    inv = 1 / np.sqrt(x.var(AXES, ddof=1, keepdims=True) + eps)
    hat = (x - x.mean(AXES, keepdims=True)) * inv
    means = [a.mean(AXES, keepdims=True) for a in (dy, dy * hat)]
    return changed(right, 0, _column(gamma) * inv * (dy - means[0] - hat * means[1]))


FORWARD = (
    Mistake("statistics of each image", "Mean and variance are taken over the images, too: axes 0, 2 and 3. (Yours are "
            "those of instance norm.)", _normalised((2, 3))),
    Mistake("statistics of each pixel", "Mean and variance are taken over rows and columns, too: axes 0, 2 and 3.",
            _normalised((0,))),
    Mistake("statistics over all channels", "Each channel has its own mean and variance.", _normalised((0, 1, 2, 3))),
    Mistake("unbiased variance", "The variance divides by M, not by M − 1.", _normalised(unbiased=1)),
    Mistake("ε forgotten", "A constant channel has σ² = 0: ε keeps the division possible.",
            _normalised(scale=lambda v, eps: np.sqrt(v))),
    Mistake("ε added to the standard deviation", "ε is added to σ², inside the root.",
            _normalised(scale=lambda v, eps: np.sqrt(v) + eps)),
    Mistake("divided by the variance", "Divide by the standard deviation √(σ² + ε).",
            _normalised(scale=lambda v, eps: v + eps)),
    Mistake("γ and β forgotten", "y = γ·x̂ + β.", lambda right, x, g, b, eps: (right - _column(b)) / _column(g)),
    Mistake("β forgotten", "y = γ·x̂ + β.", lambda right, x, g, b, eps: right - _column(b)),
    Mistake("γ and β exchanged", "γ is the factor, β is added.", lambda right, x, g, b, eps: _right(x, b, g, eps)),
)  # fmt: skip
BACKWARD = (
    Mistake("statistics taken for constants", "A pixel changes the mean and the variance of its channel: two more "
            "terms.", _dx(lambda dy, hat, inv, g, mean: g * inv * dy)),
    Mistake("the mean's term forgotten", "− mean(dy): a pixel also changes the mean.",
            _dx(lambda dy, hat, inv, g, mean: g * inv * (dy - hat * mean(dy * hat)))),
    Mistake("the variance's term forgotten", "− x̂·mean(dy·x̂): a pixel also changes the variance.",
            _dx(lambda dy, hat, inv, g, mean: g * inv * (dy - mean(dy)))),
    Mistake("γ forgotten in dx", "y = γ·x̂ + β, so dx has the factor γ.",
            _dx(lambda dy, hat, inv, g, mean: inv * (dy - mean(dy) - hat * mean(dy * hat)))),
    Mistake("1/σ forgotten in dx", "x̂ divides by √(σ² + ε), and so does dx.",
            _dx(lambda dy, hat, inv, g, mean: g * (dy - mean(dy) - hat * mean(dy * hat)))),
    Mistake("sums instead of means", "The two terms have means over N, H and W.",
            _dx(lambda dy, hat, inv, g, mean: g * inv * (dy - dy[:, :1].size * (mean(dy) + hat * mean(dy * hat))))),
    Mistake("unbiased variance", "The variance divides by M, not by M − 1.", _unbiased_dx),
    Mistake("zero gradient", "With dy = 1 everywhere dx is 0, but not for other dy.",
            _dx(lambda dy, hat, inv, g, mean: 0 * dy)),
    Mistake("dgamma without x̂", "y = γ·x̂ + β: γ is multiplied with x̂, not with x.",
            lambda right, dy, x, *a: changed(right, 1, (dy * x).sum(AXES))),
    Mistake("dgamma averaged", "dgamma is a sum, not a mean.",
            lambda right, dy, *a: changed(right, 1, right[1] / dy[:, 0].size)),
    Mistake("dbeta averaged", "dbeta is a sum, not a mean.",
            lambda right, dy, *a: changed(right, 2, right[2] / dy[:, 0].size)),
    Mistake("dgamma and dbeta exchanged", "The order is (dx, dgamma, dbeta).",
            lambda right, *a: (right[0], right[2], right[1])),
)  # fmt: skip


def _inputs(rng, eps=0.1):
    found = [(rng.integers(0, 5, (2, 1, 1, 2)) + np.array([0.0, 1.0]), np.array([2.0]), np.array([0.5]), eps)]
    for _ in range(2):
        n, c, h, w = sizes(rng, 4, 2, 5)
        found.append((3 * rng.normal(size=(n, c, h, w)) + 5, rng.normal(size=c), rng.normal(size=c), eps))
    return found


def _constant(rng):
    x = rng.normal(size=(3, 2, 2, 4))
    x[:, 1] = 4
    return [(x, np.array([1.5, 2.0]), np.array([0.5, -1.0]), 1e-5)]


def _one_image(rng):
    return [(rng.normal(size=(1, 3, 4, 2)), rng.normal(size=3), rng.normal(size=3), 1e-5)]


def _gradient(rng):
    return [(rng.normal(size=x.shape), x, g, eps) for x, g, _, eps in _inputs(rng)]


def _small(rng):
    return [(rng.normal(size=(3, 2, 1, 4)), rng.normal(size=(3, 2, 1, 4)), rng.normal(size=2), 0.1)]


def _split(dy, x, gamma, eps):
    return dy, [x, gamma, np.zeros_like(gamma)], lambda x, g, b: _right(x, g, b, eps)


EXERCISE = Exercise(
    7, "batch-norm", "Batch norm, forward and backward", "배치 정규화의 역전파", STARTER,
    (Function("batch_norm", ("y",), _right, FORWARD),
     Function("batch_norm_backward", ("dx", "dgamma", "dbeta"), _backward, BACKWARD)),
    (Check("forward", "batch_norm", _inputs),
     Check("a batch of one image", "batch_norm", _one_image),
     Check("a constant channel", "batch_norm", _constant),
     Check("dbeta", "batch_norm_backward", _gradient, part=2),
     Check("dgamma", "batch_norm_backward", _gradient, part=1),
     Check("dx", "batch_norm_backward", _gradient, part=0),
     Check("finite differences", "batch_norm_backward", _small,
           rule=by_differences(_split, ("dx", "dgamma", "dbeta")))),
)  # fmt: skip
