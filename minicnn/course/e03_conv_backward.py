"""Exercise 3: the gradients of the convolution."""

from __future__ import annotations

import numpy as np

from minicnn import ops, reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, changed, gradients, overwritten
from minicnn.course.finite import by_differences

STARTER = '''"""Exercise 3: the convolution (합성곱), backward (역전파).

A net's loss L depends on y = conv2d(x, w, b). Given dy = ∂L/∂y, compute dx = ∂L/∂x, dw = ∂L/∂w and db = ∂L/∂b. Each
number of y is a sum of products w·x: so each product sends dy·x to its weight and dy·w to its pixel.

    minicnn course check ex03_conv_backward.py
"""

import numpy as np

EXERCISE = 3


def conv2d_backward(dy, x, w, stride, padding):
    """→ (dx, dw, db), for y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·stride + p − padding,
                                                                           j·stride + q − padding]

        dw[o,c,p,q] = Σ_{n,i,j} dy[n,o,i,j] · x[n, c, i·stride + p − padding, j·stride + q − padding]
        dx[n,c,h,v] = Σ dy[n,o,i,j] · w[o,c,p,q]   over all o, i, j, p, q with i·stride + p − padding = h and
                                                   j·stride + q − padding = v
        db[o]       = Σ_{n,i,j} dy[n,o,i,j]

    dy (N, O, OH, OW)   x (N, C, H, W)   w (O, C, KH, KW).   Each gradient has the shape of its array.

    By hand: one row x = 1 2 3, one filter w = 4 5, so y has two numbers; dy = 1 10.
    dw = 1·1 + 10·2, 1·2 + 10·3 = 21, 32.   dx = 1·4, 1·5 + 10·4, 10·5 = 4, 45, 50: both windows read the second pixel.

    >>> x, w = np.array([[[[1., 2., 3.]]]]), np.array([[[[4., 5.]]]])
    >>> dx, dw, db = conv2d_backward(np.array([[[[1., 10.]]]]), x, w, 1, 0)
    >>> dx[0, 0, 0], dw[0, 0, 0], db
    (array([ 4., 45., 50.]), array([21., 32.]), array([11.]))
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _right(dy, x, w, stride, padding):
    return gradients(lambda x, w, b: ops.conv2d(x, w, b, stride=stride, padding=padding), dy, x, w,
                     np.zeros(w.shape[0]))  # fmt: skip


def _overwritten(backwards):
    def gives(right, dy, x, w, s, p):
        def dx(dy, w=w):
            return _right(dy, x, w, s, p)[0]

        return changed(right, 0, overwritten(dx, lambda dy: dx(dy, np.ones_like(w)), dy, backwards))

    return gives


def _stride_ignored(right, dy, x, w, s, p):
    """All windows at the places that stride 1 has."""
    room = [size + 2 * p - k + 1 for size, k in zip(x.shape[2:], w.shape[2:])]
    dense = np.zeros((*dy.shape[:2], *room))
    dense[:, :, : dy.shape[2], : dy.shape[3]] = dy
    return changed(right, 0, _right(dense, x, w, 1, p)[0])


def _with_padding(dy, x, w, s, p):
    """dx of the padded image."""
    n, c, h, v = x.shape
    return _right(dy, np.zeros((n, c, h + 2 * p, v + 2 * p)), w, s, 0)[0]


def _one(part, value):
    """One of the three gradients is wrong: value(right gradients, dy, x, w, stride, padding)."""
    return lambda right, *a: changed(right, part, value(right, *a))


MISTAKES = (
    Mistake("kernel flipped in dx", "dx uses w[o, c, p, q] as it is, at the pixel that tap (p, q) reads. If you "
            "compute dx as a convolution of dy, that one flips the filter.",
            _one(0, lambda right, dy, x, w, s, p: _right(dy, x, w[:, :, ::-1, ::-1], s, p)[0])),
    Mistake("stride ignored in dx", "Window i starts at row i·stride.", _stride_ignored),
    Mistake("padding cut off at the corner", "Row 0 of the image is row `padding` of the padded one: cut "
            "[padding : padding + H].",
            _one(0, lambda right, dy, x, w, s, p: _with_padding(dy, x, w, s, p)[:, :, : x.shape[2], : x.shape[3]])),
    Mistake("padding not cut off", "dx has the shape of x, without the padding.",
            _one(0, lambda right, dy, x, w, s, p: _with_padding(dy, x, w, s, p))),
    Mistake("dw transposed", "The first axis of a filter is down (rows), the second across (columns).",
            _one(1, lambda right, *a: right[1].swapaxes(2, 3))),
    Mistake("dw flipped", "dw[p, q] takes the pixels that tap (p, q) reads; it isn't turned by 180°.",
            _one(1, lambda right, *a: right[1][:, :, ::-1, ::-1])),
    Mistake("dw of the last image only", "dw is a sum over all images: add (+=), don't assign (=).",
            _one(1, lambda right, dy, x, w, s, p: _right(dy[-1:], x[-1:], w, s, p)[1])),
    Mistake("dw averaged over the batch", "dw is a sum over the images. The 1/N of a mean loss is in dy already.",
            _one(1, lambda right, dy, *a: right[1] / len(dy))),
    Mistake("db over the wrong axes", "db[o] sums over images, rows and columns: the axes 0, 2 and 3.",
            _one(2, lambda right, dy, *a: dy.sum((1, 2, 3)))),
    Mistake("db averaged", "db is a sum, not a mean.", _one(2, lambda right, dy, *a: dy.mean((0, 2, 3)))),
    Mistake("db over the batch divided by N", "db is a sum over the images, not a mean.",
            _one(2, lambda right, dy, *a: right[2] / len(dy))),
    Mistake("db forgotten", "db is not zero: the bias is added to every number of y.",
            _one(2, lambda right, *a: np.zeros_like(right[2]))),
    Mistake("dx and dw exchanged", "The order is (dx, dw, db).", lambda right, *a: (right[1], right[0], right[2])),
    Mistake("dx overwritten where windows overlap", "A pixel that several windows read gets the sum: add (+=), don't "
            "assign (=).", _overwritten(False)),
    Mistake("dx overwritten where windows overlap", "A pixel that several windows read gets the sum: add (+=), don't "
            "assign (=).", _overwritten(True)),
)  # fmt: skip


def _cases(settings, square=False):
    """(stride, padding) each; all extents are different, unless `square`."""

    def cases(rng):
        found = []
        for s, p in settings:
            for n, c, o, kh, kw in ((1, 1, 1, 2, 2), (3, 2, 4, 3, 3)) if square else ((1, 1, 1, 1, 2), (2, 3, 4, 3, 2)):
                h, v = kh + s + 1, kw + 2 * s + 1
                oh, ow = (h + 2 * p - kh) // s + 1, (v + 2 * p - kw) // s + 1
                found.append((rng.normal(size=(n, o, oh, ow)), rng.normal(size=(n, c, h, v)),
                              rng.normal(size=(o, c, kh, kw)), s, p))  # fmt: skip
        return found

    return cases


def _split(dy, x, w, s, p):
    def forward(x, w, b):
        return reference.conv2d(x, w, b, stride=s, padding=p)

    return dy, [x, w, np.zeros(w.shape[0])], forward


def _small(rng):
    return [(rng.normal(size=(2, 3, 2, 2)), rng.normal(size=(2, 1, 4, 3)), rng.normal(size=(3, 1, 3, 2)), 2, 1)]


PLAIN, SQUARE = [(1, 0)], [(1, 0), (2, 1)]
EXERCISE = Exercise(
    3, "conv-backward", "The convolution, backward", "합성곱의 역전파", STARTER,
    (Function("conv2d_backward", ("dx", "dw", "db"), _right, MISTAKES),),
    (Check("db", "conv2d_backward", _cases(SQUARE), part=2),
     Check("dw", "conv2d_backward", _cases(PLAIN), part=1),
     Check("dw of square filters, with stride and padding", "conv2d_backward", _cases(SQUARE, square=True), part=1),
     Check("dx", "conv2d_backward", _cases(PLAIN), part=0),
     Check("dx with a stride", "conv2d_backward", _cases([(2, 0), (3, 0)]), part=0),
     Check("dx with padding", "conv2d_backward", _cases([(1, 1), (2, 2)]), part=0),
     Check("finite differences", "conv2d_backward", _small, rule=by_differences(_split, ("dx", "dw", "db")))),
)  # fmt: skip
