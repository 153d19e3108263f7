"""Batch norm's reductions and passes on the GPU path, against NumPy in float64."""

import numpy as np
import pytest

from minicnn.gpu import batch_norm

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
SHAPES = [(3, 5, 7, 6), (2, 1, 1, 2), (1, 3, 40, 41), (37, 4, 1, 1), (70, 33), (6, 2, 300), (2, 65, 3), (300, 2, 2, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


def axes(x):
    return tuple(i for i in range(x.ndim) if i != 1)


def column(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


def close(found, expected, dtype, scale=None):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    scale = abs(expected).max() if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@dtypes
@shapes
def test_statistics(gpu, rng, shape, dtype):
    x = (3 * rng.standard_normal(shape) + np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))).astype(dtype)
    mean, var = map(gpu.to_numpy, gpu.batch_norm_stats(gpu.asarray(x)))
    exact = x.astype(np.float64)
    close(mean, exact.mean(axes(x)), dtype)
    close(var, exact.var(axes(x)), dtype)


@pytest.mark.parametrize("first", [0, 1e4])
def test_a_large_mean_and_a_first_value_far_off_cost_no_digits(gpu, rng, first):
    # E[x²] − E[x]² in float32 would be off by 10 here, sums around the first value too, where that is far off
    x = (1e4 + rng.standard_normal((4, 3, 9, 11))).astype(np.float32)
    x[0, :, 0, 0] += np.float32(first)
    mean, var = map(gpu.to_numpy, gpu.batch_norm_stats(gpu.asarray(x)))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=2e-7)
    np.testing.assert_allclose(var, exact.var((0, 2, 3)), rtol=1e-5)


@dtypes
@shapes
@pytest.mark.parametrize("shifted", [True, False])
def test_apply(gpu, rng, shape, shifted, dtype):
    x, C = rng.standard_normal(shape).astype(dtype), shape[1]
    mean, scale, shift = rng.standard_normal((3, C)).astype(dtype)
    given = [gpu.asarray(a) for a in (x, mean, scale, shift)]
    y = gpu.to_numpy(gpu.batch_norm_apply(*given[:3], given[3] if shifted else None))
    exact = (x.astype(np.float64) - column(mean, x)) * column(scale, x) + (column(shift, x) if shifted else 0)
    close(y, exact, dtype)


@dtypes
@shapes
@pytest.mark.parametrize("relu", [True, False])
def test_apply_with_a_sum_and_a_relu(gpu, rng, shape, relu, dtype):
    x, z = rng.standard_normal((2, *shape)).astype(dtype)
    mean, scale, shift = rng.standard_normal((3, shape[1])).astype(dtype)
    y = gpu.to_numpy(gpu.batch_norm_apply(*map(gpu.asarray, (x, mean, scale, shift)), add=gpu.asarray(z), relu=relu))
    exact = (x.astype(np.float64) - column(mean, x)) * column(scale, x) + column(shift, x) + z
    close(y, exact.clip(0) if relu else exact, dtype)
    y = gpu.to_numpy(gpu.batch_norm_apply(*map(gpu.asarray, (x, mean, scale)), None, relu=True))
    close(y, ((x.astype(np.float64) - column(mean, x)) * column(scale, x)).clip(0), dtype)


def test_a_relu_lets_nan_and_infinity_pass(gpu):
    x = np.array([[np.nan, np.inf, -np.inf, -1, 2]], np.float32)
    one = gpu.asarray(np.ones(5, np.float32))
    y = gpu.to_numpy(gpu.batch_norm_apply(gpu.asarray(x), 0 * one, one, None, relu=True))
    np.testing.assert_array_equal(y, [[np.nan, np.inf, 0, 0, 2]])


@dtypes
@shapes
def test_sums_and_dx(gpu, rng, shape, dtype):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    dy += dtype(0.5)
    mean, inv_std, scale = rng.uniform(0.5, 2, (3, shape[1])).astype(dtype)
    there = {k: gpu.asarray(v) for k, v in {"x": x, "dy": dy, "mean": mean, "inv": inv_std, "scale": scale}.items()}
    sums = gpu.batch_norm_sums(there["dy"], there["x"], there["mean"], there["inv"])
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    xhat = (x - column(mean, x)) * column(inv_std, x)
    close(gpu.to_numpy(sums[0]), dy.sum(axes(x)), dtype, abs(dy).sum(axes(x)).max())
    close(gpu.to_numpy(sums[1]), (dy * xhat).sum(axes(x)), dtype, abs(dy * xhat).sum(axes(x)).max())
    close(gpu.to_numpy(gpu.channel_sums(there["dy"])), dy.sum(axes(x)), dtype, abs(dy).sum(axes(x)).max())

    m = x.size // x.shape[1]
    dx = gpu.batch_norm_dx(there["dy"], there["x"], there["mean"], there["inv"], there["scale"], *sums)
    exact = column(scale, x) * (
        dy - column(dy.sum(axes(x)), x) / m - xhat * column((dy * xhat).sum(axes(x)), x) / m
    )
    close(gpu.to_numpy(dx), exact, dtype)


def test_arrays_with_gaps_and_other_precisions(gpu, rng):
    x, dy = rng.standard_normal((4, 6, 5)), rng.standard_normal((1, 3, 1))
    there, dense = gpu.asarray(x).transpose(0, 2, 1)[:, 1:4], x.transpose(0, 2, 1)[:, 1:4]
    mean, var = map(gpu.to_numpy, gpu.batch_norm_stats(there))
    np.testing.assert_allclose(mean, dense.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var, dense.var((0, 2)), rtol=1e-12)
    spread = gpu.xp.broadcast_to(gpu.asarray(dy), dense.shape)     # what a mean's gradient looks like
    np.testing.assert_allclose(gpu.to_numpy(gpu.channel_sums(spread)), dy.reshape(3) * 24, rtol=1e-12)
    narrow = gpu.asarray(np.array([1, 2, 3], np.float32))          # running statistics as a file brought them
    y = gpu.to_numpy(gpu.batch_norm_apply(there, narrow, narrow, None))
    np.testing.assert_allclose(y, (dense - [[1], [2], [3]]) * [[1], [2], [3]], rtol=1e-12)


def test_sums_of_no_images_are_zero(gpu):
    assert not gpu.to_numpy(gpu.channel_sums(gpu.asarray(np.zeros((0, 3, 4))))).any()


@pytest.mark.parametrize("shape", [(32, 64, 56, 56), (128, 16, 32, 32), (32, 2048, 7, 7), (1, 64, 224, 224), (256, 10)])
def test_a_reduction_fills_the_gpu(shape):
    (channels, images, pixels), (along, at_once) = batch_norm._grid_and_block(np.broadcast_to(np.float32(0), shape))
    assert channels == shape[1]
    assert images * pixels <= batch_norm.MAX_PARTS
    assert along * at_once == 256
    values = np.prod(shape)
    assert channels * images * pixels * 256 >= min(values // 16, 132 * 4 * 256)      # four blocks a multiprocessor


def test_the_same_bits_whoever_comes_first(emulated, rng):
    x, dy = rng.standard_normal((2, 9, 5, 17, 3)).astype(np.float32)
    found = []
    for order in ("ascending", "descending", "shuffled"):
        gpu = emulated(order=order)
        there = gpu.asarray(x), gpu.asarray(dy)
        stats = gpu.batch_norm_stats(there[0])
        sums = gpu.batch_norm_sums(there[1], there[0], *stats)
        found.append([gpu.to_numpy(a).tobytes() for a in (*stats, *sums, gpu.channel_sums(there[1]))])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_a_residual_and_relu_are_one_call(gpu, rng, shape):
    x, dy, more = rng.standard_normal((3, *shape))
    mean, inv_std, scale, shift = rng.uniform(0.5, 2, (4, shape[1]))
    x_, dy_, more_, mean_, inv_std_, scale_, shift_ = map(gpu.asarray, (x, dy, more, mean, inv_std, scale, shift))
    line = (x - column(mean, x)) * column(scale, x) + column(shift, x)
    y = gpu.batch_norm_apply(x_, mean_, scale_, shift_, add=more_, relu=True)
    close(gpu.to_numpy(y), np.maximum(line + more, 0), np.float64)
    through = gpu.asarray(dy * (line > 0))
    sums = gpu.batch_norm_sums(dy_, x_, mean_, inv_std_, relu=(scale_, shift_))
    expected = gpu.batch_norm_sums(through, x_, mean_, inv_std_)
    dx = gpu.batch_norm_dx(dy_, x_, mean_, inv_std_, scale_, *expected, relu=(scale_, shift_))
    for a, b in zip((*sums, dx), (*expected, gpu.batch_norm_dx(through, x_, mean_, inv_std_, scale_, *expected))):
        np.testing.assert_array_equal(gpu.to_numpy(a), gpu.to_numpy(b))
    np.testing.assert_array_equal(gpu.to_numpy(gpu.add_relu(x_, more_)), np.maximum(x + more, 0))
    np.testing.assert_array_equal(gpu.to_numpy(gpu.add(x_, more_)), x + more)
