"""The optimisers' steps in one pass, in place.

Left to NumPy: float64, parameters that are read-only or have gaps in memory.
"""

import numpy as np

from minicnn.cpu import update as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, flat, in_order_of
from minicnn.cpu.compiled.elements import CHUNK, chunk
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.work import first, following

ZERO, ONE = np.float32(0), np.float32(1)


@kernel("void(f4[::1], f4[::1], f4[::1], f4, f4, b1, f4, i8[::1])")
def _sgd(param, grad, velocity, lr, momentum, nesterov, decay, work):
    """velocity: as long as param, or empty."""
    item = first(work)
    while item >= 0:
        p, g, v = chunk(param, item), chunk(grad, item), chunk(velocity, item)
        for i in range(v.size):
            d = g[i] + (ZERO if decay == 0 else decay * p[i])
            v[i] = momentum * v[i] + d
            p[i] -= lr * (d + momentum * v[i] if nesterov else v[i])
        if v.size == 0:
            for i in range(p.size):
                p[i] -= lr * (g[i] + (ZERO if decay == 0 else decay * p[i]))
        item = following(work)


@kernel("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4, f4, i8[::1])")
def _adam(param, grad, m, v, step, correction, beta1, beta2, eps, decay, shrink, work):
    """step: lr / (1 − β₁^t); correction: 1 / (1 − β₂^t); shrink: what the parameters are multiplied by before."""
    item = first(work)
    while item >= 0:
        p, g, a, b = chunk(param, item), chunk(grad, item), chunk(m, item), chunk(v, item)
        for i in range(p.size):
            d = g[i] + (ZERO if decay == 0 else decay * p[i])
            a[i] = beta1 * a[i] + (ONE - beta1) * d
            b[i] = beta2 * b[i] + (ONE - beta2) * d * d
            p[i] = shrink * p[i] - step * a[i] / (np.sqrt(b[i] * correction) + eps)
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def sgd_update(param, grad, velocity, *, lr, momentum, nesterov, weight_decay):
    arrays = _in_place(param, grad, *(() if velocity is None else (velocity,)))
    if arrays is None:
        plain.sgd_update(param, grad, velocity, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        return
    p, g, v = arrays if velocity is not None else (*arrays, arrays[0][:0])
    team.run(_sgd, -(-p.size // CHUNK), p.size, p, g, v, F(lr), F(momentum), bool(nesterov), F(weight_decay))


def adam_update(param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    arrays = _in_place(param, grad, m, v)
    if arrays is None:
        plain.adam_update(param, grad, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
                          decoupled=decoupled, step=step)  # fmt: skip
        return
    decay, shrink = (0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1)
    team.run(_adam, -(-param.size // CHUNK), param.size, *arrays, F(lr / (1 - beta1**step)), F(1 / (1 - beta2**step)),
             F(beta1), F(beta2), F(eps), F(decay), F(shrink))


def _in_place(param, grad, *state):
    """(param, grad, *state) as flat views, grad perhaps as a copy; None if that is not possible."""
    for a in (param, *state):
        if a.dtype != F32 or not a.flags.behaved or a.strides != param.strides:
            return None
    values = flat(param)
    if values is None or grad.dtype != F32:
        return None
    return [values, in_order_of(param, grad), *map(flat, state)]


F = np.float32
