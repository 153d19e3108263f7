import numpy as np

EXERCISE = 7


def statistics(x, eps):
    mean = x.mean((0, 2, 3), keepdims=True)
    var = x.var((0, 2, 3), keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    return (x - mean) * inv_std, inv_std


def batch_norm(x, gamma, beta, eps):
    xhat, _ = statistics(x, eps)
    return gamma[:, None, None] * xhat + beta[:, None, None]


def batch_norm_backward(dy, x, gamma, eps):
    xhat, inv_std = statistics(x, eps)
    dbeta = dy.sum((0, 2, 3))
    dgamma = (dy * xhat).sum((0, 2, 3))
    M = dy.size // dy.shape[1]
    dx = dy - dbeta[:, None, None] / M - xhat * dgamma[:, None, None] / M
    return gamma[:, None, None] * inv_std * dx, dgamma, dbeta
