"""A gallery of wrong gradients: every classic mistake, planted on purpose.

Each bug replaces one gradient function of a real op by one that differs in a single point. Most are caught by
gradcheck; wrong shapes by the engine itself; wrong tie-breaking, which finite differences can't see, by an exact rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from minicnn import GradientError, cpu, ops
from minicnn.cpu.lrn import channel_band
from minicnn.cpu.padding import crop
from minicnn.geometry import Conv2dGeometry, Pool2dGeometry
from minicnn.ops import add, divide, getitem, matmul, mean, multiply, power, reshape, subtract, transpose
from minicnn.ops import sum as total
from minicnn.ops_table import spaced
from minicnn.tensor import op

GALLERY = []


@dataclass(frozen=True)
class Bug:
    name: str
    op: Callable  # the right op
    argument: str  # whose gradient is wrong, by the name that GradientError is to give
    arrays: tuple
    wrong: Callable  # (dy, *arrays) → the wrong gradient
    hyper: dict = field(default_factory=dict)
    caught_by: type[AssertionError] = GradientError  # or AssertionError: the engine's own check of shapes

    @property
    def position(self):
        return int(self.argument[3]) if self.argument.startswith("xs[") else self.op.arguments.index(self.argument)


def bug(op, argument, *arrays, caught_by=GradientError, **hyper):
    """Plant the decorated function as the gradient of `argument`. Its docstring-like name says what is wrong."""

    def plant(wrong):
        GALLERY.append(Bug(wrong.__name__, op, argument, arrays, wrong, hyper, caught_by))
        return wrong

    return plant


def planted(bug: Bug) -> Callable:
    """The op with the one gradient replaced."""

    @op
    def broken(*arrays, **hyper):
        y, vjps, *_ = bug.op.__wrapped__(*arrays, **hyper)
        vjps = list(vjps) if isinstance(vjps, tuple) else [vjps]
        vjps[bug.position] = lambda dy: bug.wrong(dy, *arrays)
        return y, tuple(vjps)

    broken.__name__ = bug.name
    broken.arguments, broken.constants, broken.optional = bug.op.arguments, bug.op.constants, bug.op.optional
    return broken


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def apart(*shape, **where):
    """No ties, nothing near a kink."""
    return spaced(*shape, **where)(np.random.default_rng(len(shape)))


# -------------------------------------------------------------------------------------------------------- convolution
# Square where a transposition must not show in the shape; otherwise all extents differ.

X, W, B = normal(3, 4, 6, 5), normal(3, 4, 3, 3), normal(3)
_plain = Conv2dGeometry.of(X.shape, W.shape)
_strided = {"stride": 2, "padding": 1}
_dilated = {"dilation": 2, "padding": 2}


def _scatter(dy, w, g, tap, accumulate=True):
    """dx with `tap(axis, p)` deciding where the taps lie."""
    dcols = np.einsum("ockl,noij->ncklij", w, dy)
    padded = np.zeros((g.N, g.C, g.vertical.padded, g.horizontal.padded))
    for p in range(g.KH):
        for q in range(g.KW):
            here = (..., tap(g.vertical, p), tap(g.horizontal, q))
            padded[here] = dcols[:, :, p, q] + (padded[here] if accumulate else 0)
    return crop(padded, g)


def _start(start, stride, axis):
    return slice(start, start + stride * (axis.out - 1) + 1, stride)


@bug(ops.conv2d, "w", X, W, B)
def conv_dw_transposed(dy, x, w, b):
    return cpu.conv2d_dw(dy, x, _plain).swapaxes(2, 3)


@bug(ops.conv2d, "w", X, W, B)
def conv_dw_flipped(dy, x, w, b):
    return cpu.conv2d_dw(dy, x, _plain)[:, :, ::-1, ::-1]


@bug(ops.conv2d, "w", X, W, B)
def conv_dw_of_the_last_image_only(dy, x, w, b):
    return cpu.conv2d_dw(dy[-1:], x[-1:], Conv2dGeometry.of(x[-1:].shape, w.shape))


@bug(ops.conv2d, "x", X, W, B)
def conv_dx_with_a_flipped_kernel(dy, x, w, b):
    return cpu.conv2d_dx(dy, w[:, :, ::-1, ::-1], _plain)


@bug(ops.conv2d, "x", X, W, B)
def conv_dx_col2im_without_accumulation(dy, x, w, b):
    return _scatter(dy, w, _plain, lambda axis, p: axis.tap(p), accumulate=False)


@bug(ops.conv2d, "x", X, W, None, **_dilated)
def conv_dx_ignores_dilation(dy, x, w, b):
    return _scatter(
        dy, w, Conv2dGeometry.of(x.shape, w.shape, **_dilated), lambda axis, p: _start(p, axis.stride, axis)
    )


@bug(ops.conv2d, "x", X, W, None, **_strided)
def conv_dx_ignores_stride(dy, x, w, b):
    return _scatter(dy, w, Conv2dGeometry.of(x.shape, w.shape, **_strided), lambda axis, p: _start(p, 1, axis))


@bug(ops.conv2d, "x", X, W, None, padding=1)
def conv_dx_ignores_padding(dy, x, w, b):
    g = Conv2dGeometry.of(x.shape, w.shape, padding=1)
    v, h = g.vertical, g.horizontal
    whole = cpu.conv2d_dx(dy, w, Conv2dGeometry.of((g.N, g.C, v.padded, h.padded), w.shape))
    return whole[:, :, : g.H, : g.W]  # cut off at the corner instead of in the middle


@bug(ops.conv2d, "x", X, normal(4, 2, 3, 2), None, groups=2)
def conv_dx_groups_swapped(dy, x, w, b):
    dx = cpu.conv2d_dx(dy, w, Conv2dGeometry.of(x.shape, w.shape, groups=2))
    return dx.reshape(3, 2, 2, 6, 5)[:, ::-1].reshape(x.shape)


@bug(ops.conv2d, "w", X, normal(4, 2, 3, 2), None, groups=2)
def conv_dw_groups_swapped(dy, x, w, b):
    return cpu.conv2d_dw(dy, np.roll(x, 2, axis=1), Conv2dGeometry.of(x.shape, w.shape, groups=2))


@bug(ops.conv2d, "w", X, W, B, flip=True)
def conv_dw_not_turned_back(dy, x, w, b):
    return cpu.conv2d_dw(dy, x, _plain)


@bug(ops.conv2d, "x", X, W, None, stride=2, padding="same")
def conv_dx_of_same_padding_in_front(dy, x, w, b):
    return cpu.conv2d_dx(dy, w, Conv2dGeometry.of(x.shape, w.shape, 2, "same_lower"))


@bug(ops.conv1d, "x", normal(2, 4, 9), normal(3, 4, 4), None, padding=(2, 1))
def conv1d_dx_sides_swapped(dy, x, w, b):
    g = Conv2dGeometry.of((2, 4, 1, 9), (3, 4, 1, 4), padding=(0, (1, 2)))
    return cpu.conv2d_dx(dy[:, :, None], w[:, :, None], g)[:, :, 0]


UP = normal(4, 3, 3, 3)                                            # X's 4 channels to 3


@bug(ops.conv_transpose2d, "x", X, UP, B, stride=2)
def conv_transpose_dx_with_turned_filters(dy, x, w, b):
    return cpu.conv2d(dy, w[:, :, ::-1, ::-1].copy(), None, Conv2dGeometry.of(dy.shape, w.shape, 2))


@bug(ops.conv_transpose2d, "w", X, UP, B, stride=2, padding=((1, 0), (0, 1)))
def conv_transpose_dw_sides_swapped(dy, x, w, b):
    return cpu.conv2d_dw(x, dy, Conv2dGeometry.of(dy.shape, w.shape, 2, ((0, 1), (1, 0))))


@bug(ops.conv_transpose2d, "x", X, UP, None, stride=2, output_padding=1)
def conv_transpose_dx_output_padding_in_front(dy, x, w, b):
    return cpu.conv2d(dy[:, :, 1:, 1:].copy(), w, None, Conv2dGeometry.of(dy[:, :, 1:, 1:].shape, w.shape, 2))


@bug(ops.conv2d, "b", X, W, B)
def conv_db_over_the_wrong_axes(dy, x, w, b):
    return dy.sum((1, 2, 3))  # 3 images, 3 filters: the shape gives nothing away


@bug(ops.conv2d, "b", X, W, B)
def conv_db_mean_instead_of_sum(dy, x, w, b):
    return dy.mean((0, 2, 3))


@bug(ops.conv2d, "b", normal(2, 4, 6, 5), W, B, caught_by=AssertionError)
def conv_db_of_the_wrong_shape(dy, x, w, b):
    return dy.sum((1, 2, 3))  # 2 images, 3 filters: the engine sees it


@bug(ops.conv2d, "b", X, W, B)
def conv_db_forgotten(dy, x, w, b):
    return np.zeros_like(b)


@bug(ops.linear, "w", normal(5, 3), normal(3, 3), normal(3))
def linear_dw_transposed(dy, x, w, b):
    return x.T @ dy


@bug(ops.linear, "x", normal(5, 3), normal(3, 3), normal(3))
def linear_dx_with_w_transposed(dy, x, w, b):
    return dy @ w.T


@bug(matmul, "b", normal(4, 3), normal(3, 5), caught_by=AssertionError)
def matmul_db_not_transposed(dy, a, b):
    return dy.T @ a


# ------------------------------------------------------------------------------------------------------------- pooling

MAP = apart(2, 3, 7, 6)
_pooled = Pool2dGeometry.of(MAP.shape, 3, 2)
_hanging = Pool2dGeometry.of(MAP.shape, 3, 2, ceil_mode=True)


@bug(ops.max_pool2d, "x", MAP, kernel_size=3, stride=1)
def max_pool_overlap_overwritten(dy, x):
    g = Pool2dGeometry.of(x.shape, 3, 1)
    _, winner = cpu.max_pool2d(x, g)
    dx = np.zeros_like(x)
    for p, q, here in g.taps():
        dx[here] = np.where(winner == 3 * p + q, dy, dx[here])
    return dx


@bug(ops.max_pool2d, "x", MAP, kernel_size=3, stride=2)
def max_pool_to_the_whole_window(dy, x):
    return cpu.avg_pool2d_dx(dy, _pooled, True)


@bug(ops.max_pool2d, "x", MAP, kernel_size=3, stride=2, ceil_mode=True)
def max_pool_ceil_mode_drops_the_last_windows(dy, x):
    _, winner = cpu.max_pool2d(x, _pooled)
    return cpu.max_pool2d_dx(dy[:, :, : _pooled.OH, : _pooled.OW], winner, _pooled)


@bug(ops.avg_pool2d, "x", MAP, kernel_size=3, stride=2, padding=1, count_include_pad=False)
def avg_pool_counts_the_padding(dy, x):
    return cpu.avg_pool2d_dx(dy, Pool2dGeometry.of(x.shape, 3, 2, 1), True)


@bug(ops.avg_pool2d, "x", MAP, kernel_size=3, stride=2, ceil_mode=True)
def avg_pool_always_divides_by_the_whole_kernel(dy, x):
    counts = np.outer(_hanging.vertical.counts(True), _hanging.horizontal.counts(True))
    return cpu.avg_pool2d_dx(dy * counts / 9, _hanging, True)


@bug(ops.avg_pool2d, "x", MAP, kernel_size=3, stride=2, ceil_mode=True)
def avg_pool_ceil_mode_drops_the_last_windows(dy, x):
    return cpu.avg_pool2d_dx(dy[:, :, : _pooled.OH, : _pooled.OW], _pooled, True)


@bug(ops.avg_pool2d, "x", MAP, kernel_size=2, stride=1, dilation=2, padding=1, count_include_pad=False)
def avg_pool_counts_as_without_dilation(dy, x):
    g = Pool2dGeometry.of(x.shape, 2, 1, 1, 2)
    plain = Pool2dGeometry.of(x.shape, 3, 1, 1)                    # windows of the same extent, without gaps
    counts = [np.outer(h.vertical.counts(False), h.horizontal.counts(False)) for h in (g, plain)]
    return cpu.avg_pool2d_dx(dy * counts[0] / counts[1], g, False)


@bug(ops.avg_pool2d, "x", MAP, kernel_size=3, stride=2, padding="same")
def avg_pool_pads_in_front(dy, x):
    return cpu.avg_pool2d_dx(dy, Pool2dGeometry.of(x.shape, 3, 2, "same_lower"), True)


@bug(ops.lp_pool2d, "x", MAP, kernel_size=3, stride=2, norm_type=3)
def lp_pool_without_the_sign(dy, x):
    return cpu.lp_pool2d_dx(dy, abs(x), cpu.lp_pool2d(x, 3, _pooled), 3, _pooled)


@bug(ops.lp_pool2d, "x", MAP, kernel_size=3, stride=2, norm_type=3)
def lp_pool_exponent_of_p_2(dy, x):
    return cpu.lp_pool2d_dx(dy, x, cpu.lp_pool2d(x, 3, _pooled), 2, _pooled)


@bug(ops.trainable_avg_pool2d, "a", MAP, normal(3), normal(3), kernel_size=2)
def trainable_pool_da_of_the_mean(dy, x, a, b):
    return (dy * cpu.avg_pool2d(x, Pool2dGeometry.of(x.shape, 2), True)).sum((0, 2, 3))


@bug(ops.adaptive_avg_pool2d, "x", MAP, output_size=(4, 4))
def adaptive_avg_pool_overlap_forgotten(dy, x):
    dx = np.zeros_like(x)
    for i in range(4):
        for j in range(4):
            rows, columns = slice(i * 7 // 4, -(-(i + 1) * 7 // 4)), slice(j * 6 // 4, -(-(j + 1) * 6 // 4))
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] = dy[:, :, i, j, None, None] / area
    return dx


@bug(ops.global_avg_pool2d, "x", MAP)
def global_avg_pool_not_divided(dy, x):
    return np.broadcast_to(dy[:, :, None, None], x.shape)


@bug(ops.resize, "x", MAP, scale=2)
def resize_of_nearest_averages_instead_of_adding(dy, x):
    return dy.reshape(*x.shape[:3], 2, x.shape[3], 2).mean((3, 5)) if dy.shape[2] == 2 * x.shape[2] else dy


@bug(ops.resize, "x", MAP, scale=2, mode="linear")
def resize_linear_as_if_nearest(dy, x):
    N, C, H, W = x.shape
    return dy.reshape(N, C, H, 2, W, 2).sum((3, 5))


@bug(ops.resize, "x", MAP, size=(4, 3), coordinates="asymmetric", rounding="floor")
def resize_to_less_spreads_over_the_block(dy, x):
    dx = np.zeros_like(x)
    for h, v in np.ndindex(x.shape[2:]):
        dx[:, :, h, v] = dy[:, :, h * 4 // x.shape[2], v * 3 // x.shape[3]]
    return dx


# ------------------------------------------------------------------------------------------------------- normalisation

MAPS = normal(2, 7, 3)
_damping = {"size": 5, "alpha": 1.1, "beta": 0.75, "k": 2.0}


def _lrn(dy, x, alpha, *, size=5, beta=0.75, k=2.0):
    y, s = cpu.local_response_norm(x, size, alpha, beta, k)
    return y, s, cpu.local_response_norm_dx(dy, x, y, s, size, alpha, beta)


@bug(ops.local_response_norm, "x", MAPS, **_damping)
def lrn_alpha_not_divided_by_n_in_backward(dy, x):
    y, s = cpu.local_response_norm(x, 5, 1.1 / 5, 0.75, 2.0)
    return cpu.local_response_norm_dx(dy, x, y, s, 5, 1.1, 0.75)


@bug(ops.local_response_norm, "x", MAPS, variant="paper", **_damping)
def lrn_alpha_divided_by_n_in_backward(dy, x):
    y, s = cpu.local_response_norm(x, 5, 1.1, 0.75, 2.0)
    return cpu.local_response_norm_dx(dy, x, y, s, 5, 1.1 / 5, 0.75)


def _over_window(values, size):
    """Σ values[c'] over the window of c, not mirrored."""
    return np.einsum("nc...,cd->nd...", values, channel_band(values.shape[1], size).astype(values.dtype))


@bug(ops.local_response_norm, "x", MAPS, **_damping)
def lrn_without_the_cross_term(dy, x):
    _, s = cpu.local_response_norm(x, 5, 1.1 / 5, 0.75, 2.0)
    return dy * s**-0.75


@bug(ops.local_response_norm, "x", MAPS, **_damping)
def lrn_cross_term_of_its_own_channel_only(dy, x):
    y, s = cpu.local_response_norm(x, 5, 1.1 / 5, 0.75, 2.0)
    return dy * s**-0.75 - 2 * 1.1 / 5 * 0.75 * x * dy * y / s


@bug(ops.local_response_norm, "x", MAPS, **_damping)
def lrn_without_the_factor_2(dy, x):
    y, s = cpu.local_response_norm(x, 5, 1.1 / 5, 0.75, 2.0)
    return dy * s**-0.75 - 1.1 / 5 * 0.75 * x * _over_window(dy * y / s, 5)


@bug(ops.local_response_norm, "x", MAPS, **{**_damping, "size": 4})
def lrn_even_window_not_mirrored(dy, x):
    y, s = cpu.local_response_norm(x, 4, 1.1 / 4, 0.75, 2.0)
    return dy * s**-0.75 - 2 * 1.1 / 4 * 0.75 * x * _over_window(dy * y / s, 4)


FEATURES, GAMMA, BETA = normal(3, 4, 5), normal(4), normal(4, seed=1)


def _bn(x, gamma, unbiased=0):
    """(1/σ, γ/σ, x̂) of each channel, broadcast along x."""
    inv_std = 1 / np.sqrt(x.var((0, 2), ddof=unbiased, keepdims=True) + 1e-5)
    return inv_std, gamma[:, None] * inv_std, (x - x.mean((0, 2), keepdims=True)) * inv_std


def _mean(a):
    return a.mean((0, 2), keepdims=True)


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_without_the_mean_term(dy, x, gamma, beta):
    _, scale, xhat = _bn(x, gamma)
    return scale * (dy - xhat * _mean(dy * xhat))


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_without_the_xhat_term(dy, x, gamma, beta):
    _, scale, _ = _bn(x, gamma)
    return scale * (dy - _mean(dy))


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_as_if_the_statistics_were_given(dy, x, gamma, beta):
    return _bn(x, gamma)[1] * dy


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_dx_without_gamma(dy, x, gamma, beta):
    inv_std, _, xhat = _bn(x, gamma)
    return inv_std * (dy - _mean(dy) - xhat * _mean(dy * xhat))


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_unbiased_variance_in_backward(dy, x, gamma, beta):
    _, scale, xhat = _bn(x, gamma, unbiased=1)
    return scale * (dy - _mean(dy) - xhat * _mean(dy * xhat))


@bug(ops.batch_norm, "gamma", FEATURES, GAMMA, BETA)
def batch_norm_dgamma_without_xhat(dy, x, gamma, beta):
    return (dy * x).sum((0, 2))


@bug(ops.batch_norm, "beta", FEATURES, GAMMA, BETA)
def batch_norm_dbeta_averaged(dy, x, gamma, beta):
    return dy.mean((0, 2))


@bug(ops.batch_norm, "x", FEATURES, GAMMA, BETA)
def batch_norm_zero_backward(dy, x, gamma, beta):
    return np.zeros_like(x)


@bug(ops.batch_norm_inference, "var", FEATURES, GAMMA, BETA, normal(4, seed=2), abs(normal(4, seed=3)) + 0.5)
def batch_norm_inference_dvar_without_the_half(dy, x, gamma, beta, mean, var):
    inv_var = 1 / (var + 1e-5)
    return -gamma * inv_var * (dy * (x - mean[:, None]) * np.sqrt(inv_var)[:, None]).sum((0, 2))


LEFT, RIGHT = normal(2, 6, 3, 2), normal(6)


def _standard(x, axes):
    """(x̂, √(σ² + ε)) of the parts over these axes."""
    centred = x - x.mean(axes, keepdims=True)
    std = np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)
    return centred / std, std


@bug(ops.layer_norm, "x", normal(3, 4, 5), normal(5), normal(5), normalized_shape=5)
def layer_norm_means_of_dy_instead_of_g(dy, x, gamma, beta):
    xhat, std = _standard(x, -1)
    rest = dy.mean(-1, keepdims=True) + xhat * (dy * xhat).mean(-1, keepdims=True)
    return gamma * (dy - rest) / std


@bug(ops.layer_norm, "gamma", normal(3, 4, 4), normal(4), normal(4), normalized_shape=4)
def layer_norm_dgamma_over_the_wrong_axes(dy, x, gamma, beta):
    return (dy * _standard(x, -1)[0]).sum((0, 2))


@bug(ops.group_norm, "x", LEFT, RIGHT, RIGHT, num_groups=3)
def group_norm_dx_of_single_channels(dy, x, gamma, beta):
    g, (xhat, std) = dy * gamma[:, None, None], _standard(x, (2, 3))
    return (g - g.mean((2, 3), keepdims=True) - xhat * (g * xhat).mean((2, 3), keepdims=True)) / std


@bug(ops.group_norm, "beta", LEFT, RIGHT, RIGHT, num_groups=3)
def group_norm_dbeta_averaged_over_images(dy, x, gamma, beta):
    return dy.sum((2, 3)).mean(0)


@bug(ops.instance_norm, "x", LEFT, None, None)
def instance_norm_as_if_the_statistics_were_given(dy, x, *_):
    return dy / _standard(x, (2, 3))[1]


@bug(ops.instance_norm, "gamma", LEFT, RIGHT, RIGHT)
def instance_norm_dgamma_without_normalising(dy, x, gamma, beta):
    return (dy * x).sum((0, 2, 3))


# ------------------------------------------------------------------------------------------------------ softmax, losses

LOGITS, LABELS = normal(5, 4), np.array([0, 3, 1, 1, 2])


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@bug(ops.softmax, "x", LOGITS)
def softmax_zero_backward(dy, x):
    return np.zeros_like(x)


@bug(ops.softmax, "x", LOGITS)
def softmax_without_the_sum(dy, x):
    return _softmax(x) * dy


@bug(ops.softmax, "x", LOGITS)
def softmax_as_if_it_were_a_sigmoid(dy, x):
    return dy * _softmax(x) * (1 - _softmax(x))


@bug(ops.softmax, "x", LOGITS, axis=0)
def softmax_along_the_wrong_axis(dy, x):
    p = _softmax(x.T).T
    return p * (dy - (dy * p).sum(-1, keepdims=True))


@bug(ops.log_softmax, "x", LOGITS)
def log_softmax_without_the_sum(dy, x):
    return dy - _softmax(x) * dy


@bug(ops.logsumexp, "x", LOGITS, axis=1)
def logsumexp_to_the_largest_alone(dy, x):
    return dy[:, None] * np.eye(4)[x.argmax(1)]


def _wanted(labels, smoothing=0.0):
    return (1 - smoothing) * np.eye(4)[labels] + smoothing / 4


@bug(ops.cross_entropy, "logits", LOGITS, LABELS)
def cross_entropy_without_1_over_n(dy, logits, labels):
    return dy * (_softmax(logits) - _wanted(labels))


@bug(ops.cross_entropy, "logits", LOGITS, LABELS)
def cross_entropy_ignores_dy(dy, logits, labels):
    return (_softmax(logits) - _wanted(labels)) / len(labels)


@bug(ops.cross_entropy, "logits", LOGITS, LABELS, label_smoothing=0.1)
def cross_entropy_label_smoothing_ignored_in_backward(dy, logits, labels):
    return dy * (_softmax(logits) - _wanted(labels)) / len(labels)


@bug(ops.cross_entropy, "logits", LOGITS, LABELS, label_smoothing=0.1)
def cross_entropy_smoothing_spares_the_label(dy, logits, labels):
    return dy * (_softmax(logits) - np.where(np.eye(4)[labels] == 1, 0.9, 0.1 / 3)) / len(labels)


@bug(ops.cross_entropy, "logits", LOGITS, LABELS)
def cross_entropy_softmax_without_the_label(dy, logits, labels):
    return dy * _softmax(logits) / len(labels)


SHARES = _softmax(normal(*LOGITS.shape, seed=5))


@bug(ops.cross_entropy, "logits", LOGITS, SHARES)
def cross_entropy_of_the_likeliest_class_alone(dy, logits, t):
    return dy * (_softmax(logits) - np.eye(4)[t.argmax(1)]) / len(t)


@bug(ops.cross_entropy, "logits", LOGITS, LABELS, ignore_index=int(LABELS[0]))
def cross_entropy_ignored_labels_still_divide(dy, logits, labels):
    return dy * (_softmax(logits) - _wanted(labels)) * (labels != labels[0])[:, None] / len(labels)


@bug(ops.cross_entropy, "logits", LOGITS, LABELS, ignore_index=int(LABELS[0]))
def cross_entropy_ignored_labels_have_a_gradient(dy, logits, labels):
    return dy * (_softmax(logits) - _wanted(labels)) / (labels != labels[0]).sum()


@bug(ops.mse_loss, "x", normal(3, 4), normal(3, 4, seed=1))
def mse_without_the_2(dy, x, t):
    return dy * (x - t) / x.size


@bug(ops.mse_loss, "target", normal(3, 4), normal(3, 4, seed=1))
def mse_target_with_the_sign_of_x(dy, x, t):
    return dy * 2 * (x - t) / x.size


@bug(ops.binary_cross_entropy_with_logits, "x", normal(3, 4), abs(np.tanh(normal(3, 4, seed=1))))
def bce_times_the_sigmoid_slope(dy, x, t):
    p = 1 / (1 + np.exp(-x))
    return dy * (p - t) * p * (1 - p) / x.size


# ---------------------------------------------------------------------------------------------------------- arithmetic


@bug(add, "b", normal(3, 4), normal(4), caught_by=AssertionError)
def add_unbroadcast_missing(dy, a, b):
    return dy


@bug(add, "b", normal(3, 4), normal(4))
def add_unbroadcast_mean_instead_of_sum(dy, a, b):
    return dy.mean(0)


@bug(add, "b", normal(3, 3), normal(3))
def add_unbroadcast_over_the_wrong_axis(dy, a, b):
    return dy.sum(1)


@bug(subtract, "b", normal(3, 4), normal(3, 4, seed=1))
def subtract_db_sign(dy, a, b):
    return dy


@bug(multiply, "a", normal(3, 4), normal(3, 4, seed=1))
def multiply_da_times_a(dy, a, b):
    return dy * a


@bug(divide, "b", normal(3, 4), abs(normal(3, 4, seed=1)) + 0.5)
def divide_db_sign(dy, a, b):
    return dy * a / b**2


@bug(divide, "b", normal(3, 4), abs(normal(3, 4, seed=1)) + 0.5)
def divide_db_b_not_squared(dy, a, b):
    return -dy * a / b


BASE, EXPONENT = abs(normal(3, 4)) + 0.5, normal(3, 4, seed=1)


@bug(power, "x", BASE, EXPONENT)
def power_exponent_off_by_one(dy, x, e):
    return dy * e * x**e


@bug(power, "x", BASE, EXPONENT)
def power_factor_dropped(dy, x, e):
    return dy * x ** (e - 1)


@bug(power, "exponent", BASE, EXPONENT)
def power_de_without_the_logarithm(dy, x, e):
    return dy * x**e


@bug(ops.log, "x", abs(normal(3, 4)) + 0.5)
def log_by_y_instead_of_x(dy, x):
    return dy / np.log(x)


@bug(ops.sqrt, "x", abs(normal(3, 4)) + 0.5)
def sqrt_without_the_half(dy, x):
    return dy / np.sqrt(x)


@bug(ops.exp, "x", normal(3, 4))
def exp_passes_dy(dy, x):
    return dy


@bug(ops.maximum, "b", apart(3, 4), apart(3, 4, low=-3, high=2.5))
def maximum_db_of_a(dy, a, b):
    return dy * (a > b)


@bug(ops.minimum, "a", apart(3, 4), apart(3, 1, low=-1, high=1.3))
def minimum_of_the_larger(dy, a, b):
    return dy * (a > b)


@bug(ops.where, "b", normal(3, 4) > 0, normal(3, 4), normal(3, 4))
def where_db_of_the_mask(dy, mask, a, b):
    return dy * mask


@bug(ops.where, "a", normal(3, 4) > 0, normal(3, 1), normal(3, 4), caught_by=AssertionError)
def where_da_not_summed_over_a_broadcast_axis(dy, mask, a, b):
    return dy * mask


@bug(ops.prod, "x", normal(3, 4), axis=1)
def prod_of_all_including_itself(dy, x):
    return np.broadcast_to((dy * x.prod(1))[:, None], x.shape)


@bug(ops.prod, "x", normal(3, 4) * np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 1]]), axis=1)
def prod_has_no_gradient_where_a_factor_is_0(dy, x):
    return (dy * x.prod(1))[:, None] / np.where(x == 0, 1, x)


@bug(ops.erf, "x", normal(3, 4))
def erf_slope_without_the_factor(dy, x):
    return dy * np.exp(-x * x)


@bug(ops.broadcast_to, "x", normal(3, 1), shape=(2, 3, 4))
def broadcast_to_averages(dy, x):
    return dy.mean((0, 2))[:, None]


@bug(total, "x", normal(3, 3), axis=1)
def sum_spread_over_the_wrong_axis(dy, x):
    return np.broadcast_to(dy, x.shape)


@bug(mean, "x", normal(3, 4), axis=1)
def mean_divided_by_the_whole_size(dy, x):
    return np.broadcast_to(dy[:, None] / x.size, x.shape)


@bug(ops.max, "x", apart(3, 4), axis=1)
def max_to_everything(dy, x):
    return np.broadcast_to(dy[:, None], x.shape)


# --------------------------------------------------------------------------------------------------------- activations

CURVE = apart(4, 5, low=-5, high=8, kinks=(-3, 0, 3, 6))


@bug(ops.tanh, "x", normal(3, 4))
def tanh_slope_1_minus_y(dy, x):
    return dy * (1 - np.tanh(x))


@bug(ops.sigmoid, "x", normal(3, 4))
def sigmoid_slope_y(dy, x):
    return dy / (1 + np.exp(-x))


@bug(ops.silu, "x", normal(3, 4))
def silu_dropped_term(dy, x):
    return dy / (1 + np.exp(-x))


@bug(ops.hardswish, "x", CURVE)
def hardswish_slope_of_hardsigmoid(dy, x):
    return dy * np.clip((x + 3) / 6, 0, 1)


@bug(ops.hardsigmoid, "x", CURVE)
def hardsigmoid_not_divided_by_6(dy, x):
    return dy * (abs(x) < 3)


@bug(ops.leaky_relu, "x", CURVE, negative_slope=0.2)
def leaky_relu_slope_1_below(dy, x):
    return dy


@bug(ops.leaky_relu, "x", CURVE, negative_slope=0.2)
def leaky_relu_slope_0_below(dy, x):
    return dy * (x > 0)


@bug(ops.relu, "x", CURVE)
def relu_passes_everything(dy, x):
    return dy


@bug(ops.relu, "x", CURVE)
def relu_gates_on_dy(dy, x):
    return np.maximum(dy, 0)  # the "guided" or deconvnet rule, which is no gradient


@bug(ops.relu6, "x", CURVE)
def relu6_without_its_upper_end(dy, x):
    return dy * (x > 0)


@bug(ops.add_relu, "b", CURVE, CURVE[::-1].copy() + 0.01)
def add_relu_gates_on_its_own_argument(dy, a, b):
    return dy * (b > 0)


@bug(ops.conv2d_relu, "b", X, W, B)
def conv2d_relu_bias_before_the_relus_gradient(dy, x, w, b):
    return dy.sum((0, 2, 3))


@bug(ops.batch_norm_relu, "gamma", FEATURES, GAMMA, BETA)
def batch_norm_relu_gamma_ungated(dy, x, gamma, beta):
    xhat = (x - x.mean((0, 2), keepdims=True)) / np.sqrt(x.var((0, 2), keepdims=True) + 1e-5)
    return (dy * xhat).sum((0, 2))


@bug(ops.batch_norm_add_relu, "z", FEATURES, GAMMA, BETA, FEATURES[::-1].copy())
def batch_norm_add_relu_shortcut_ungated(dy, x, gamma, beta, z):
    return dy


@bug(ops.elu, "x", CURVE, alpha=0.3)
def elu_slope_y_plus_1(dy, x):
    return dy * np.where(x > 0, 1, 0.3 * (np.exp(x) - 1) + 1)


@bug(ops.selu, "x", CURVE)
def selu_slope_1_above(dy, x):
    return dy * np.where(x > 0, 1, 1.0507009873554805 * 1.6732632423543772 * np.exp(x))


@bug(ops.gelu, "x", CURVE)
def gelu_without_the_density(dy, x):
    return dy * ops.gelu(x).numpy() / x


@bug(ops.gelu, "x", normal(3, 4), approximate="tanh")
def gelu_tanh_with_the_slope_of_the_exact_one(dy, x):
    return ops.gelu.__wrapped__(x)[1](dy)


@bug(ops.softplus, "x", CURVE, beta=0.5)
def softplus_beta_forgotten(dy, x):
    return dy / (1 + np.exp(-x))


@bug(ops.mish, "x", CURVE)
def mish_without_its_sigmoid(dy, x):
    t = np.tanh(np.log(1 + np.exp(x)))
    return dy * (t + x * (1 - t * t))


@bug(ops.prelu, "w", apart(3, 4, 5), normal(4))
def prelu_dw_of_all_values(dy, x, w):
    return (dy * x).sum((0, 2))


@bug(ops.prelu, "x", apart(3, 4, 4), normal(4))
def prelu_slope_of_the_wrong_axis(dy, x, w):
    return np.where(x > 0, dy, dy * w)


# ---------------------------------------------------------------------------------------------- dropout, moving about

MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])


@bug(ops.dropout, "x", normal(3, 4), MASK, p=0.3)
def dropout_mask_not_applied(dy, x, mask):
    return dy / 0.7


@bug(ops.dropout, "x", normal(3, 4), MASK, p=0.3)
def dropout_scale_missing(dy, x, mask):
    return dy * mask


@bug(ops.dropout2d, "x", normal(4, 4, 2, 3), np.eye(4) > 0, p=0.5)
def dropout2d_mask_transposed(dy, x, mask):
    return dy * np.rot90(mask)[:, :, None, None] / 0.5


@bug(ops.concat, "xs[0]", normal(2, 3), normal(2, 3, seed=1))
def concat_pieces_swapped(dy, a, b):
    return dy[:, 3:]


@bug(ops.pad, "x", normal(2, 3, 4), padding=(1, 2, 2, 1))
def pad_cut_at_the_wrong_corner(dy, x):
    return dy[:, 1:4, 2:6]


@bug(ops.pad, "x", normal(2, 3, 4), padding=1, mode="reflect")
def pad_forgets_the_mirrored_pixels(dy, x):
    return dy[:, 1:-1, 1:-1]


@bug(ops.pad, "x", normal(2, 4, 4), padding=((0, 0), (2, 0)), mode="reflect")
def pad_mirrors_the_edge_pixel_too(dy, x):
    dx = dy[:, :, 2:].copy()
    dx[:, :, :2] += dy[:, :, 1::-1]
    return dx


@bug(ops.pad, "x", normal(2, 3, 4), padding=1, mode="replicate")
def pad_replicates_without_the_corners(dy, x):
    dx = dy[:, 1:-1, 1:-1].copy()
    dx[:, 0] += dy[:, 0, 1:-1]
    dx[:, -1] += dy[:, -1, 1:-1]
    dx[:, :, 0] += dy[:, 1:-1, 0]
    dx[:, :, -1] += dy[:, 1:-1, -1]
    return dx


@bug(getitem, "x", normal(4, 5), index=(np.array([0, 2, 0, 3]),))
def getitem_repeated_index_overwrites(dy, x):
    dx = np.zeros_like(x)
    dx[[0, 2, 0, 3]] = dy
    return dx


@bug(transpose, "x", normal(3, 3, 3), axes=(1, 2, 0))
def transpose_by_the_same_axes_again(dy, x):
    return dy.transpose(1, 2, 0)


@bug(reshape, "x", normal(3, 4), shape=(4, 3))
def reshape_is_not_a_transpose(dy, x):
    return dy.T
