"""Softmax, its logarithm, and the cross entropy of a classifier: fused, so that they stay finite."""

import math
from collections.abc import Sequence
from numbers import Real

from minicnn import arguments, devices
from minicnn.device import Array
from minicnn.op_checks import brief, flag, number
from minicnn.ops.axes import normalise_axes, restore_axes
from minicnn.tensor import Axes, op

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may sum from 1: rounding in float16 stays below."""


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


@op
def logsumexp(x: Array, *, axis: Axes = None, keepdims: bool = False):
    """y = ln Σ_j e^x[j] over `axis`, a smooth maximum; the largest x is subtracted first against overflow.

    dx = dy·p, p = e^(x − y), the softmax.   Kept for backward: x and y.
    """
    xp, keepdims = devices.of(x).xp, flag("logsumexp", "keepdims", keepdims)
    axes = _axes("logsumexp", x, axis) if x.ndim else ()
    most = x.max(axes, keepdims=True)
    most = xp.where(xp.isfinite(most), most, 0)                               # ∞ − ∞ would be NaN
    y = most + xp.log(xp.exp(x - most).sum(axes, keepdims=True))
    def dx(dy): return restore_axes(dy, x, axes) * xp.exp(x - y)

    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes]), dx


@op(constants=("labels",))
def cross_entropy(logits: Array, labels: Array, *, label_smoothing: float = 0.0, weight: Sequence[float] | None = None,
                  ignore_index: int | None = None):
    """The mean over the batch of −Σ_k q[n,k]·log p[n,k], p the softmax of the logits, q the target distribution.

    logits (N,K)   →   a scalar.   label_smoothing = ε
    labels (N,) integers 0 … K−1:     q = (1 − ε)·one-hot(label) + ε/K
    labels (N,K) probabilities t:     q = (1 − ε)·t + ε/K, each row of t sums to 1
    weight (K,): the weight of each class; the mean is Σ_n w[n]·loss[n]/Σ_n w[n], w[n] = weight[label], or Σ_k
    t[n,k]·weight[k]. So an image has one weight. PyTorch weighs each class's term: with indices, the smoothed part
    is ε/K·Σ_n Σ_k weight[k]·(−log p[n,k])/Σ_n w[n], with probabilities the loss Σ_n Σ_k weight[k]·q[n,k]·(−log
    p[n,k])/N. Without smoothing, or without weights, indices give the same value in both.
    ignore_index: rows with this label are left out of both sums, and get no gradient (PyTorch's rule, whose default is
    −100; here nothing is ignored by default). If all rows are left out, the mean is NaN, and dlogits is 0.
    dlogits = (p − q)·w[n]/Σw.   Kept for backward: p.   Label smoothing: Szegedy et al. 2015 (Inception-v3), §7
    """
    device, xp = devices.of(logits), devices.of(logits).xp
    weight = _check(logits, labels, label_smoothing, weight, ignore_index)
    N, soft = len(logits), labels.ndim == 2
    counts = None                                                             # w (N,), or None if all are 1
    if soft:
        loss, p, q = _of_probabilities(xp, logits, labels.astype(logits.dtype), label_smoothing)
        if weight is not None:
            counts = labels.astype(loss.dtype) @ device.asarray(weight, loss.dtype)
    else:
        if ignore_index is not None:
            ignored = labels == ignore_index
            labels = xp.where(ignored, 0, labels)                             # any class will do
        loss, p = device.cross_entropy(logits, labels, label_smoothing)       # (N,), (N, K)
        if weight is not None:
            counts = device.asarray(weight, loss.dtype)[labels]
        if ignore_index is not None:
            counts = xp.where(ignored, 0, xp.ones_like(loss) if counts is None else counts)
            loss = xp.where(ignored, 0, loss)                                 # which may be infinite
    if counts is None:
        mean, share = loss.mean(), 1 / N
    else:
        total = counts.sum()
        share = counts / xp.where(total == 0, 1, total)
        mean = xp.where(total == 0, math.nan, (share * loss).sum())

    def dlogits(dy):
        slope = xp.broadcast_to(dy * share, (N,))
        return (p - q) * slope[:, None] if soft else device.cross_entropy_dx(slope, p, labels, label_smoothing)

    return mean, (dlogits, None)


def _of_probabilities(xp, logits, t, smoothing):
    """(loss (N,), p (N,K), q (N,K)) of target probabilities t (N,K)."""
    z = logits - logits.max(1, keepdims=True)
    e = xp.exp(z)
    total = e.sum(1, keepdims=True)
    q = t * (1 - smoothing) + smoothing / t.shape[1]
    return -xp.where(q == 0, 0, q * (z - xp.log(total))).sum(1), e / total, q


def _check(logits, labels, smoothing, weight, ignore_index):
    if logits.ndim != 2 or logits.size == 0:
        raise ValueError(f"cross_entropy: logits must have shape (N, classes), both at least 1, not {logits.shape}")
    N, K = logits.shape
    number("cross_entropy", "label_smoothing", smoothing, least=0, below=1)
    if ignore_index is not None:
        arguments.integer("ignore_index", ignore_index, -(2**31), 2**31 - 1)
    if labels.dtype.kind == "f" and labels.shape == (N, K):
        if ignore_index is not None:
            raise ValueError(f"cross_entropy: ignore_index (={ignore_index}) is for class indices: leave rows of "
                             "probabilities out of the batch instead")
        _check_probabilities(labels)
    else:
        _check_indices(labels, N, K, ignore_index)
    if weight is None:
        return None
    home = devices.find(weight)
    weights = home.to_numpy(weight).tolist() if home else weight
    if not isinstance(weights, (list, tuple)):
        raise TypeError(f"cross_entropy: weight must be {K} numbers, one for each class, not {brief(weight)}")
    if not (len(weights) == K and all(isinstance(w, Real) and 0 < w < math.inf for w in weights)):
        raise ValueError(f"cross_entropy: weight (={weight}) must hold a number above 0 for each of the {K} classes")
    return weights


def _check_probabilities(labels):
    least, sums = float(labels.min()), labels.sum(1)
    for value in (float(sums.min()), float(sums.max())):
        if not (least >= 0 and abs(value - 1) <= SUM_TOLERANCE):
            wrong = f"holds {least:.4g}" if not least >= 0 else f"has a row that sums to {value:.4g}"
            raise ValueError(f"cross_entropy: labels of probabilities must be at least 0 and sum to 1 in each row, but "
                             f"this array {wrong}: divide each row by its sum")


def _check_indices(labels, N, K, ignore_index):
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, one class index per image, not {labels.dtype}: "
                        f"or probabilities, an array ({N}, {K}) of floats")
    if labels.shape != (N,):
        one_hot = ": for one-hot labels, labels.argmax(1), or labels.astype('float32')" * (labels.shape == (N, K))
        raise ValueError(f"cross_entropy: labels have shape {labels.shape}, but there are {N} rows of logits: "
                         f"use ({N},){one_hot}")
    low, high = int(labels.min()), int(labels.max())
    if ignore_index is not None and (low < 0 or high >= K):
        low, high = (int(limit) for limit in _range_without(labels, ignore_index))
    if low < 0 or high >= K:
        raise ValueError(f"cross_entropy: label {low if low < 0 else high} is out of range: with {K} classes "
                         f"labels run from 0 to {K - 1}")


def _range_without(labels, ignore_index):
    """The smallest and the largest label that is not ignored; (0, 0) if there is none."""
    kept = labels[labels != ignore_index]
    return (kept.min(), kept.max()) if kept.size else (0, 0)


def _axes(name, x, axis):
    axes = normalise_axes(name, x, axis)
    if not axes or any(x.shape[a] == 0 for a in axes):
        raise ValueError(f"{name}: shape {x.shape} has no values along axis {axis}")
    return axes
