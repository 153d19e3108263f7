"""Softmax and cross entropy together, without overflow and without log 0, even for large logits."""

import numpy as np


def cross_entropy(logits, labels, smoothing):
    z = logits - logits.max(1, keepdims=True)                                 # (N, K), the largest is 0
    e = np.exp(z)
    total = e.sum(1, keepdims=True)                                           # (N, 1), from 1 to K
    log_p = z - np.log(total)                                                 # (N, K)
    loss = -(1 - smoothing) * log_p[np.arange(len(labels)), labels]           # (N,)
    if smoothing:
        loss -= smoothing * log_p.mean(1)
    return loss, e / total


def cross_entropy_dx(dy, p, labels, smoothing):
    dlogits = p - p.dtype.type(smoothing / p.shape[1])                        # (N, K)
    dlogits[np.arange(len(labels)), labels] -= 1 - smoothing
    return dlogits * dy[:, None]
