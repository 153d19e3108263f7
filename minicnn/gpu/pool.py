"""Pooling: a thread computes one output; backward, one pixel, from the windows that contain it (kernels/pool.cu)."""

import numpy as np

from minicnn.gpu.maps import over_maps


def max_pool2d(gpu, x, g):
    x = gpu.xp.ascontiguousarray(x)
    y = gpu.xp.empty((g.N, g.C, g.OH, g.OW), x.dtype)
    winner = gpu.xp.empty(y.shape, np.uint8 if g.KH * g.KW <= 256 else np.int32)
    kernel = gpu.kernel("pool.cu", "max_pool", x.dtype, winner.dtype)
    over_maps(kernel, g.N * g.C, g.OH * g.OW, x, y, winner, g.N * g.C, *_window(g))
    return y, winner


def max_pool2d_dx(gpu, dy, winner, g):
    dy, winner = gpu.xp.ascontiguousarray(dy), gpu.xp.ascontiguousarray(winner)
    kernel = gpu.kernel("pool.cu", "max_pool_dx", dy.dtype, winner.dtype)
    return _to_pixels(gpu, kernel, g, (dy, winner))


def avg_pool2d(gpu, x, g, count_include_pad):
    return _to_windows(gpu, "avg_pool", x, g, *_counted(g, count_include_pad))


def avg_pool2d_dx(gpu, dy, g, count_include_pad):
    kernel = gpu.kernel("pool.cu", "avg_pool_dx", dy.dtype)
    return _to_pixels(gpu, kernel, g, (gpu.xp.ascontiguousarray(dy),), *_counted(g, count_include_pad))


def lp_pool2d(gpu, x, p, g):
    return _to_windows(gpu, "lp_pool", x, g, p)


def lp_pool2d_dx(gpu, dy, x, y, p, g):
    kernel = gpu.kernel("pool.cu", "lp_pool_dx", x.dtype)
    return _to_pixels(gpu, kernel, g, tuple(map(gpu.xp.ascontiguousarray, (dy, x, y))), p)


def _to_windows(gpu, name, x, g, *how):
    """Launch a kernel that has a thread for each output."""
    x = gpu.xp.ascontiguousarray(x)
    y = gpu.xp.empty((g.N, g.C, g.OH, g.OW), x.dtype)
    kernel = gpu.kernel("pool.cu", name, x.dtype)
    over_maps(kernel, g.N * g.C, g.OH * g.OW, x, y, g.N * g.C, *_window(g), *how)
    return y


def _to_pixels(gpu, kernel, g, arrays, *how):
    """Launch a kernel that has a thread for each pixel of dx."""
    dx = gpu.xp.empty((g.N, g.C, g.H, g.W), arrays[0].dtype)
    over_maps(kernel, g.N * g.C, g.H * g.W, *arrays, dx, g.N * g.C, *_window(g), *how)
    return dx


def _window(g):
    """H W OH OW KH KW SH SW PH PW DH DW"""
    v, h = g.vertical, g.horizontal
    return (g.H, g.W, g.OH, g.OW, g.KH, g.KW, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation)


def _counted(g, include_pad):
    """top bottom left right: the rows and columns that a mean counts"""
    axes = (g.vertical, g.horizontal)
    return [edge for a in axes for edge in ((-a.before, a.size + a.after) if include_pad else (0, a.size))]
