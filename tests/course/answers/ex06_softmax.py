import numpy as np

EXERCISE = 6


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def cross_entropy(x, labels):
    logp = log_softmax(x)
    return -logp[np.arange(len(x)), labels].mean()


def cross_entropy_backward(x, labels):
    dx = softmax(x)
    dx[np.arange(len(x)), labels] -= 1
    return dx / len(x)
