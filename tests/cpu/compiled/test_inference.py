"""The kernels of plans against NumPy, on channels that are not whole registers and on parts of joined maps."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minicnn import reference
from minicnn.cpu.compiled import inference, team
from minicnn.cpu.compiled.layout import pack_filters
from minicnn.geometry import Pool2dGeometry

CHANNELS = [1, 3, 7, 8, 9, 16, 37]
FILL = np.float32(7)


def wide(rng, pixels, C, extra):
    """(random values as parts of wider pixels, flat, with room behind them; the values (pixels, C); the pitch)"""
    pitch = C + extra
    flat = np.concatenate([rng.standard_normal(pixels * pitch), np.full(16, np.nan)]).astype(np.float32)
    return flat, flat[: pixels * pitch].reshape(pixels, pitch)[:, :C], pitch


def room(pixels, C, extra):
    pitch = C + extra
    flat = np.full(pixels * pitch + 16, FILL)
    return flat, flat[: pixels * pitch].reshape(pixels, pitch), pitch


def only_the_part(y, C, expected, tolerance=1e-6):
    """y holds the expected values in its first C channels, and what was there before in the others."""
    np.testing.assert_allclose(y[:, :C], expected, rtol=tolerance, atol=tolerance)
    assert (y[:, C:] == FILL).all()


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("C", CHANNELS)
def test_affine_and_copy(rng, C, extra):
    x, values, pitch = wide(rng, 11, C, extra)
    scale, shift = (np.concatenate([rng.standard_normal(C), np.full(8, np.nan)]).astype(np.float32) for _ in "ab")
    for relu in (False, True):
        y, pixels, out_pitch = room(11, C, 3)
        team.run(inference.affine, 3, 0, x, scale, shift, y, (11, C, pitch, out_pitch, 4), relu)
        expected = values * scale[:C] + shift[:C]
        only_the_part(pixels, C, np.maximum(expected, 0) if relu else expected)
    y, pixels, out_pitch = room(11, C, 3)
    team.run(inference.copy_channels, 3, 0, x, y, (11, C, pitch, out_pitch, 4))
    only_the_part(pixels, C, values, 0)


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("C", CHANNELS)
@pytest.mark.parametrize("window", [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 2, "stride": 1, "dilation": (3, 2), "padding": (1, 0)},
])  # fmt: skip
def test_pooling(rng, window, C, extra):
    N, H, W = 2, 7, 6
    x, values, pitch = wide(rng, N * H * W, C, extra)
    maps = values.reshape(N, H, W, C).transpose(0, 3, 1, 2)
    g = Pool2dGeometry.of(maps.shape, **window)
    v, h = g.vertical, g.horizontal
    sizes = (H, W, C, g.OH, g.OW, g.KH, g.KW, v.stride, h.stride, v.before, h.before, v.dilation, h.dilation, pitch)
    for largest in (True, False):
        if not largest and "dilation" in window:
            continue
        factor = np.ones(1, np.float32) if largest else (
            1 / np.outer(v.counts(True), h.counts(True)).astype(np.float32).ravel())
        y, pixels, out_pitch = room(N * g.OH * g.OW, C, 2)
        team.run(inference.pool, N * -(-g.OH // 2), 0, x, factor, largest, y, (*sizes, out_pitch), 2)
        definition = reference.max_pool2d if largest else reference.avg_pool2d
        expected = definition(maps.astype(np.float64), **window).transpose(0, 2, 3, 1).reshape(-1, C)
        only_the_part(pixels, C, expected)


def test_nan_and_infinity_in_a_window(rng):
    x = np.concatenate([rng.standard_normal(4 * 4 * 8), np.zeros(16)]).astype(np.float32)
    maps = x[: 4 * 4 * 8].reshape(4, 4, 8)
    maps[0, 0, 3], maps[1, 3, 5], maps[2:, :2, 1] = np.nan, np.inf, -np.inf
    y = np.empty(2 * 2 * 8 + 16, np.float32)
    team.run(inference.pool, 1, 0, x, np.ones(1, np.float32), True, y,
             (4, 4, 8, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1, 8, 8), 2)  # fmt: skip
    np.testing.assert_array_equal(y[:32].reshape(2, 2, 8), maps.reshape(2, 2, 2, 2, 8).max((1, 3)))


@pytest.mark.parametrize("P", [1, 5, 64, 200])
@pytest.mark.parametrize("C", CHANNELS)
def test_mean(rng, C, P):
    x, values, pitch = wide(rng, 3 * P, C, 4)
    y, pixels, out_pitch = room(3, C, 3)
    team.run(inference.mean, 3 * -(-C // 8), 0, x, y, (P, C, pitch, out_pitch), 8)
    only_the_part(pixels, C, values.reshape(3, P, C).astype(np.float64).mean(1))


def test_a_long_mean_is_not_summed_in_one_float32():
    x = np.full(100_000 * 8 + 16, 0.1, np.float32)
    y = np.empty(16, np.float32)
    team.run(inference.mean, 1, 0, x, y, (100_000, 8, 8, 8), 8)
    np.testing.assert_allclose(y[:8], np.float32(0.1), rtol=4e-6)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("M", "size", "O"), [(1, 1, 1), (1, 5, 10), (2, 400, 120), (2, 7, 16), (1, 8, 33)])
def test_linear(rng, M, size, O, relu):
    x, w, b = rng.standard_normal((M, size)), rng.standard_normal((O, size)), rng.standard_normal(O)
    blocks = -(-O // 16)
    packed = np.empty((blocks, 1, 1, size, 16), np.float32)
    team.run(pack_filters, blocks, 0, w.astype(np.float32)[:, :, None, None], 1, packed)
    bias = np.concatenate([b, np.full(32, np.nan)]).astype(np.float32)
    y, rows, pitch = room(M, O, 3)
    packed, values = packed.reshape(blocks, size, 16), x.astype(np.float32).ravel()
    team.run(inference.linear, -(-blocks // 2), 0, values, packed, bias, y, (M, O, pitch, 2), relu)
    expected = x @ w.T + b
    only_the_part(rows, O, np.maximum(expected, 0) if relu else expected, 2e-5)


@pytest.mark.parametrize("C", CHANNELS)
def test_scale_maps(rng, C):
    x, s = rng.standard_normal((2, 6, C)).astype(np.float32), rng.standard_normal((2, C)).astype(np.float32)
    y = np.empty_like(x)
    team.run(inference.scale_maps, 3, 0, x.reshape(-1), s, y.reshape(-1), (12, 6, 5))
    np.testing.assert_array_equal(y, x * s[:, None])


@pytest.mark.parametrize("C", [1, 3, 8])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)])
def test_images_to_channels_last(rng, C, axes):
    shape = (2, C, 5, 4)
    stored = rng.standard_normal([shape[a] for a in axes]).astype(np.float32)
    x = stored.transpose(np.argsort(axes))
    y = np.empty((2, 5, 4, C), np.float32)
    team.run(inference.to_channels_last, 10, 0, stored.reshape(-1), tuple(s // 4 for s in x.strides), y)
    np.testing.assert_array_equal(y, x.transpose(0, 2, 3, 1))
