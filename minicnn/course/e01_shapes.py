"""Exercise 1: how many windows fit, and padding."""

from __future__ import annotations

import numpy as np

from minicnn import reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, sizes

STARTER = '''"""Exercise 1: shapes and padding (패딩).

A window of `kernel` pixels moves over a row of `size` pixels, `stride` (보폭) pixels at a time. Around the row there
may be `padding` zeros on each side. With dilation (팽창) d, the window reads every d-th pixel. How many windows fit?

    minicnn course check ex01_shapes.py
"""

import numpy as np

EXERCISE = 1


def output_size(size, kernel, stride, padding, dilation):
    """How many windows fit completely into the row with its padding; 0 if none does. All are integers.

    Window i reads the pixels i·stride + p·dilation − padding for p = 0 … kernel − 1.

    By hand: 5 pixels, a window of 3, stride 2, no padding. Windows start at 0 and 2; one that starts at 4 would read
    pixel 6, which does not exist. So 2 windows fit. With one zero on each side they start at −1, 1 and 3: 3 windows.

    >>> output_size(5, 3, 2, 0, 1), output_size(5, 3, 2, 1, 1)
    (2, 3)
    """
    raise NotImplementedError  # replace this line by your solution


def same_padding(size, kernel, stride):
    """The zeros (before, after) with which ⌈size / stride⌉ windows fit: TensorFlow's padding "SAME".

    As few zeros as possible, never less than 0. If their number is odd, the extra zero comes after the row.

    By hand: 5 pixels, a window of 4, stride 2. ⌈5/2⌉ = 3 windows start at 0, 2 and 4 and end with pixel 7, so the row
    must have 8 pixels: 3 zeros, 1 before and 2 after.

    >>> same_padding(5, 4, 2)
    (1, 2)
    """
    raise NotImplementedError  # replace this line by your solution


def pad2d(x, top, bottom, left, right):
    """x (N, C, H, W) with zeros around each image → (N, C, top + H + bottom, left + W + right)

    >>> pad2d(np.ones((1, 1, 1, 2)), 0, 1, 2, 0)[0, 0]
    array([[0., 0., 1., 1.],
           [0., 0., 0., 0.]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _windows(size, kernel, stride, before, after, dilation=1):
    """Count them one by one."""
    starts = range(-before, size + after, stride)
    return sum(start + dilation * (kernel - 1) < size + after for start in starts)


def _output_size(size, kernel, stride, padding, dilation):
    return _windows(size, kernel, stride, padding, padding, dilation)


def _same_padding(size, kernel, stride):
    total = 0
    while _windows(size, kernel, stride, 0, total) < -(-size // stride):
        total += 1
    return total // 2, total - total // 2


def _by_formula(rounding=0, one=1, sides=2, strided=True, span=lambda k, d: d * (k - 1) + 1, least=0):
    """What a formula gives in which one thing is different."""

    def gives(right, size, kernel, stride, padding, dilation):
        step = stride if strided else 1
        return max(least, (size + sides * padding - span(kernel, dilation) + rounding * (step - 1)) // step + one)

    return gives


def _same(total=lambda size, kernel, stride: max(0, (-(-size // stride) - 1) * stride + kernel - size), front=False):
    def gives(right, size, kernel, stride):
        zeros = total(size, kernel, stride)
        return (zeros - zeros // 2, zeros // 2) if front else (zeros // 2, zeros - zeros // 2)

    return gives


def _pad(right, x, top, bottom, left, right_, mode="constant"):
    return reference.pad(x, padding=((top, bottom), (left, right_)), mode=mode)


SIZE_MISTAKES = (
    Mistake("rounded up", "The last window hangs over the edge: round down, with //, not up.", _by_formula(rounding=1)),
    Mistake("+ 1 forgotten", "A window that fits exactly counts: (room / stride) + 1.", _by_formula(one=0)),
    Mistake("padding on one side only", "There are zeros on both sides: size + 2·padding.", _by_formula(sides=1)),
    Mistake("padding forgotten", "The zeros around the row count as pixels.", _by_formula(sides=0)),
    Mistake("stride forgotten", "Windows start every `stride` pixels.", _by_formula(strided=False)),
    Mistake("dilation forgotten", "A dilated window spans more than it reads.", _by_formula(span=lambda k, d: k)),
    Mistake("span of a dilated window", "Between `kernel` pixels there are kernel − 1 gaps: the span is "
            "dilation·(kernel − 1) + 1, not dilation·kernel.", _by_formula(span=lambda k, d: d * k)),
    Mistake("negative number of windows", "If no window fits, the answer is 0.", _by_formula(least=-10**9)),
)  # fmt: skip

SAME_MISTAKES = (
    Mistake("extra zero in front", "If the number of zeros is odd, the extra one comes after the row.",
            _same(front=True)),
    Mistake("stride forgotten", "kernel − 1 zeros are right for stride 1 only.", _same(lambda s, k, stride: k - 1)),
    Mistake("half a kernel on each side", "kernel // 2 on each side is right for odd kernels and stride 1 only.",
            lambda right, size, kernel, stride: (kernel // 2, kernel // 2)),
    Mistake("negative padding", "A stride larger than the kernel can leave pixels over: then there are 0 zeros.",
            _same(lambda size, kernel, stride: (-(-size // stride) - 1) * stride + kernel - size)),
)  # fmt: skip

PAD_MISTAKES = (
    Mistake("rows and columns swapped", "top and bottom are rows (the third axis), left and right columns.",
            lambda right, x, t, b, l, r: _pad(right, x, l, r, t, b)),
    Mistake("before and after swapped", "top comes before the first row, bottom after the last one.",
            lambda right, x, t, b, l, r: _pad(right, x, b, t, r, l)),
    Mistake("edge pixels instead of zeros", "The padding is 0, not a copy of the pixels at the edge.",
            lambda right, x, t, b, l, r: _pad(right, x, t, b, l, r, "replicate")),
    Mistake("padding forgotten", "The result is larger than x.", lambda right, x, *a: x),
)  # fmt: skip


def _sizes(stride=(1,), padding=(0,), dilation=(1,)):
    """Cases of output_size, among them windows that fit exactly and such that leave pixels over."""

    def cases(rng):
        found = [(5 + i, 3, s, p, d) for s in stride for p in padding for d in dilation for i in range(2)]
        for _ in range(12):
            k, p, d = int(rng.integers(2, 6)), int(rng.choice(padding)), int(rng.choice(dilation))
            found.append((d * (k - 1) + 1 + int(rng.integers(0, 12)), k, int(rng.choice(stride)), p, d))
        return found

    return cases


def _nothing_fits(rng):
    return [(int(rng.integers(1, 4)), int(rng.integers(6, 9)), s, p, d) for s in (1, 2, 3) for p in (0, 1)
            for d in (1, 2)]  # fmt: skip


def _same_cases(rng):
    return [(5, 3, 1), (5, 4, 2), (6, 4, 2), *((int(rng.integers(5, 40)), int(rng.integers(1, 8)), s)
            for s in (1, 2, 3) for _ in range(4))]  # fmt: skip


def _large_stride(rng):
    return [(int(rng.integers(8, 40)), int(k), int(k + rng.integers(1, 4))) for k in (1, 1, 2, 2, 3, 3) for _ in (0, 1)]


def _images(rng):
    n, c, h, w = sizes(rng, 4)
    return [(np.arange(1.0, 3).reshape(1, 1, 1, 2), 0, 1, 2, 3),
            (rng.normal(size=(n, c, h, w)), *(int(a) for a in rng.permutation(4)))]  # fmt: skip


EXERCISE = Exercise(
    1, "shapes", "Shapes and padding", "출력 크기와 패딩", STARTER,
    (Function("output_size", ("the number of windows",), _output_size, SIZE_MISTAKES),
     Function("same_padding", ("the padding",), _same_padding, SAME_MISTAKES),
     Function("pad2d", ("the padded array",), lambda *a: _pad(None, *a), PAD_MISTAKES)),
    (Check("stride", "output_size", _sizes(stride=(1, 2, 3))),
     Check("padding", "output_size", _sizes(stride=(1, 2), padding=(1, 2))),
     Check("dilation", "output_size", _sizes(stride=(1, 2), padding=(0, 1), dilation=(2, 3))),
     Check("no window fits", "output_size", _nothing_fits),
     Check("SAME", "same_padding", _same_cases),
     Check("SAME with a stride larger than the kernel", "same_padding", _large_stride),
     Check("zeros around images", "pad2d", _images)),
)  # fmt: skip
