"""Elementwise functions, and additions at indices."""


def elementwise(gpu, function, *arrays):
    return function(*arrays)                                       # one kernel for each operation, compiled by CuPy


def evaluate(gpu, formula, *arguments):
    return formula(gpu.xp, *arguments)


def relu(gpu, x):
    return gpu.xp.maximum(x, 0)


def relu_dx(gpu, dy, y):
    return dy * (y > 0)


def add(gpu, a, b):
    return a + b


def add_relu(gpu, a, b):
    y = a + b
    return gpu.xp.maximum(y, 0, out=y)


def add_at(gpu, target, index, values):
    """target[index] += values, always in the same order; the order in CuPy's `add.at` depends on the threads.

    An array of indices can contain an index several times: they are sorted, and one thread adds all values of an index.
    """
    xp = gpu.xp
    if not any(hasattr(i, "ndim") or isinstance(i, list) for i in (index if isinstance(index, tuple) else (index,))):
        target[index] += values                                    # slices and integers contain each index once
        return
    places = xp.arange(target.size).reshape(target.shape)[index]
    values = xp.ascontiguousarray(xp.broadcast_to(values, places.shape)).reshape(-1)
    places = places.reshape(-1)
    order = xp.argsort(places, kind="stable")
    flat = xp.ascontiguousarray(target).reshape(-1)
    gpu.kernel("add_at.cu", "add_at", flat.dtype).over(
        places.size, places[order], values[order], flat, places.size
    )
    if not target.flags.c_contiguous:
        target[...] = flat.reshape(target.shape)
