"""Initial weights: their variances, and which layer draws which."""

import math

import numpy as np

from minicnn import Tensor, nn, no_grad, seed
from minicnn.nn import Sequential, init


def statistics_fit(values, variance, kurtosis):
    """Mean 0 and the variance asked for, each within 4 standard errors. kurtosis: E[x⁴]/σ⁴, 3 normal, 9/5 uniform."""
    n = values.size
    assert values.dtype == np.float32
    assert abs(values.astype(float).mean()) < 4 * math.sqrt(variance / n)
    assert abs((values.astype(float) ** 2).mean() - variance) < 4 * variance * math.sqrt((kurtosis - 1) / n)


FILTERS, MATRIX = (64, 32, 3, 5), (300, 200)                      # fan_in 480 and 200, fan_out 960 and 300


def test_he_normal():
    statistics_fit(init.he_normal(FILTERS), 2 / (32 * 3 * 5), 3)
    statistics_fit(init.he_normal(MATRIX), 2 / 200, 3)
    statistics_fit(init.he_normal(MATRIX, gain=1.0), 1 / 200, 3)
    statistics_fit(init.he_normal_fan_out(FILTERS), 2 / (64 * 3 * 5), 3)


def test_glorot_uniform():
    for shape, fans in ((FILTERS, 480 + 960), (MATRIX, 500)):
        w = init.glorot_uniform(shape)
        bound = math.sqrt(6 / fans)
        assert 0.99 * bound < abs(w).max() <= bound * (1 + 1e-6)
        statistics_fit(w, 2 / fans, 1.8)


def test_lecun_uniform():
    for shape, fan_in in ((FILTERS, 480), (MATRIX, 200)):
        w = init.lecun_uniform(shape)
        bound = 2.4 / fan_in
        assert 0.99 * bound < abs(w).max() <= bound * (1 + 1e-6)
        statistics_fit(w, bound**2 / 3, 1.8)


def test_normal_and_constant():
    statistics_fit(init.normal(MATRIX, 0.01), 1e-4, 3)
    c = init.constant((2, 3), 0.5)
    assert c.dtype == np.float32
    assert (c == 0.5).all()


def test_layers_start_he_normal_with_zero_bias_and_the_seed_decides():
    conv, linear = nn.Conv2d(32, 64, (3, 5), groups=2), nn.Linear(200, 300)
    statistics_fit(conv.weight.data, 2 / (16 * 3 * 5), 3)         # a filter sees the channels of its own group only
    statistics_fit(linear.weight.data, 2 / 200, 3)
    assert not conv.bias.data.any()
    assert not linear.bias.data.any()
    seed(5)
    a = nn.Linear(4, 3).weight.data
    b = nn.Linear(4, 3).weight.data
    seed(5)
    assert np.array_equal(nn.Linear(4, 3).weight.data, a)
    assert not np.array_equal(a, b)


def test_a_deep_relu_net_neither_grows_nor_dies():
    """What he_normal is for (He et al. 2015, §2.2): after 30 layers the signal still has its size."""
    x = Tensor(np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32))
    with no_grad():
        y = Sequential(*[layer for _ in range(30) for layer in (nn.Linear(256, 256), nn.ReLU())])(x)
    assert 0.1 < float((y.data**2).mean()) < 10
