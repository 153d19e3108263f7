"""The optimisers' steps, in place. The formulas are in minicnn/optim."""

import numpy as np

from minicnn.cpu.elements import chunk_size, flat, same_layout, with_layout
from minicnn.cpu.threads import parallel_for


def sgd_update(param, grad, velocity, *, lr, momentum, nesterov, weight_decay):
    def update(param, grad, velocity=None):
        if weight_decay:
            grad = grad + weight_decay * param
        if velocity is not None:
            velocity *= momentum
            velocity += grad
            grad = grad + momentum * velocity if nesterov else velocity
        param -= lr * grad

    _in_chunks(update, param, grad, *([] if velocity is None else [velocity]))


def adam_update(param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    def update(param, grad, m, v):
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

    _in_chunks(update, param, grad, m, v)


def _in_chunks(update, param, grad, *state):
    """update(param, grad, *state) on chunks, on all threads; on whole arrays if they have gaps in memory."""
    if not all(same_layout(a, np.empty_like(param)) for a in (param, *state)):
        update(param, grad, *state)
        return
    arrays = [flat(a) for a in (param, with_layout(grad, param), *state)]
    size = max(1, chunk_size(param.size))
    starts = range(0, param.size, size)
    parallel_for(lambda start: update(*(a[start : start + size] for a in arrays)), starts, param.size)
