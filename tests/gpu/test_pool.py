"""Pooling on the GPU path: against the plain loops of reference.py, and gradients against loops over the windows."""

import numpy as np
import pytest

from minicnn import cpu, reference
from minicnn.geometry import Pool2dGeometry

GEOMETRIES = {
    "2/2": {"x": (2, 3, 6, 5), "kernel_size": 2},
    "3/2, overlapping": {"x": (2, 3, 7, 6), "kernel_size": 3, "stride": 2},
    "padded, not square": {"x": (1, 2, 5, 9), "kernel_size": (3, 2), "stride": 1, "padding": 1},
    "over the edge": {"x": (3, 2, 6, 8), "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "gaps between windows": {"x": (2, 1, 11, 7), "kernel_size": (2, 1), "stride": (5, 3)},
    "one pixel": {"x": (5, 3, 1, 1), "kernel_size": 1},
    "whole map": {"x": (2, 5, 4, 3), "kernel_size": (4, 3)},
    "wide": {"x": (1, 1, 1, 301), "kernel_size": (1, 3), "stride": 1},
}
DILATED = {
    "dilated": {"x": (1, 2, 7, 8), "kernel_size": 2, "stride": 1, "dilation": (2, 3), "padding": (1, 0)},
    "dilated, strided": {"x": (2, 1, 9, 8), "kernel_size": (2, 3), "stride": (2, 1), "dilation": (3, 2), "padding": 1},
}
SIDES = {
    "same": {"x": (2, 2, 6, 7), "kernel_size": (3, 4), "stride": (2, 3), "padding": "same"},
    "same_lower, dilated": {"x": (1, 3, 9, 8), "kernel_size": (2, 3), "stride": 2, "dilation": (3, 2),
                            "padding": "same_lower"},
    "more than half the window": {"x": (2, 3, 4, 5), "kernel_size": 4, "stride": (3, 1), "padding": ((3, 2), (0, 3))},
    "over the edge, each side its own": {"x": (1, 2, 7, 8), "kernel_size": 3, "stride": 2, "padding": ((0, 1), (2, 0)),
                                         "ceil_mode": True, "dilation": (1, 2)},
}  # fmt: skip
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def cases(*tables):
    return pytest.mark.parametrize("case", [pytest.param(c, id=name) for t in tables for name, c in t.items()])


def drawn(rng, case, dtype):
    hyper = {k: v for k, v in case.items() if k != "x"}
    g = Pool2dGeometry.of(case["x"], **hyper)
    x = rng.permutation(np.linspace(-2, 2, np.prod(case["x"]))).reshape(case["x"]).astype(dtype)   # no ties, no zeros
    return x, rng.standard_normal((g.N, g.C, g.OH, g.OW)).astype(dtype), g, hyper


def windows(g):
    """For each window (i, j) its pixels: [(tap, h, w), …]"""
    v, h = g.vertical, g.horizontal
    for i in range(g.OH):
        for j in range(g.OW):
            places = [(p * g.KW + q, i * v.stride + p * v.dilation - v.before, j * h.stride + q * h.dilation - h.before)
                      for p in range(g.KH) for q in range(g.KW)]  # fmt: skip
            yield (i, j), [(tap, r, c) for tap, r, c in places if 0 <= r < g.H and 0 <= c < g.W]


def close(found, expected, dtype):
    assert found.dtype == dtype
    scale = abs(expected).max() if expected.size else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@cases(GEOMETRIES, DILATED, SIDES)
def test_max_pool(gpu, rng, case, dtype):
    x, dy, g, hyper = drawn(rng, case, dtype)
    y, winner = gpu.max_pool2d(gpu.asarray(x), g)
    np.testing.assert_array_equal(gpu.to_numpy(y), reference.max_pool2d(x, **hyper))
    taps, dx = np.zeros(dy.shape, int), np.zeros(x.shape)
    for (i, j), pixels in windows(g):
        for n, c in np.ndindex(g.N, g.C):
            tap, r, col = max(pixels, key=lambda place: x[n, c, place[1], place[2]])
            taps[n, c, i, j] = tap
            dx[n, c, r, col] += dy[n, c, i, j]
    np.testing.assert_array_equal(gpu.to_numpy(winner), taps)
    close(gpu.to_numpy(gpu.max_pool2d_dx(gpu.asarray(dy), winner, g)), dx, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("pad", [True, False])
@cases(GEOMETRIES, DILATED, SIDES)
def test_avg_pool(gpu, rng, case, pad, dtype):
    x, dy, g, hyper = drawn(rng, case, dtype)
    y = gpu.to_numpy(gpu.avg_pool2d(gpu.asarray(x), g, pad))
    close(y, reference.avg_pool2d(x.astype(np.float64), **hyper, count_include_pad=pad), dtype)
    # each pixel's share of each mean: the mean of an image that is 1 there and 0 elsewhere, by the definition
    share = [reference.avg_pool2d(one.reshape(1, 1, g.H, g.W), **hyper, count_include_pad=pad)[0, 0]
             for one in np.eye(g.H * g.W)]  # fmt: skip
    dx = np.einsum("ncij,kij->nck", dy.astype(np.float64), np.array(share)).reshape(x.shape)
    close(gpu.to_numpy(gpu.avg_pool2d_dx(gpu.asarray(dy), g, pad)), dx, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@cases(GEOMETRIES, DILATED, SIDES)
def test_lp_pool(gpu, rng, case, p, dtype):
    x, dy, g, hyper = drawn(rng, case, dtype)
    x[:, :, :2, :2] = 0                                            # a window of nothing but zeros, where it fits in
    y = gpu.lp_pool2d(gpu.asarray(x), p, g)
    exact = reference.lp_pool2d(x.astype(np.float64), norm_type=p, **hyper)
    close(gpu.to_numpy(y), exact, dtype)
    dx = np.zeros(x.shape)
    for (i, j), pixels in windows(g):
        for n, c in np.ndindex(g.N, g.C):
            for _, r, col in pixels:
                v, whole = float(x[n, c, r, col]), exact[n, c, i, j]
                if whole and v:
                    dx[n, c, r, col] += dy[n, c, i, j] * np.sign(v) * (abs(v) / whole) ** (p - 1)
    close(gpu.to_numpy(gpu.lp_pool2d_dx(gpu.asarray(dy), gpu.asarray(x), y, p, g)), dx, dtype)


def test_the_first_of_equals_wins_and_so_does_a_nan(gpu):
    x = np.zeros((1, 1, 3, 6), np.float32)
    x[0, 0, 1, 4] = x[0, 0, 2, 5] = np.nan
    x[0, 0, :, :3] = 7
    g = Pool2dGeometry.of(x.shape, 3)
    y, winner = map(gpu.to_numpy, gpu.max_pool2d(gpu.asarray(x), g))
    np.testing.assert_array_equal(y[0, 0], [[7, np.nan]])
    np.testing.assert_array_equal(winner[0, 0], [[0, 8]])
    for mine, theirs in zip((y, winner), cpu.max_pool2d(x, g)):
        np.testing.assert_array_equal(mine, theirs)


def test_minus_infinity_is_a_pixel_and_padding_is_none(gpu):
    x = np.full((1, 1, 2, 2), -np.inf)
    g = Pool2dGeometry.of(x.shape, 2, 2, 1)
    y, winner = gpu.max_pool2d(gpu.asarray(x), g)
    np.testing.assert_array_equal(gpu.to_numpy(y), x)
    np.testing.assert_array_equal(gpu.to_numpy(winner)[0, 0], [[3, 2], [1, 0]])      # the only pixel that is there
    dx = gpu.max_pool2d_dx(gpu.asarray(np.arange(1.0, 5).reshape(1, 1, 2, 2)), winner, g)
    np.testing.assert_array_equal(gpu.to_numpy(dx)[0, 0], [[1, 2], [3, 4]])


def test_padding_wins_over_no_pixel(gpu, rng):
    """Where every pixel is −∞, the first of the window wins: with padding before it, behind it and between its taps."""
    for hyper in ({"kernel_size": 4, "stride": 3, "padding": ((3, 2), (0, 3))},
                  {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2}):  # fmt: skip
        x = np.full((2, 1, 4, 5), -np.inf, np.float32)
        g = Pool2dGeometry.of(x.shape, **hyper)
        y, winner = gpu.max_pool2d(gpu.asarray(x), g)
        taps = np.array([pixels[0][0] for _, pixels in windows(g)]).reshape(g.OH, g.OW)
        np.testing.assert_array_equal(gpu.to_numpy(y), np.full(y.shape, -np.inf))
        np.testing.assert_array_equal(gpu.to_numpy(winner), np.broadcast_to(taps, y.shape))
        dy = rng.integers(1, 9, y.shape).astype(np.float32)
        dx = gpu.to_numpy(gpu.max_pool2d_dx(gpu.asarray(dy), winner, g))
        assert dx.sum() == dy.sum()


def test_windows_of_more_than_256_taps(gpu, rng):
    x = rng.permutation(2 * 20 * 19).astype(float).reshape(1, 2, 20, 19)
    x[0, 1, 17, 18] = 1e3
    g = Pool2dGeometry.of(x.shape, (18, 19), 1)
    y, winner = gpu.max_pool2d(gpu.asarray(x), g)
    assert gpu.to_numpy(winner)[0, 1, 0, 0] == 17 * 19 + 18
    for mine, theirs in zip((y, winner), cpu.max_pool2d(x, g)):
        np.testing.assert_array_equal(gpu.to_numpy(mine), theirs)
    dx = gpu.to_numpy(gpu.max_pool2d_dx(gpu.asarray(np.ones(y.shape)), winner, g))
    assert dx.sum() == 6
    np.testing.assert_array_equal(dx, cpu.max_pool2d_dx(np.ones(y.shape), gpu.to_numpy(winner), g))


def test_arrays_with_gaps_and_turned_axes(gpu, rng):
    x = rng.standard_normal((2, 6, 5, 6))
    g = Pool2dGeometry.of((2, 3, 6, 5), 3, 2, 1)
    there = gpu.asarray(x).transpose(0, 1, 3, 2)[:, ::2]           # neither C-contiguous nor without gaps
    dense = x.transpose(0, 1, 3, 2)[:, ::2]
    y, winner = gpu.max_pool2d(there, g)
    np.testing.assert_array_equal(gpu.to_numpy(y), reference.max_pool2d(dense, kernel_size=3, stride=2, padding=1))
    one = gpu.xp.broadcast_to(gpu.asarray(np.ones(1)), y.shape)
    np.testing.assert_array_equal(
        gpu.to_numpy(gpu.max_pool2d_dx(one, winner, g)), cpu.max_pool2d_dx(np.ones(y.shape), gpu.to_numpy(winner), g)
    )
    np.testing.assert_allclose(gpu.to_numpy(gpu.avg_pool2d(there, g, True)), cpu.avg_pool2d(dense, g, True), rtol=1e-12)


def test_no_images(gpu):
    g = Pool2dGeometry.of((0, 3, 6, 5), 2)
    x, dy = gpu.asarray(np.zeros((0, 3, 6, 5))), gpu.asarray(np.zeros((0, 3, 3, 2)))
    y, winner = gpu.max_pool2d(x, g)
    assert y.shape == winner.shape == (0, 3, 3, 2)
    assert gpu.max_pool2d_dx(dy, winner, g).shape == gpu.avg_pool2d_dx(dy, g, True).shape == x.shape
    assert gpu.lp_pool2d(x, 2, g).shape == gpu.avg_pool2d(x, g, False).shape == (0, 3, 3, 2)
