"""The geometry of the convolution that computes a gradient."""

from dataclasses import replace

from minicnn.contract import Axis


def backward(dy, g):
    """(dy, geometry) of the convolution with `filters.transposed(w)` that gives dx; for windows at stride 1.

    Pixel h is read by output i through tap h − i·1 + before, so tap p of the turned filter reads dy at
    h + p·D − (extent − 1 − before). Where the padding was wider than a window, some outputs saw nothing but zeros:
    they are cut away.
    """
    axes = []
    for axis in (g.vertical, g.horizontal):
        before, after = (axis.extent - 1 - pad for pad in (axis.before, axis.after))
        axes.append((axis, before, after))
    (v, top, bottom), (h, left, right) = axes
    dy = dy[:, :, max(-top, 0) : v.out - max(-bottom, 0), max(-left, 0) : h.out - max(-right, 0)]
    vertical, horizontal = (
        Axis(size, axis.kernel, 1, max(before, 0), max(after, 0), axis.dilation)
        for size, (axis, before, after) in zip(dy.shape[2:], axes)
    )
    return dy, replace(g, C=g.O, O=g.C, vertical=vertical, horizontal=horizontal)
