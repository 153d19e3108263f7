"""The optimisers' steps, in place. The formulas stand in minicnn/optim."""

import numpy as np


def sgd_update(param, grad, velocity, *, lr, momentum, nesterov, weight_decay):
    if weight_decay:
        grad = grad + weight_decay * param
    if velocity is not None:
        velocity *= momentum
        velocity += grad
        grad = grad + momentum * velocity if nesterov else velocity
    param -= lr * grad


def adam_update(param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    if weight_decay and decoupled:
        param *= 1 - lr * weight_decay
    elif weight_decay:
        grad = grad + weight_decay * param
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    denominator = np.sqrt(v / (1 - beta2**step)) + eps
    param -= lr / (1 - beta1**step) * m / denominator
