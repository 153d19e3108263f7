"""Exercise 4: the windows of an image as columns, and back."""

from __future__ import annotations

import numpy as np

from minicnn import ops, reference
from minicnn.course.exercise import Check, Exercise, Function, Mistake, gradients, overwritten

STARTER = '''"""Exercise 4: im2col, or a convolution as one matrix product.

Write each window of an image as a column. Then a convolution (합성곱) is a product of matrices: the filters, one in
each row, times the columns. col2im is the way back for gradients: each number of a column is added to its pixel.

    minicnn course check ex04_im2col.py
"""

import numpy as np

EXERCISE = 4


def im2col(x, kernel, stride, padding):
    """cols[n, (c·KH + p)·KW + q, i·OW + j] = x[n, c, i·stride + p − padding, j·stride + q − padding]

    x (N, C, H, W)   kernel (KH, KW)   → cols (N, C·KH·KW, OH·OW). Pixels outside the image are 0.
    The rows of cols are in the order channel, row of the window, column of the window; its columns are the windows,
    row by row. So (w.reshape(O, -1) @ cols).reshape(N, O, OH, OW) is the convolution with w (O, C, KH, KW).

    By hand: the image 1 2 3 with windows of 2 has the columns (1 2) and (2 3).

    >>> im2col(np.array([[[[1., 2., 3.]]]]), (1, 2), 1, 0)[0]
    array([[1., 2.],
           [2., 3.]])
    """
    raise NotImplementedError  # replace this line by your solution


def col2im(cols, shape, kernel, stride, padding):
    """x (N, C, H, W) = shape, where x[n, c, h, v] is the sum of all numbers of cols that im2col takes from that pixel.

    By hand: the columns (1 2) and (2 3) give the image 1, 2 + 2, 3: both windows read the pixel in the middle.

    >>> col2im(np.array([[[1., 2.], [2., 3.]]]), (1, 1, 1, 3), (1, 2), 1, 0)[0, 0]
    array([[1., 4., 3.]])
    """
    raise NotImplementedError  # replace this line by your solution
'''


def _selecting(c, kernel):
    """Filters of which each picks one number of a window."""
    taps = c * kernel[0] * kernel[1]
    return np.eye(taps).reshape(taps, c, *kernel)


def _im2col(x, kernel, stride, padding):
    y = reference.conv2d(x, _selecting(x.shape[1], kernel), stride=stride, padding=padding)
    return y.reshape(*y.shape[:2], -1)


def _col2im(cols, shape, kernel, stride, padding):
    oh, ow = ((size + 2 * padding - k) // stride + 1 for size, k in zip(shape[2:], kernel))
    w = _selecting(shape[1], kernel)
    return gradients(lambda x: ops.conv2d(x, w, stride=stride, padding=padding),
                     cols.reshape(*cols.shape[:2], oh, ow), np.zeros(shape))[0]  # fmt: skip


def _rows(order):
    """The rows in another order of the axes C, KH, KW."""

    def gives(right, x, kernel, stride, padding):
        n, c, windows = len(x), x.shape[1], right.shape[2]
        return right.reshape(n, c, *kernel, windows).transpose(0, *order, 4).reshape(n, -1, windows)

    return gives


def _windows_by_column(right, x, kernel, stride, padding):
    oh = (x.shape[2] + 2 * padding - kernel[0]) // stride + 1
    return right.reshape(*right.shape[:2], oh, -1).swapaxes(2, 3).reshape(right.shape)


def _overwritten(backwards):
    def gives(right, cols, shape, kernel, s, p):
        size = [(a + 2 * p - k) // s + 1 for a, k in zip(shape[2:], kernel)]

        def back(maps):
            return _col2im(maps.reshape(cols.shape), shape, kernel, s, p)

        return overwritten(back, back, cols.reshape(*cols.shape[:2], *size), backwards)

    return gives


def _with_padding(cols, shape, kernel, s, p):
    n, c, h, v = shape
    return _col2im(cols, (n, c, h + 2 * p, v + 2 * p), kernel, s, 0)


OVERLAP = "A pixel that several windows read gets the sum: add (+=), don't assign (=)."
IM2COL_MISTAKES = (
    Mistake("channels last in the rows", "The order of the rows is channel, row, column of the window: (C, KH, KW).",
            _rows((2, 3, 1))),
    Mistake("window's rows and columns exchanged", "Within a channel, go through the window row by row: (KH, KW).",
            _rows((1, 3, 2))),
    Mistake("windows column by column", "The windows are in the order row by row: i·OW + j.", _windows_by_column),
    Mistake("columns as rows", "A window is a column of cols, not a row.", lambda right, *a: right.swapaxes(1, 2)),
    Mistake("window flipped", "Tap (0, 0) is the window's first pixel.",
            lambda right, x, kernel, s, p: right.reshape(len(x), x.shape[1], -1, right.shape[2])[:, :, ::-1].reshape(
                right.shape)),
    Mistake("padding forgotten", "Windows start outside the image, where pixels are 0.",
            lambda right, x, kernel, s, p: _im2col(x, kernel, s, 0)),
    Mistake("stride forgotten", "Window i starts at row i·stride.",
            lambda right, x, kernel, s, p: _im2col(x, kernel, 1, p)),
)  # fmt: skip
COL2IM_MISTAKES = (
    Mistake("averaged where windows overlap", "col2im is the gradient of im2col: it adds, it takes no mean.",
            lambda right, cols, *a: right / np.maximum(_col2im(np.ones_like(cols), *a), 1)),
    Mistake("padding cut off at the corner", "Row 0 of the image is row `padding` of the padded one.",
            lambda right, cols, shape, *a: _with_padding(cols, shape, *a)[:, :, : shape[2], : shape[3]]),
    Mistake("padding not cut off", "The image has the shape that was asked for, without the padding.",
            lambda right, *a: _with_padding(*a)),
    Mistake("rows of cols in another order", "The order of the rows is channel, row, column of the window.",
            lambda right, cols, shape, kernel, *a: _col2im(
                cols.reshape(len(cols), *kernel, shape[1], -1).transpose(0, 3, 1, 2, 4).reshape(cols.shape),
                shape, kernel, *a)),
    Mistake("overwritten where windows overlap", OVERLAP, _overwritten(False)),
    Mistake("overwritten where windows overlap", OVERLAP, _overwritten(True)),
)  # fmt: skip


def _images(settings):
    def cases(rng):
        found = []
        for s, p in settings:
            found.append((np.arange(1.0, 13).reshape(1, 1, 3, 4), (2, 3), s, p))
            found.append((rng.normal(size=(2, 3, 5 + s, 6 + s)), (3, 2), s, p))
        return found

    return cases


def _columns(settings):
    def cases(rng):
        found = []
        for (x, kernel, s, p) in _images(settings)(rng):
            windows = np.prod([(a + 2 * p - k) // s + 1 for a, k in zip(x.shape[2:], kernel)])
            cols = rng.normal(size=(len(x), x.shape[1] * kernel[0] * kernel[1], int(windows)))
            found.append((cols, x.shape, kernel, s, p))
        return found

    return cases


EXERCISE = Exercise(
    4, "im2col", "im2col and col2im", "합성곱을 행렬곱으로", STARTER,
    (Function("im2col", ("cols",), _im2col, IM2COL_MISTAKES),
     Function("col2im", ("x",), _col2im, COL2IM_MISTAKES)),
    (Check("windows as columns", "im2col", _images([(1, 0)])),
     Check("stride", "im2col", _images([(2, 0), (4, 0)])),
     Check("padding", "im2col", _images([(1, 1), (2, 2)])),
     Check("columns back to pixels", "col2im", _columns([(1, 0)])),
     Check("back with a stride", "col2im", _columns([(2, 0), (4, 0)])),
     Check("back with padding", "col2im", _columns([(1, 1), (2, 2)]))),
)  # fmt: skip
