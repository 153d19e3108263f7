import numpy as np

EXERCISE = 10


def residual(x, w1, w2):
    inner = np.maximum(x @ w1, 0)
    return np.maximum(x + inner @ w2, 0)


def residual_backward(dy, x, w1, w2):
    inner = np.maximum(x @ w1, 0)
    ds = dy * (x + inner @ w2 > 0)
    dw2 = inner.T @ ds
    dinner = ds @ w2.T * (inner > 0)
    dw1 = x.T @ dinner
    dx = ds + dinner @ w1.T
    return dx, dw1, dw2


def shortcut(x, channels, stride):
    x = x[:, :, ::stride, ::stride]
    zeros = np.zeros((x.shape[0], channels - x.shape[1], *x.shape[2:]))
    return np.concatenate([x, zeros], axis=1)
