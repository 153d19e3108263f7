"""Batch normalisation: its running statistics in training and in use."""


import numpy as np
import pytest

from minicnn import Tensor, nn, reference
from minicnn.ops.batch_norm import batch_norm_inference


def test_running_statistics_follow_the_textbook_recurrence(rng):
    layer = nn.BatchNorm2d(3)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(7):
        x = rng.normal(rng.normal(), 2, (4, 3, 5, 2)).astype(np.float32)
        layer(Tensor(x))
        for c in range(3):
            values = [float(v) for v in x[:, c].ravel()]
            mu = sum(values) / 40
            mean[c] = 0.9 * mean[c] + 0.1 * mu
            var[c] = 0.9 * var[c] + 0.1 * sum((v - mu) ** 2 for v in values) / 39
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.data, var, rtol=2e-6)


def test_momentum_is_the_weight_of_the_new_batch(rng):
    x = rng.standard_normal((5, 2, 3, 3))
    layer = nn.BatchNorm2d(2, momentum=1.0).astype("float64")
    layer(Tensor(x))
    np.testing.assert_allclose(layer.running_mean.data, x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, x.var((0, 2, 3), ddof=1), rtol=1e-12)


def test_in_use_the_running_statistics_count_and_stay(rng):
    layer = nn.BatchNorm2d(3)
    for _ in range(3):
        layer(Tensor(rng.normal(3, 2, (4, 3, 2, 2)).astype(np.float32)))
    mean, var = layer.running_mean.data.copy(), layer.running_var.data.copy()
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    y = layer.eval()(Tensor(x))
    np.testing.assert_allclose(
        y.data, reference.batch_norm_inference(x, layer.weight.data, layer.bias.data, mean, var), rtol=1e-4, atol=1e-5)
    assert np.array_equal(layer.running_mean.data, mean)
    assert np.array_equal(layer.running_var.data, var)
    single = layer(Tensor(x[:1, :, :1, :1]))             # one value a channel is no statistic, but can be used on
    np.testing.assert_allclose(single.data, y.data[:1, :, :1, :1], rtol=1e-5)


def test_frozen_it_uses_the_running_statistics_in_training_and_leaves_them(rng):
    layer = nn.BatchNorm2d(3).astype("float64")
    layer.running_mean.data, layer.running_var.data = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    layer.weight.data = rng.standard_normal(3)
    mean, var = layer.running_mean.data.copy(), layer.running_var.data.copy()
    assert layer.freeze() is layer
    x, dy = Tensor(rng.standard_normal((4, 3, 2, 5)), True), rng.standard_normal((4, 3, 2, 5))
    y = layer.train()(x)
    y.backward(dy)
    assert np.array_equal(layer.running_mean.data, mean)
    assert np.array_equal(layer.running_var.data, var)

    scale = (layer.weight.data / np.sqrt(var + 1e-5)).reshape(1, 3, 1, 1)
    xhat = (x.data - mean.reshape(1, 3, 1, 1)) / np.sqrt(var + 1e-5).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(x.grad, dy * scale, rtol=1e-12)  # the statistics do not depend on x
    np.testing.assert_allclose(layer.weight.grad, (dy * xhat).sum((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, dy.sum((0, 2, 3)), rtol=1e-12)

    again = Tensor(x.data, True)
    expected = batch_norm_inference(again, layer.weight.data, layer.bias.data, mean, var)
    expected.backward(dy)
    assert np.array_equal(y.data, expected.data)
    assert np.array_equal(x.grad, again.grad)

    layer.freeze(False)(Tensor(x.data))
    assert not np.array_equal(layer.running_mean.data, mean)


def test_running_statistics_get_no_gradient_and_no_optimiser():
    layer = nn.BatchNorm2d(2)
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(nn.BatchNorm2d(2, affine=False).state_dict()) == ["running_mean", "running_var"]
    layer.eval()(Tensor(np.ones((2, 2, 1, 1), np.float32), True)).sum().backward()
    assert layer.running_mean.grad is None
    assert layer.running_var.grad is None


@pytest.mark.parametrize("momentum", [0.1, np.float64(0.1)])
def test_batch_norm_keeps_float32(rng, momentum):
    layer = nn.BatchNorm2d(2, momentum=momentum)
    y = layer(Tensor(rng.standard_normal((3, 2, 2, 2)).astype(np.float32)))
    assert {y.dtype, layer.running_mean.dtype, layer.running_var.dtype} == {np.dtype("float32")}
    assert layer.eval()(Tensor(np.ones((1, 2, 2, 2), np.float32))).dtype == np.float32


def test_statistics_of_one_value_are_refused():
    with pytest.raises(ValueError, match="statistics need at least 2: use a larger batch, or eval"):
        nn.BatchNorm2d(3)(Tensor(np.ones((1, 3, 1, 1), np.float32)))
