"""Exercise 2: the convolution, forward."""

from __future__ import annotations

import numpy as np

from minicnn import reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake

STARTER = '''"""Exercise 2: the convolution (합성곱), forward.

Each filter (필터) slides over the image. At every place, its weights are multiplied with the pixels under it, and the
products are added, over all channels (채널). What deep learning calls a convolution does not flip the filter.

    minicnn course check ex02_conv_forward.py
"""

import numpy as np

EXERCISE = 2


def conv2d(x, w, b, stride, padding):
    """y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·stride + p − padding, j·stride + q − padding]

    x (N, C, H, W): N images with C channels.   w (O, C, KH, KW): O filters.   b (O,).   stride, padding: integers.
    → y (N, O, OH, OW) with OH = (H + 2·padding − KH) // stride + 1, OW likewise. Pixels outside the image are 0.

    By hand, one 2×3 image and one 2×2 filter: 1·1 + 2·2 + 4·3 + 5·4 = 37, and with the bias 0.5: 37.5. One pixel
    further to the right: 2·1 + 3·2 + 5·3 + 6·4 + 0.5 = 47.5.

    >>> x = np.array([[[[1., 2., 3.], [4., 5., 6.]]]])
    >>> w = np.array([[[[1., 2.], [3., 4.]]]])
    >>> conv2d(x, w, np.array([0.5]), 1, 0)[0, 0]
    array([[37.5, 47.5]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _conv(x, w, b, stride, padding):
    return reference.conv2d(x, w, b, stride=stride, padding=padding)


def _around(mode):
    """Other pixels than zeros around the image."""

    def gives(right, x, w, b, stride, padding):
        around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        return _conv(np.pad(x, around, mode), w, b, stride, 0)

    return gives


def _wrapped(right, x, w, b, stride, padding):
    """x[-1] is the last pixel in Python: zeros only behind the image, wrapped pixels in front of it."""
    front = ((0, 0), (0, 0), (padding, 0), (padding, 0))
    behind = ((0, 0), (0, 0), (0, padding), (0, padding))
    return _conv(np.pad(np.pad(x, front, "wrap"), behind), w, b, stride, 0)


MISTAKES = (
    Mistake("kernel flipped", "The filter is turned by 180°: y uses w[o, c, p, q], not w[o, c, KH−1−p, KW−1−q].",
            lambda right, x, w, b, s, p: _conv(x, w[:, :, ::-1, ::-1], b, s, p)),
    Mistake("kernel transposed", "The first axis of a filter is down (rows), the second across (columns).",
            lambda right, x, w, b, s, p: _conv(x, w.swapaxes(2, 3), b, s, p)),
    Mistake("padding forgotten", "Pixels outside the image are 0, and windows start there.",
            lambda right, x, w, b, s, p: _conv(x, w, b, s, 0)),
    Mistake("stride forgotten", "The window moves by `stride` pixels.",
            lambda right, x, w, b, s, p: _conv(x, w, b, 1, p)),
    Mistake("bias forgotten", "b[o] belongs to every number of map o.", lambda right, x, w, b, s, p:
            right - b[:, None, None]),
    Mistake("bias once for each input channel", "b[o] is added once, outside the sum over channels.",
            lambda right, x, w, b, s, p: right + (x.shape[1] - 1) * b[:, None, None]),
    Mistake("only the first channel", "The sum goes over all channels of x.",
            lambda right, x, w, b, s, p: _conv(x[:, :1], w[:, :1], b, s, p)),
    Mistake("only the last channel", "The sum goes over all channels: add to y (+=), don't assign (=).",
            lambda right, x, w, b, s, p: _conv(x[:, -1:], w[:, -1:], b, s, p)),
    Mistake("mean instead of sum", "The products are added, not averaged.", lambda right, x, w, b, s, p:
            (right - b[:, None, None]) / w[0].size + b[:, None, None]),
    Mistake("the first image's result for all", "Each image has its own result: x[n], not x[0].",
            lambda right, *a: np.broadcast_to(right[:1], right.shape)),
    Mistake("the first filter for all", "Each filter has its own map: w[o], not w[0].",
            lambda right, x, w, b, s, p: _conv(x, np.broadcast_to(w[:1], w.shape), b, s, p)),
    Mistake("edge pixels instead of zeros", "Pixels outside the image are 0, not a copy of the edge.",
            _around("edge")),
    Mistake("negative index wraps around", "In Python x[-1] is the last pixel: check that the index is at least 0, or "
            "pad x with zeros first.", _wrapped),
)  # fmt: skip


def _cases(n=1, c=1, o=1, stride=(1,), padding=(0,), kernels=((2, 2), (3, 2))):
    """An image of small integers first; then a random one. Rows, columns and the sides of the filter are different."""

    def cases(rng):
        found = []
        for s in stride:
            for p in padding:
                for i, (kh, kw) in enumerate(kernels):
                    shape = (n, c, kh + s + i, kw + s + 1 + 2 * i)
                    x = rng.integers(1, 6, shape).astype(float) if not i else rng.normal(size=shape)
                    w = rng.integers(1, 6, (o, c, kh, kw)) * 1.0 if not i else rng.normal(size=(o, c, kh, kw))
                    found.append((x, w, rng.normal(size=o).round(2), s, p))
        return found

    return cases


EXERCISE = Exercise(
    2, "conv-forward", "The convolution, forward", "합성곱의 순전파", STARTER,
    (Function("conv2d", ("y",), _conv, MISTAKES),),
    (Check("one channel, one filter", "conv2d", _cases()),
     Check("channels", "conv2d", _cases(c=3)),
     Check("filters", "conv2d", _cases(c=2, o=4)),
     Check("stride", "conv2d", _cases(o=2, stride=(2,))),
     Check("padding", "conv2d", _cases(padding=(1, 2))),
     Check("a batch, with stride and padding", "conv2d", _cases(3, 2, 2, (2, 3), (1,))),
     Check("a stride larger than the kernel", "conv2d", _cases(2, 2, 3, (4,), (0, 2)))),
)  # fmt: skip
