"""ReLU and addition, value by value.

Start reading here: a kernel takes an item, a chunk of the arrays, until none is left; another thread may take the next.
The loop over a chunk is what LLVM, numba's compiler, turns into instructions for 8 values at a time.

Left to NumPy: float64, arrays with gaps in memory, `elementwise` and `add_at`.
"""

import numpy as np

from minicnn.cpu import elements as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, flat, in_order_of
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.work import first, following

CHUNK = 1 << 13
"""Values in an item."""
ZERO = np.float32(0)


@inlined
def chunk(x, item):
    """Item number `item` of a flat array: a view."""
    return x[item * CHUNK : (item + 1) * CHUNK]


@kernel("void(f4[::1], f4[::1], i8[::1])")
def _relu(x, y, work):
    item = first(work)
    while item >= 0:
        a, out = chunk(x, item), chunk(y, item)
        for i in range(out.size):
            v = a[i]
            out[i] = ZERO if v <= 0 else v                         # NaN stays
        item = following(work)


@kernel("void(f4[::1], f4[::1], f4[::1], i8[::1])")
def _relu_dx(y, dy, dx, work):
    item = first(work)
    while item >= 0:
        a, d, out = chunk(y, item), chunk(dy, item), chunk(dx, item)
        for i in range(out.size):
            out[i] = d[i] * np.float32(a[i] > 0)
        item = following(work)


@kernel("void(f4[::1], f4[::1], f4[::1], b1, i8[::1])")
def _add(x, z, y, relu, work):
    item = first(work)
    while item >= 0:
        a, b, out = chunk(x, item), chunk(z, item), chunk(y, item)
        if relu:
            for i in range(out.size):
                v = a[i] + b[i]
                out[i] = ZERO if v <= 0 else v
        else:
            for i in range(out.size):
                out[i] = a[i] + b[i]
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def relu(x):
    y = apply(_relu, x)
    return plain.relu(x) if y is None else y


def relu_dx(dy, y):
    dx = apply(_relu_dx, y, dy)
    return plain.relu_dx(dy, y) if dx is None else dx


def add(a, b):
    y = apply(_add, a, b, numbers=(False,))
    return plain.add(a, b) if y is None else y


def add_relu(a, b):
    y = apply(_add, a, b, numbers=(True,))
    return plain.add_relu(a, b) if y is None else y


def apply(kernel, x, *others, numbers=()):
    """kernel(x, *others, y, *numbers) on flat arrays → y, with the memory layout of x; None if it is NumPy's work."""
    if x.dtype != F32 or (values := flat(x)) is None:
        return None
    y = np.empty_like(x)
    arrays = [values]
    for other in others:
        if other.dtype != F32 or other.shape != x.shape:
            return None
        arrays.append(in_order_of(x, other))
    team.run(kernel, -(-x.size // CHUNK), x.size, *arrays, flat(y), *numbers)
    return y
