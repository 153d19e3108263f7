"""Exercise 11: the receptive field of a stack of layers."""

from __future__ import annotations

from minicnn.course.exercise import Check, Exercise, Function, Mistake

STARTER = '''"""Exercise 11: the receptive field (수용 영역).

A number in a deep map depends on a region of the image, its receptive field. Each layer is (kernel, stride, padding),
and the layers are listed from the image on. Everything is about one axis; the other one is computed the same way.

    minicnn course check ex11_receptive_field.py
"""

EXERCISE = 11


def receptive_field(layers):
    """→ (size, step, start): the field of number 0 of the last map begins at pixel `start` and has `size` pixels; the
    field of the next number begins `step` pixels later.

    Start with size = 1, step = 1, start = 0 (a pixel sees itself). A layer (kernel, stride, padding) does:
        size  += (kernel − 1) · step
        start −= padding · step
        step  *= stride
    in this order: `step` is still that of the layer's input.

    By hand: (3, 2, 1) gives size 3, start −1, step 2. Then (3, 1, 1): size 3 + 2·2 = 7, start −1 − 1·2 = −3, step 2.

    >>> receptive_field([(3, 2, 1), (3, 1, 1)])
    (7, 2, -3)
    """
    raise NotImplementedError  # replace this line by your solution


def pixels(layers, index, size):
    """→ (first, last): the pixels that number `index` of the last map depends on, in an image of `size` pixels.

    Pixels outside the image don't count.

    By hand, with the layers above: number 0 reads −3 … 3, so in an image of 32 pixels 0 … 3; number 1 reads −1 … 5.

    >>> pixels([(3, 2, 1), (3, 1, 1)], 0, 32), pixels([(3, 2, 1), (3, 1, 1)], 1, 32)
    ((0, 3), (0, 5))
    """
    raise NotImplementedError  # replace this line by your solution


def how_many(kernel, field):
    """How many layers with this odd kernel and stride 1 have at least the receptive field `field`?

    By hand: 3×3 layers see 3, 5, 7, … pixels: three of them see as much as one 7×7.

    >>> how_many(3, 7), how_many(3, 8)
    (3, 4)
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _seen(layers, index):
    """The pixels, found by going back through the layers: every number reads `kernel` numbers of the map before."""
    numbers = {index}
    for kernel, stride, padding in reversed(layers):
        numbers = {n * stride + p - padding for n in numbers for p in range(kernel)}
    return min(numbers), max(numbers)


def _field(layers):
    first, last = _seen(layers, 0)
    return last - first + 1, _seen(layers, 1)[0] - first, first


def _pixels(layers, index, size):
    first, last = _seen(layers, index)
    return max(0, first), min(size - 1, last)


def _how_many(kernel, field):
    layers: list[tuple[int, int, int]] = []
    while _field(layers)[0] < field:
        layers.append((kernel, 1, 0))
    return len(layers)


def _by_rule(grows=lambda kernel, step, stride: (kernel - 1) * step, moves=lambda padding, step, stride: padding * step,
             steps=lambda step, stride: step * stride, first=1):  # fmt: skip
    """What the rule gives in which one thing is different."""

    def gives(right, layers):
        size, step, start = first, 1, 0
        for kernel, stride, padding in layers:
            size, start, step = (size + grows(kernel, step, stride), start - moves(padding, step, stride),
                                 steps(step, stride))  # fmt: skip
        return size, step, start

    return gives


FIELD = (
    Mistake("kernel instead of kernel − 1", "The windows of neighbours overlap: a layer adds (kernel − 1)·step.",
            _by_rule(grows=lambda k, step, stride: k * step, first=0)),
    Mistake("kernel instead of kernel − 1", "The windows of neighbours overlap: a layer adds (kernel − 1)·step.",
            _by_rule(grows=lambda k, step, stride: k * step)),
    Mistake("strides before forgotten", "After a stride of 2, neighbours are 2 pixels apart: add (kernel − 1)·step.",
            _by_rule(grows=lambda k, step, stride: k - 1)),
    Mistake("step updated too early", "A layer's window reaches over its input, whose step is the one before this "
            "layer's stride.", _by_rule(grows=lambda k, step, stride: (k - 1) * step * stride,
                                        moves=lambda p, step, stride: p * step * stride)),
    Mistake("strides added", "Strides multiply: two of 2 make 4.",
            _by_rule(steps=lambda step, stride: step + stride - 1)),
    Mistake("last stride only", "Strides multiply.", _by_rule(steps=lambda step, stride: stride)),
    Mistake("padding in pixels of the image", "A layer's padding is in steps of its input: padding·step pixels.",
            _by_rule(moves=lambda p, step, stride: p)),
    Mistake("padding forgotten", "Padding moves the field to the left.", _by_rule(moves=lambda p, step, stride: 0)),
    Mistake("padding makes the field larger", "Padding moves the field, it doesn't change its size.",
            lambda right, layers: (right[0] + 2 * sum(p for _, _, p in layers), *right[1:])),
    Mistake("start with the wrong sign", "Padding moves the field to the left: start is negative.",
            lambda right, layers: (right[0], right[1], -right[2])),
    Mistake("layers in reverse", "Go from the image on.",
            lambda right, layers: _by_rule()(right, layers[::-1])),
)  # fmt: skip
PIXELS = (
    Mistake("pixels outside the image", "Pixels that don't exist don't count: at least 0, at most size − 1.",
            lambda right, layers, index, size: _seen(layers, index)),
    Mistake("one past the last", "`last` is a pixel that is read.",
            lambda right, layers, index, size: (right[0], min(size, _seen(layers, index)[1] + 1))),
    Mistake("one past the last", "`last` is a pixel that is read.",
            lambda right, layers, index, size: (right[0], right[1] + 1)),
    Mistake("one past the last", "`last` is a pixel that is read.",
            lambda right, layers, index, size: (right[0], min(size - 1, _seen(layers, index)[1] + 1))),
    Mistake("step forgotten", "The field of number i begins i·step pixels later.",
            lambda right, layers, index, size: (max(0, _field(layers)[2] + index),
                                                min(size - 1, _field(layers)[2] + index + _field(layers)[0] - 1))),
    Mistake("padding forgotten", "The field of number 0 begins at `start`, which padding makes negative.",
            lambda right, layers, index, size: _pixels([(k, s, 0) for k, s, _ in layers], index, size)),
)  # fmt: skip
HOW_MANY = (
    Mistake("kernels added", "Two layers of 3 see 5, not 6: each adds kernel − 1.",
            lambda right, kernel, field: -(-field // kernel)),
    Mistake("rounded down", "At least the field: round up.", lambda right, kernel, field: (field - 1) // (kernel - 1)),
    Mistake("the first pixel forgotten", "Without any layer the field is 1.",
            lambda right, kernel, field: -(-field // (kernel - 1))),
)  # fmt: skip


def _stack(rng, count, strided=True, padded=True):
    """Layers that are all different."""
    return [(int(rng.integers(2, 6)), int(rng.integers(1, 4)) if strided else 1, int(rng.integers(1, 3)) * padded)
            for _ in range(count)]  # fmt: skip


def _stacks(**how):
    def cases(rng):
        return [(_stack(rng, n, **how),) for n in (1, 2, 2, 3, 4)]

    return cases


def _one_number(rng):
    """Fields at both edges of the image and inside, none of them wholly outside."""
    found = [([(7, 2, 3), (3, 2, 1)], 1, 50), ([(5, 1, 2), (3, 2, 1)], 2, 6)]
    for n in (1, 2, 2, 3, 3, 3):
        layers, index = _stack(rng, n), int(rng.integers(0, 4))
        first, last = _seen(layers, index)
        found.append((layers, index, max(1, first + 1, last + int(rng.integers(-2, 6)))))
    return found


def _fields(rng):
    return [(k, f) for k in (3, 5, 7) for f in (3, 7, *map(int, rng.integers(8, 40, 3)))]


EXERCISE = Exercise(
    11, "receptive-field", "The receptive field", "수용 영역", STARTER,
    (Function("receptive_field", ("(size, step, start)",), _field, FIELD),
     Function("pixels", ("(first, last)",), _pixels, PIXELS),
     Function("how_many", ("the number",), _how_many, HOW_MANY)),
    (Check("kernels", "receptive_field", _stacks(strided=False, padded=False)),
     Check("strides", "receptive_field", _stacks(padded=False)),
     Check("padding", "receptive_field", _stacks(strided=False)),
     Check("strides and padding", "receptive_field", _stacks()),
     Check("the pixels of one number", "pixels", _one_number),
     Check("small filters for a large one", "how_many", _fields)),
)  # fmt: skip
