EXERCISE = 11


def receptive_field(layers):
    size, step, start = 1, 1, 0
    for kernel, stride, padding in layers:
        size += (kernel - 1) * step
        start -= padding * step
        step *= stride
    return size, step, start


def pixels(layers, index, size):
    field, step, start = receptive_field(layers)
    first = start + index * step
    last = first + field - 1
    return max(0, first), min(size - 1, last)


def how_many(kernel, field):
    return -(-(field - 1) // (kernel - 1))
