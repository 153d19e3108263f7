"""A linear classifier on features that do not change: the head of a net, solved instead of trained.

    f(W, b) = 1/N·Σ_n −log softmax(W·x[n] + b)[label[n]] + λ/2·‖W‖²

has one minimum for each λ > 0, so there is no learning rate, no epoch and no seed to choose. λ is chosen by
cross-validation. The features are standardised to mean 0 and deviation 1 first; the W and b that are returned are for
the features as given.   Cox 1958; Hastie, Tibshirani & Friedman 2009, §4.4 and §7.10
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LAMBDAS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FOLDS = 5


@dataclass
class Head:
    """W (K,F) and b (K,), the λ chosen, and the cross-validation of each: {λ: (mean loss, accuracy)}."""

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    tried: dict[float, tuple[float, float]]


def fit(features: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0, weight=None) -> Head:
    """The best linear classifier of features (V,N,F), V views of each of N pictures, by their labels (N,).

    λ is the one with the smallest loss in cross-validation with FOLDS parts, each with its share of every class. All
    views of a picture are in the same part. weight (K,): the weight of each class's pictures.
    """
    N = len(labels)
    counts = np.ones(N) if weight is None else np.asarray(weight, float)[labels]
    fold = folds(labels, seed)
    tried = {}
    for strength in LAMBDAS:
        log_p = np.empty((N, classes))
        for k in range(fold.max() + 1):
            out = fold == k
            W, b = solve(features[:, ~out], labels[~out], classes, strength, counts[~out])
            log_p[out] = log_softmax(features[0, out] @ W.T + b)
        right = log_p.argmax(1) == labels
        loss = -(counts * log_p[np.arange(N), labels]).sum() / counts.sum()
        tried[strength] = float(loss), float(right.mean())
    strength = min(LAMBDAS, key=lambda s: tried[s][0])
    return Head(*solve(features, labels, classes, strength, counts), strength, tried)


def folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each picture, 0 … FOLDS − 1 (N,), with every class spread evenly over the folds."""
    fold = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, 4, int(label)]).permutation(len(members))
        fold[members] = order % FOLDS
    return np.unique(fold, return_inverse=True)[1]  # without gaps, where there are few pictures


def solve(features, labels, classes: int, strength: float, counts) -> tuple[np.ndarray, np.ndarray]:
    """W (K,F), b (K,) at the minimum for one λ. features (V,N,F), labels and counts (N,)"""
    V, N, F = features.shape
    rows = features.reshape(V * N, F).astype(np.float64)
    mean, deviation = rows.mean(0), rows.std(0)
    deviation += 0.05 * deviation.mean() + 1e-12           # so that features that hardly vary are not amplified
    x = (rows - mean) / deviation                                             # (V·N, F)
    y, share = np.tile(labels, V), np.tile(counts, V) / (V * counts.sum())    # (V·N,)

    def value(theta):
        W, b = theta[: classes * F].reshape(classes, F), theta[classes * F :]
        log_p = log_softmax(x @ W.T + b)                                      # (V·N, K)
        loss = -(share * log_p[np.arange(len(y)), y]).sum() + strength / 2 * (W * W).sum()
        d = np.exp(log_p)
        d[np.arange(len(y)), y] -= 1
        d *= share[:, None]
        return loss, np.concatenate([(d.T @ x + strength * W).ravel(), d.sum(0)])

    theta = minimise(value, np.zeros(classes * (F + 1)))
    W = theta[: classes * F].reshape(classes, F) / deviation
    return W, theta[classes * F :] - W @ mean


def minimise(value: Callable, x: np.ndarray, memory: int = 10, tolerance: float = 1e-6, steps: int = 500) -> np.ndarray:
    """The minimum of a smooth convex function, value(x) → (f, ∇f), starting at x.   Nocedal 1980 (L-BFGS)

    The direction is −H·∇f, with the inverse Hessian H estimated from the last `memory` steps; the step is halved until
    f falls enough (Armijo 1966). It ends when no element of ∇f is above `tolerance`.
    """
    f, g = value(x)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(steps):
        if np.abs(g).max() <= tolerance:
            break
        direction = -_curved(pairs, g)
        slope, length = g @ direction, 1.0 if pairs else min(1.0, 1 / np.abs(g).sum())
        while True:
            there = x + length * direction
            f_there, g_there = value(there)
            if f_there <= f + 1e-4 * length * slope or length < 1e-12:
                break
            length /= 2
        s, y = there - x, g_there - g
        if s @ y > 1e-12 * (y @ y):
            pairs = [*pairs, (s, y)][-memory:]
        x, f, g = there, f_there, g_there
    return x


def _curved(pairs, g):
    """H·g, by the two-loop recursion of Nocedal 1980."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - (y @ q) / (s @ y)) * s
    return q


def log_softmax(z: np.ndarray) -> np.ndarray:
    """log p of logits (N,K), in float64."""
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))
