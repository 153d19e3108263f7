"""The optimisers' steps, in place. The formulas stand in minicnn/optim."""

import numpy as np

from minicnn.cpu.elements import as_laid_out, flat, laid_out_alike, piece_size
from minicnn.cpu.threads import parallel_for


def sgd_update(param, grad, velocity, *, lr, momentum, nesterov, weight_decay):
    def step(param, grad, velocity=None):
        if weight_decay:
            grad = grad + weight_decay * param
        if velocity is not None:
            velocity *= momentum
            velocity += grad
            grad = grad + momentum * velocity if nesterov else velocity
        param -= lr * grad

    in_pieces(step, param, grad, *([] if velocity is None else [velocity]))


def adam_update(param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    def one_step(param, grad, m, v):
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

    in_pieces(one_step, param, grad, m, v)


def in_pieces(step, param, grad, *state):
    """step(param, grad, *state), a piece of each at a time, on all threads; as a whole where memory has gaps."""
    if not all(laid_out_alike(a, np.empty_like(param)) for a in (param, *state)):
        step(param, grad, *state)
        return
    arrays = [flat(a) for a in (param, as_laid_out(grad, param), *state)]
    size = max(1, piece_size(param.size))
    parallel_for(lambda start: step(*(a[start : start + size] for a in arrays)), range(0, param.size, size), param.size)
