"""Batch norm's passes over the data, and local response normalisation."""

import numpy as np


def batch_norm_stats(x):
    axes = _all_but_channels(x)
    return x.mean(axes), x.var(axes)


def batch_norm_apply(x, mean, scale, shift):
    y = (x - _as_channels(mean, x)) * _as_channels(scale, x)
    return y if shift is None else y + _as_channels(shift, x)


def batch_norm_sums(dy, x, mean, inv_std):
    axes = _all_but_channels(x)
    xhat = (x - _as_channels(mean, x)) * _as_channels(inv_std, x)             # (N, C, …)
    return dy.sum(axes), (dy * xhat).sum(axes)


def batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat):
    m = x.size // x.shape[1]
    xhat = (x - _as_channels(mean, x)) * _as_channels(inv_std, x)             # (N, C, …)
    return _as_channels(scale, x) * (dy - _as_channels(sum_dy / m, x) - xhat * _as_channels(sum_dy_xhat / m, x))


def local_response_norm(x, size, alpha, beta, k):
    s = k + alpha * _sum_over_window(x * x, size // 2, (size - 1) // 2)
    return x * s**-beta, s


def local_response_norm_dx(dy, x, y, s, size, alpha, beta):
    # channel c is in the window of c' when c' is within ⌊(n−1)/2⌋ below or ⌊n/2⌋ above: the window, mirrored
    reached = _sum_over_window(dy * y / s, (size - 1) // 2, size // 2)
    return dy * s**-beta - (2 * alpha * beta) * x * reached


def _sum_over_window(values, below, above):
    """Σ values[:, c'] over c − below ≤ c' ≤ c + above, inside the channels there are. → the shape of `values`"""
    C = values.shape[1]
    total = np.zeros_like(values)
    for shift in range(-below, above + 1):
        low, high = max(0, -shift), min(C, C - shift)                         # the c for which c + shift exists
        if low < high:
            total[:, low:high] += values[:, low + shift : high + shift]
    return total


def _all_but_channels(x):
    return (0, *range(2, x.ndim))


def _as_channels(per_channel, x):
    return per_channel.reshape(1, -1, *[1] * (x.ndim - 2))        # (1, C, 1, …)
