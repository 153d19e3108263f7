"""Dropout and stochastic depth: rates, scales, seeds."""

import math

import numpy as np
import pytest

from minicnn import Tensor, nn, seed


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_rate_and_scale(p):
    n = 40_000
    y = nn.Dropout(p)(Tensor(np.full((200, 200), 3.0))).data
    dropped = int((y == 0).sum())
    assert abs(dropped - n * p) < 4 * math.sqrt(n * p * (1 - p))
    np.testing.assert_allclose(y[y != 0], 3 / (1 - p), rtol=1e-12)


def test_dropout_keeps_dtype_and_passes_gradients_where_it_passed_values():
    x = Tensor(np.ones((50, 40), np.float32), True)
    y = nn.Dropout(0.25)(x)
    y.backward(np.full(y.shape, 6.0, np.float32))
    assert y.dtype == x.grad.dtype == np.float32
    assert np.array_equal(x.grad, 6 * y.data)


def test_same_seed_same_mask_next_draw_another():
    layer, x = nn.Dropout(0.5), Tensor(np.ones((20, 30)))
    seed(7)
    first, second = layer(x).data, layer(x).data
    seed(7)
    assert np.array_equal(layer(x).data, first)
    assert np.array_equal(nn.Dropout(0.5)(x).data, second), "another layer takes the next draw of the same seed"
    assert 200 < (first != second).sum() < 400                   # 300 expected of 600, ±8σ
    seed(8)
    assert not np.array_equal(layer(x).data, first)


def test_in_use_and_at_rate_zero_dropout_does_nothing():
    x = Tensor(np.ones((4, 5)))
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0)(x) is x


def test_dropout2d_switches_whole_maps():
    y = nn.Dropout2d(0.4)(Tensor(np.ones((60, 50, 3, 2)))).data
    off = (y == 0).all((2, 3))
    on = (np.abs(y - 1 / 0.6) < 1e-12).all((2, 3))
    assert (off | on).all()
    assert abs(off.sum() - 1200) < 4 * math.sqrt(3000 * 0.4 * 0.6)
    assert not np.array_equal(off[0], off[1])


def test_stochastic_depth_by_image_and_by_batch():
    x = Tensor(np.ones((500, 2, 3)))
    y = nn.StochasticDepth(0.2)(x).data
    off = (y == 0).all((1, 2))
    assert (off | (np.abs(y - 1.25) < 1e-12).all((1, 2))).all()
    assert abs(off.sum() - 100) < 4 * math.sqrt(500 * 0.2 * 0.8)
    layer = nn.StochasticDepth(0.2, mode="batch")
    kept = [layer(x).data for _ in range(300)]
    assert all(np.ptp(y) == 0 for y in kept), "one draw for the whole batch"
    skipped = sum(y.flat[0] == 0 for y in kept)
    assert abs(skipped - 60) < 4 * math.sqrt(300 * 0.2 * 0.8)
    assert {round(float(y.flat[0]), 12) for y in kept} == {0.0, 1.25}
