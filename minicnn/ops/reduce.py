"""The maximum over axes. (Sums and means stand in minicnn/tensor.py.)"""

import math

from minicnn import devices
from minicnn.tensor import op, whole_axes


@op
def max(x, *, axis=None, keepdims=False):
    """y = the largest x over `axis`: None for all, an integer, or several.   dx: dy to the first of the largest"""
    xp, axes = devices.of(x).xp, whole_axes("max", x, axis)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    rows = x.transpose(order).reshape(*[x.shape[i] for i in kept], math.prod(x.shape[i] for i in axes))    # (kept…, m)
    winner = rows.argmax(-1)                                                  # (kept…)
    y = rows.max(-1)

    def dx(dy):
        wins = xp.arange(rows.shape[-1]) == winner[..., None]                 # (kept…, m)
        dx = (wins * dy.reshape(winner.shape)[..., None]).reshape([x.shape[i] for i in order])
        return dx.transpose([order.index(i) for i in range(x.ndim)])

    return y.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdims else y, dx
