"""Softmax, its logarithm, and the cross entropy of a classifier: fused, so that they stay finite."""

import math
from collections.abc import Sequence
from numbers import Real

from minicnn import devices
from minicnn.device import Array
from minicnn.op_checks import brief, number
from minicnn.ops.axes import normalise_axes
from minicnn.tensor import Axes, op


@op
def softmax(x: Array, *, axis: Axes = -1):
    """p[k] = e^x[k] / Σ_j e^x[j] along `axis`; the largest x is subtracted first against overflow.

    dx = p·(dy − Σ_j dy[j]·p[j]).   Kept for backward: p.   Bridle 1990
    """
    xp = devices.of(x).xp
    axes = _axes("softmax", x, axis)
    e = xp.exp(x - x.max(axes, keepdims=True))
    p = e / e.sum(axes, keepdims=True)
    return p, lambda dy: p * (dy - (dy * p).sum(axes, keepdims=True))


@op
def log_softmax(x: Array, *, axis: Axes = -1):
    """y[k] = x[k] − log Σ_j e^x[j] along `axis`.   dx = dy − p·Σ_j dy[j], p = e^y.   Kept for backward: y."""
    xp = devices.of(x).xp
    axes = _axes("log_softmax", x, axis)
    z = x - x.max(axes, keepdims=True)
    y = z - xp.log(xp.exp(z).sum(axes, keepdims=True))
    return y, lambda dy: dy - xp.exp(y) * dy.sum(axes, keepdims=True)


@op(constants=("labels",))
def cross_entropy(logits: Array, labels: Array, *, label_smoothing: float = 0.0, weight: Sequence[float] | None = None):
    """The mean over the batch of −Σ_k q[n,k]·log p[n,k], p the softmax of the logits, q the target distribution.

    logits (N,K)   labels (N,) integers 0 … K−1   →   a scalar.   q = (1 − ε)·one-hot(label) + ε/K, ε = label_smoothing
    weight (K,): the weight of each class; the mean is then Σ_n w[n]·loss[n]/Σ_n w[n], w[n] = weight[label]
    dlogits = (p − q)·w[n]/Σw.   Kept for backward: p.   Label smoothing: Szegedy et al. 2015 (Inception-v3), §7
    """
    device = devices.of(logits)
    weight = _check(logits, labels, label_smoothing, weight)
    N = logits.shape[0]
    loss, p = device.cross_entropy(logits, labels, label_smoothing)           # (N,), (N, K)
    if weight is None:
        mean, share = loss.mean(), 1 / N
    else:
        w = device.asarray(weight, loss.dtype)[labels]                        # (N,)
        share = w / w.sum()
        mean = (share * loss).sum()

    def dlogits(dy):
        return device.cross_entropy_dx(device.xp.broadcast_to(dy * share, (N,)), p, labels, label_smoothing)

    return mean, (dlogits, None)


def _check(logits, labels, smoothing, weight):
    if logits.ndim != 2 or logits.size == 0:
        raise ValueError(f"cross_entropy: logits must have shape (N, classes), both at least 1, not {logits.shape}")
    N, K = logits.shape
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, one class index per image, not {labels.dtype}")
    if labels.shape != (N,):
        raise ValueError(f"cross_entropy: labels have shape {labels.shape}, but there are {N} rows of logits: "
                         f"use ({N},)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= K:
        raise ValueError(f"cross_entropy: label {low if low < 0 else high} is out of range: with {K} classes "
                         f"labels run from 0 to {K - 1}")
    number("cross_entropy", "label_smoothing", smoothing, least=0, below=1)
    if weight is None:
        return None
    home = devices.find(weight)
    weights = home.to_numpy(weight).tolist() if home else weight
    if not isinstance(weights, (list, tuple)):
        raise TypeError(f"cross_entropy: weight must be {K} numbers, one for each class, not {brief(weight)}")
    if not (len(weights) == K and all(isinstance(w, Real) and 0 < w < math.inf for w in weights)):
        raise ValueError(f"cross_entropy: weight (={weight}) must hold a number above 0 for each of the {K} classes")
    return weights


def _axes(name, x, axis):
    axes = normalise_axes(name, x, axis)
    if not axes or any(x.shape[a] == 0 for a in axes):
        raise ValueError(f"{name}: shape {x.shape} has no values along axis {axis}")
    return axes
