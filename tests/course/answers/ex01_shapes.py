import numpy as np

EXERCISE = 1


def output_size(size, kernel, stride, padding, dilation):
    span = dilation * (kernel - 1) + 1
    room = size + 2 * padding - span
    return max(0, room // stride + 1)


def same_padding(size, kernel, stride):
    windows = -(-size // stride)
    zeros = (windows - 1) * stride + kernel - size
    zeros = max(0, zeros)
    return zeros // 2, zeros - zeros // 2


def pad2d(x, top, bottom, left, right):
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), "constant")
