"""The formulas of minicnn/formulas.py, each in one pass over the data.

Left to NumPy: float64, arrays with gaps in memory, and formulas that are not in KERNELS.
"""

import numpy as np

from minicnn import cpu, formulas
from minicnn.cpu.compiled.elements import apply, chunk
from minicnn.cpu.compiled.exponential import exponential
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.work import first, following

ZERO, ONE, TWO, THREE, SIX = (np.float32(v) for v in (0, 1, 2, 3, 6))


@inlined
def _sigmoid(x):
    e = exponential(-abs(x))
    return (ONE if x >= 0 else e) / (ONE + e)


@inlined
def _clip(x, low, high):
    return low if x <= low else high if x >= high else x           # NaN stays


@kernel("void(f4[::1], f4[::1], i8, f4, f4, i8[::1])")
def _of_one(x, y, formula, low, high, work):
    item = first(work)
    while item >= 0:
        a, out = chunk(x, item), chunk(y, item)
        if formula == 0:
            for i in range(out.size):
                out[i] = _clip(a[i], low, high)
        elif formula == 1:
            for i in range(out.size):
                out[i] = _sigmoid(a[i])
        elif formula == 2:
            for i in range(out.size):
                out[i] = a[i] * _sigmoid(a[i])
        elif formula == 3:
            for i in range(out.size):
                out[i] = _clip(a[i] + THREE, ZERO, SIX) / SIX
        else:
            for i in range(out.size):
                out[i] = a[i] * _clip(a[i] + THREE, ZERO, SIX) / SIX
        item = following(work)


@kernel("void(f4[::1], f4[::1], f4[::1], i8, f4, f4, i8[::1])")
def _of_two(x, dy, dx, formula, low, high, work):
    item = first(work)
    while item >= 0:
        a, d, out = chunk(x, item), chunk(dy, item), chunk(dx, item)
        if formula == 0:
            for i in range(out.size):
                out[i] = d[i] * np.float32((a[i] > low) & (a[i] < high))
        elif formula == 1:
            for i in range(out.size):
                out[i] = d[i] * a[i] * (ONE - a[i])
        elif formula == 2:
            for i in range(out.size):
                s = _sigmoid(a[i])
                out[i] = d[i] * s * (ONE + a[i] * (ONE - s))
        elif formula == 3:
            for i in range(out.size):
                out[i] = d[i] * np.float32((a[i] > -THREE) & (a[i] < THREE)) / SIX
        elif formula == 4:
            for i in range(out.size):
                out[i] = d[i] * (ZERO if a[i] <= -THREE else (TWO * a[i] + THREE) / SIX if a[i] < THREE else ONE)
        elif formula == 5:
            for i in range(out.size):
                out[i] = d[i] * (ONE - a[i] * a[i])
        else:
            for i in range(out.size):
                out[i] = d[i] * (ONE if a[i] > 0 else low)
        item = following(work)


KERNELS = {
    formulas.clip: (_of_one, 0),
    formulas.sigmoid: (_of_one, 1),
    formulas.silu: (_of_one, 2),
    formulas.hardsigmoid: (_of_one, 3),
    formulas.hardswish: (_of_one, 4),
    formulas.clip_dx: (_of_two, 0),
    formulas.sigmoid_dx: (_of_two, 1),
    formulas.silu_dx: (_of_two, 2),
    formulas.hardsigmoid_dx: (_of_two, 3),
    formulas.hardswish_dx: (_of_two, 4),
    formulas.tanh_dx: (_of_two, 5),
    formulas.leaky_relu: (_of_two, 6),
}
"""The kernel of each formula, and its number there."""


def evaluate(formula, *arguments):
    kernel, number = KERNELS.get(formula, (None, 0))
    if kernel is not None:
        count = 1 if kernel is _of_one else 2
        low, high = (*arguments[count:], 0, 0)[:2]
        y = apply(kernel, *arguments[:count], numbers=(number, np.float32(low), np.float32(high)))
        if y is not None:
            return y
    return cpu.evaluate(formula, *arguments)
