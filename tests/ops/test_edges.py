"""What the table of ops leaves out: kinks, ties, zeros, infinities and far-out values, against math and by hand."""

import math

import numpy as np
import pytest

from minicnn import Tensor, error_function, gradcheck, ops

GRID = np.concatenate([np.arange(-208, 209) / 8, [-1e3, -27.0, -1e-9, 1e-300, 27.0, 1e3]])
"""From −26 to 26, where erfc is 1e-296, and beyond."""


def back(function, *arrays, dy=None):
    """(y, the gradients of y's sum, or of Σ dy·y)"""
    leaves = [Tensor(np.asarray(a, float), True) for a in arrays]
    y = function(*leaves)
    y.backward(np.ones(y.shape) if dy is None else np.asarray(dy, float))
    return y.numpy(), *(leaf.grad for leaf in leaves)


# -------------------------------------------------------------------------------------------------- the error function


def test_erfc_is_exact_in_every_digit_that_float64_keeps():
    """Relative to its own value: also where that is 1e-290. e^(−x²) costs x² units of the last digit."""
    for v, found in zip(GRID, error_function.erfc(np, GRID)):
        exact = math.erfc(v)
        assert abs(found - exact) <= 4e-15 * (10 + v * v) * exact + 1e-306, v


def test_erf_is_exact_also_near_0():
    for v, found in zip(GRID, error_function.erf(np, GRID)):
        assert abs(found - math.erf(v)) <= 4e-15 * abs(math.erf(v)), v


def test_float32_has_float32s_digits():
    x = GRID.astype(np.float32)
    for name, function in (("erf", error_function.erf), ("erfc", error_function.erfc)):
        found = function(np, x)
        assert found.dtype == np.float32
        exact = np.array([getattr(math, name)(float(v)) for v in x])
        assert abs(found - exact).max() <= 5e-7


def test_infinities_and_nan():
    x = np.array([-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(error_function.erf(np, x), [-1, 1, np.nan])
    np.testing.assert_array_equal(error_function.erfc(np, x), [2, 0, np.nan])


def test_gelu_keeps_its_digits_where_it_is_nearly_0():
    """x·(1 + erf)/2, as it is often written, is 0 below −8.4."""
    x = np.array([-3.0, -8.0, -12.0, -20.0])
    exact = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x]
    np.testing.assert_allclose(ops.gelu(x).numpy(), exact, rtol=1e-12)


@pytest.mark.parametrize("op", [ops.elu, ops.selu, ops.gelu, ops.softplus, ops.mish, ops.erf, ops.tanh])
def test_far_out_nothing_overflows(op):
    y, dx = back(op, [-1e5, -800.0, 800.0, 1e5])
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert dx[2:].tolist() == ([0, 0] if op in (ops.erf, ops.tanh) else [1.0507009873554805] * 2 if op is ops.selu
                               else [1, 1])  # fmt: skip


# ------------------------------------------------------------------------------------------------------ kinks and ties


def test_gradients_at_the_kinks_are_those_that_are_stated():
    assert back(lambda x: ops.elu(x, alpha=0.3), [0.0])[1] == [0.3]
    np.testing.assert_allclose(back(ops.selu, [0.0])[1], [1.0507009873554805 * 1.6732632423543772], rtol=1e-15)
    _, dx, dw = back(ops.prelu, [[0.0, -2.0]], [0.25, 0.5])
    np.testing.assert_array_equal(dx, [[0.25, 0.5]])
    np.testing.assert_array_equal(dw, [0, -2])


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (6,)])
def test_one_slope_for_all_channels(shape):
    """Not in the table of ops: dw is one sum there, whose terms may cancel to fewer digits than float32 has."""
    x = np.random.default_rng(2).standard_normal(shape)
    w = np.array([0.3])
    y, dx, dw = back(ops.prelu, x, w)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0.3 * x))
    np.testing.assert_array_equal(dx, np.where(x > 0, 1, 0.3))
    np.testing.assert_allclose(dw, [x[x < 0].sum()])
    assert gradcheck(ops.prelu, x, w).worst <= 1e-6


@pytest.mark.parametrize("op", [ops.maximum, ops.minimum])
def test_of_equal_numbers_each_gets_half(op):
    y, da, db = back(op, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0], dy=[4, 5, 6])
    larger = op is ops.maximum
    assert y.tolist() == ([1, 3, 3] if larger else [1, 2, 2])
    assert da.tolist() == ([2, 0, 6] if larger else [2, 5, 0])
    assert db.tolist() == ([2, 5, 0] if larger else [2, 0, 6])
    y, dx = back(lambda x: op(x, 2.0), [1.0, 2.0, 3.0])
    assert dx.tolist() == ([0, 0.5, 1] if larger else [1, 0.5, 0])
    assert op(2.0, Tensor(np.array([1.0, 3.0]))).numpy().tolist() == ([2, 3] if larger else [1, 2])
    np.testing.assert_array_equal(op(np.array([np.nan, 1.0]), np.array([1.0, np.nan])).numpy(), [np.nan, np.nan])


def test_a_product_with_zeros_has_the_gradient_of_the_other_factors():
    y, dx = back(lambda x: ops.prod(x, axis=1), [[2.0, 0, 3], [0, 5, 0], [2, 3, 4]], dy=[1, 1, 2])
    assert y.tolist() == [0, 0, 24]
    np.testing.assert_allclose(dx, [[0, 6, 0], [0, 0, 0], [24, 16, 12]])
    assert ops.prod(np.ones((2, 0)), axis=1).numpy().tolist() == [1, 1]


def test_a_number_to_the_power_of_an_array():
    t = [-1.0, 0.0, 2.0]
    y, dt = back(lambda t: 3**t, t)
    np.testing.assert_allclose(y, [1 / 3, 1, 9])
    np.testing.assert_allclose(dt, np.log(3) * np.array([1 / 3, 1, 9]))
    y, dx, de = back(lambda x, e: x**e, [0.0, 2.0, 2.0], [2.0, 0.0, 3.0])
    np.testing.assert_allclose((y, dx, de), [(0, 1, 8), (0, 0, 12), (0, np.log(2), 8 * np.log(2))])
    assert (np.power(Tensor([2.0]), 3) == 8).all()


def test_a_smooth_maximum_is_finite_where_its_sum_is_not():
    y, dx = back(lambda x: ops.logsumexp(x, axis=1), [[1000.0, 1000.0], [-1000.0, 0.0]])
    np.testing.assert_allclose(y, [1000 + math.log(2), 0], atol=1e-12)
    np.testing.assert_allclose(dx, [[0.5, 0.5], [0, 1]])
    assert ops.logsumexp(np.array([[-np.inf, 3.0], [np.inf, 0.0]]), axis=1).numpy().tolist() == [3, np.inf]


# ------------------------------------------------------------------------------------------------------------ resizing


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [2, 0.5, 1.5, (3, 0.4)])
@pytest.mark.parametrize("place", [(0, 0), (3, 4), (7, 9)])
def test_an_infinite_pixel_is_seen_by_its_neighbours_alone(mode, scale, place):
    """0·∞ would be NaN: no pixel is multiplied that is not read."""
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 10))
    x[0, 0, *place] = np.inf
    y = ops.resize(x, scale=scale, mode=mode).numpy()[0, 0]
    weight = ops.resize((x == np.inf).astype(float), scale=scale, mode=mode).numpy()[0, 0]
    assert (np.isinf(y) == (weight > 0)).all()
    assert not np.isnan(y).any()
    dy = np.where(weight > 0, np.inf, 1.0)[None, None]
    assert not np.isnan(back(lambda t: ops.resize(t, scale=scale, mode=mode), np.zeros_like(x), dy=dy)[1]).any()


def test_pixels_that_nobody_reads_have_no_gradient():
    _, dx = back(lambda x: ops.interpolate(x, size=(2, 1)), np.zeros((1, 1, 4, 3)))
    assert dx[0, 0].tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_the_corners_stay_where_they_are():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    y = ops.interpolate(x, size=(5, 7), mode="bilinear", align_corners=True).numpy()[0, 0]
    np.testing.assert_allclose(y, np.add.outer(np.arange(5) * 2, np.arange(7) / 2))


def test_shuffling_pixels_is_undone():
    x = np.random.default_rng(1).standard_normal((2, 12, 3, 5))
    y = ops.pixel_shuffle(x, upscale_factor=2)
    assert y.shape == (2, 3, 6, 10)
    assert y.numpy()[1, 2, 3, 4] == x[1, 2 * 4 + 2, 1, 2]
    np.testing.assert_array_equal(ops.pixel_unshuffle(y, downscale_factor=2).numpy(), x)


# ------------------------------------------------------------------------------------------------------------ sentences

MAPS = np.ones((2, 6, 4, 5))
SENTENCES = {
    "channels of transposed filters": (
        lambda: ops.conv_transpose2d(MAPS, np.ones((4, 6, 3, 3))),
        "conv_transpose2d: x has 6 channels in 1 group(s), so w must have shape (6, O/1, KH, KW) and 6 be divisible by "
        "1, but w is (4, 6, 3, 3)",
    ),
    "a name for the padding": (
        lambda: ops.conv_transpose2d(MAPS, np.ones((6, 2, 3, 3)), padding="same"),
        "conv_transpose2d: padding must be pixels to cut off, not 'same', which fits several sizes of y",
    ),
    "output_padding of the stride": (
        lambda: ops.conv_transpose2d(MAPS, np.ones((6, 2, 3, 3)), stride=2, output_padding=(0, 2)),
        "conv_transpose2d: output_padding (=(0, 2)) must be smaller than the stride (=(2, 2))",
    ),
    "all cut off": (
        lambda: ops.conv_transpose2d(MAPS, np.ones((6, 2, 3, 3)), padding=3),
        "conv_transpose2d: padding (=((3, 3), (3, 3))) cuts off all of y, which would have 0×1 pixels: use less "
        "padding",
    ),
    "size and scale": (
        lambda: ops.resize(MAPS, size=3, scale=2),
        "resize: give either size or scale, not both of them",
    ),
    "neither": (lambda: ops.interpolate(MAPS), "resize: give either size or scale, not none of them"),
    "too small": (
        lambda: ops.resize(MAPS, scale=0.2),
        "resize: scale (=0.2) makes images of 0×1 pixels: each side must have 1 to 1,048,576",
    ),
    "corners of the nearest": (
        lambda: ops.interpolate(MAPS, size=3, align_corners=True),
        "interpolate: align_corners is for mode='bilinear', not for 'nearest'",
    ),
    "groups": (
        lambda: ops.group_norm(MAPS, num_groups=4),
        "group_norm: the 6 channels of x (2, 6, 4, 5) must be divisible by num_groups (=4)",
    ),
    "one value": (
        lambda: ops.instance_norm(np.ones((2, 6, 1, 1))),
        "instance_norm: x (2, 6, 1, 1) has one value in each group, and statistics need at least 2",
    ),
    "other axes": (
        lambda: ops.layer_norm(MAPS, normalized_shape=(6, 5)),
        "layer_norm: normalized_shape (=(6, 5)) must be the sizes of the last axes of x (2, 6, 4, 5)",
    ),
    "gamma of another shape": (
        lambda: ops.layer_norm(MAPS, np.ones(4), normalized_shape=5),
        "layer_norm: gamma and beta must each have shape (5,), the normalized_shape, not [(4,)]",
    ),
    "slopes": (
        lambda: ops.prelu(MAPS, np.ones(5)),
        "prelu: w has shape (5,), but x (2, 6, 4, 5) has 6 channels: w must have shape (6,), or (1,) for all channels",
    ),
    "blocks": (
        lambda: ops.pixel_shuffle(MAPS, upscale_factor=2),
        "pixel_shuffle: x has 6 channels, which must be divisible by upscale_factor² (=4)",
    ),
    "broadcasting": (
        lambda: ops.broadcast_to(MAPS, shape=(2, 6, 8, 5)),
        "broadcast_to: shape (2, 6, 4, 5) does not broadcast to (2, 6, 8, 5): counted from the last, each axis of x "
        "must have the same size, or size 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SENTENCES)
def test_the_sentence(what):
    call, sentence = SENTENCES[what]
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == sentence
