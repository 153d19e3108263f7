"""Compiled batch norm and channel sums against their definitions in float64, and against NumPy's where no number is."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled
from minicnn.cpu.compiled import sums
from tests.cpu.compiled.layouts import in_turns

SHAPES = [(8, 16, 12, 12), (3, 5, 7, 9), (2, 1, 1, 1), (4, 13, 2, 2), (300, 7), (3, 40, 5), (2, 3, 2, 2, 3),
          (5, 8, 1, 1), (1, 33, 1, 7), (2, 1000, 3, 3), (1, 6, 1, 1), (40, 24, 33, 31), (900, 8, 30, 1)]  # fmt: skip
RELU = [None, "relu", "relu, no shift"]


def drawn(rng, shape):
    """x, dy, a residual; scale, shift (C,)"""
    x, dy, more = ((2 * rng.standard_normal(shape) + k).astype(np.float32) for k in (5, 0, 0))
    return x, dy, more, *rng.standard_normal((2, shape[1])).astype(np.float32)


def broadcast(values, x):
    return values.astype(np.float64).reshape(-1, *[1] * (x.ndim - 2))


@in_turns("shape", SHAPES)
def test_statistics(rng, on_threads, close, layout, shape):
    x = drawn(rng, shape)[0]
    axes, exact = (0, *range(2, x.ndim)), x.astype(np.float64)
    mean, var = on_threads(lambda: compiled.batch_norm_stats(layout(x)))
    close(mean, exact.mean(axes))
    close(var, exact.var(axes), scale=1e-6)
    close(on_threads(lambda: compiled.channel_sums(layout(x))), exact.sum(axes))


@pytest.mark.parametrize("relu", RELU)
@in_turns("shape", SHAPES)
def test_forward(rng, on_threads, close, layout, shape, relu):
    x, _, more, scale, shift = drawn(rng, shape)
    mean = x.astype(np.float64).mean((0, *range(2, x.ndim))).astype(np.float32)
    expected = (x - broadcast(mean, x)) * broadcast(scale, x)
    if relu == "relu, no shift":
        shift = None
    else:
        expected += broadcast(shift, x)
    for add in (None, layout(more)):
        y = on_threads(lambda add=add: compiled.batch_norm_apply(layout(x), mean, scale, shift, add=add,
                                                                 relu=bool(relu)))  # fmt: skip
        total = expected if add is None else expected + add
        close(y, np.maximum(total, 0) if relu else total, scale=np.abs(x).max())


@pytest.mark.parametrize("relu", RELU)
@in_turns("shape", SHAPES)
def test_backward(rng, on_threads, close, layout, shape, relu):
    x, dy, _, scale, shift = drawn(rng, shape)
    mean, inv_std = cpu.batch_norm_stats(x)[0], rng.uniform(0.5, 2, shape[1]).astype(np.float32)
    dy_through, through = dy.astype(np.float64), None
    if relu:
        through = (scale, shift if relu == "relu" else None)
        dy_through *= compiled.batch_norm_apply(x, mean, *through) > 0
    xhat, m = (x - broadcast(mean, x)) * broadcast(inv_std, x), x.size / shape[1]
    axes = (0, *range(2, x.ndim))
    totals = on_threads(lambda: compiled.batch_norm_sums(layout(dy), layout(x), mean, inv_std, relu=through))
    size = np.abs(dy_through * xhat).sum(axes).max()
    close(totals[0], dy_through.sum(axes), scale=np.abs(dy_through).sum(axes).max())
    close(totals[1], (dy_through * xhat).sum(axes), scale=size)
    dx = on_threads(lambda: compiled.batch_norm_dx(layout(dy), layout(x), mean, inv_std, scale, *totals, relu=through))
    expected = broadcast(scale, x) * (dy_through - broadcast(totals[0], x) / m - xhat * broadcast(totals[1], x) / m)
    close(dx, expected, scale=4 * np.abs(dy_through).max() * np.abs(scale).max())


@pytest.mark.parametrize("first", [0, 1e4])
def test_the_variance_survives_a_large_mean_and_an_odd_first_image(rng, first):
    x = (1000 + rng.standard_normal((20, 8, 40, 40))).astype(np.float32)
    x[0] += first
    exact = x.astype(np.float64)
    mean, var = compiled.batch_norm_stats(x)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 2, 3)), rtol=1e-5)


def test_long_sums_are_not_made_in_float32(monkeypatch):
    monkeypatch.setattr(sums, "MOST_ITEMS", 1)
    dy = np.full((1, 8, 200, 200), 0.1, np.float32)
    np.testing.assert_allclose(compiled.channel_sums(dy), 40_000 * np.float64(np.float32(0.1)), rtol=2e-6)


def test_relu_lets_dy_pass_exactly_where_y_is_positive(rng):
    x = rng.integers(-2, 3, (4, 8, 9, 9)).astype(np.float32)       # often exactly 0
    zeros, ones = np.zeros(8, np.float32), np.ones(8, np.float32)
    y = compiled.batch_norm_apply(x, zeros, ones, None, relu=True)
    totals = compiled.batch_norm_sums(ones[:1] + np.zeros_like(x), x, zeros, ones, relu=(ones, None))
    np.testing.assert_array_equal(totals[0], (y > 0).sum((0, 2, 3)))


@pytest.mark.parametrize("C", [8, 6])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_channel_alone(rng, C, value):
    x, dy, more, scale, shift = drawn(rng, (4, C, 9, 9))
    x[2, 3, 4, 5] = value
    with np.errstate(invalid="ignore"):
        mean, var = compiled.batch_norm_stats(x)
        expected = cpu.batch_norm_stats(x)
    np.testing.assert_array_equal(np.isfinite(var), np.isfinite(expected[1]))
    np.testing.assert_array_equal(np.isfinite(mean), np.arange(C) != 3)
    mean = np.zeros(C, np.float32)
    for add in (None, more):
        for relu in (False, True):
            y = compiled.batch_norm_apply(x, mean, scale, shift, add=add, relu=relu)
            expected = cpu.batch_norm_apply(x, mean, scale, shift, add=add, relu=relu)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    totals = compiled.batch_norm_sums(dy, x, mean, scale)
    np.testing.assert_array_equal(np.isfinite(totals[1]), np.arange(C) != 3)


@pytest.mark.parametrize("relu", [False, True])
def test_float64_and_empty_arrays_are_numpys(rng, relu):
    for x in (rng.standard_normal((3, 4, 5, 6)), np.zeros((0, 4, 5, 6), np.float32)):
        mean, scale = np.zeros(4, x.dtype), np.ones(4, x.dtype)
        y = compiled.batch_norm_apply(x, mean, scale, None, add=x, relu=relu)
        np.testing.assert_array_equal(y, np.maximum(2 * x, 0) if relu else 2 * x)
        assert y.dtype == x.dtype
        assert compiled.channel_sums(x).dtype == x.dtype
