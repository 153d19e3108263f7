"""Compiled cross entropy against float64, and against NumPy's where logits are not finite."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled

SHAPES = [(128, 10), (1, 1), (3, 2), (65, 1000), (7, 4099)]


def exact(z, labels, smoothing):
    z = z.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    q = smoothing / z.shape[1] + (1 - smoothing) * (np.arange(z.shape[1]) == labels[:, None])
    return -(q * log_p).sum(1), np.exp(log_p), q


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("spread", [1, 30])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(rng, on_threads, close, shape, spread, smoothing):
    z = (spread * rng.standard_normal(shape) + 50).astype(np.float32)
    labels, dy = rng.integers(0, shape[1], shape[0]), rng.uniform(0, 1, shape[0]).astype(np.float32)
    loss, p, q = exact(z, labels, smoothing)
    for form in (np.ascontiguousarray, np.asfortranarray):
        found, found_p = on_threads(lambda form=form: compiled.cross_entropy(form(z), labels, smoothing))
        close(found, loss, scale=1)
        close(found_p, p)
        dz = on_threads(lambda form=form: compiled.cross_entropy_dx(dy, form(found_p), labels, smoothing))
        close(dz, dy[:, None] * (p - q), scale=1)


@pytest.mark.parametrize("labels", [np.zeros(3, np.int32), np.zeros(3, np.uint8), np.zeros(6, np.int64)[::2]], ids=str)
def test_labels_of_any_integers_and_a_broadcast_dy(rng, labels):
    z = rng.standard_normal((3, 5)).astype(np.float32)
    dy = np.broadcast_to(np.float32(1 / 3), (3,))
    for found, expected in zip(compiled.cross_entropy(z, labels, 0.0), cpu.cross_entropy(z, labels, 0.0)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    p = cpu.cross_entropy(z, labels, 0.0)[1]
    np.testing.assert_allclose(compiled.cross_entropy_dx(dy, p, labels, 0.0),
                               cpu.cross_entropy_dx(dy, p, labels, 0.0), rtol=1e-5, atol=1e-8)  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_special_values_as_numpy(rng, value, smoothing):
    z, labels = rng.standard_normal((4, 11)).astype(np.float32), np.array([0, 3, 5, 10])
    z[1, 3] = z[2, 7] = z[3, 0] = value
    z[0] = -150 * np.arange(11)                                    # probabilities below the smallest float32
    with np.errstate(all="ignore"):
        results = [device.cross_entropy(z, labels, smoothing) for device in (compiled, cpu)]
    for found, expected in zip(*results):                          # NumPy's sums overflow earlier
        np.testing.assert_allclose(np.minimum(found, 1e37), np.minimum(expected, 1e37), rtol=2e-6, atol=1e-7)


def test_the_exponential_down_to_the_smallest_numbers():
    x = -np.linspace(0, 110, 100_001).astype(np.float32)
    p = compiled.cross_entropy(np.stack([np.zeros_like(x), x], 1), np.zeros(len(x), int), 0.0)[1]
    expected = np.exp(x.astype(np.float64)) / (1 + np.exp(x.astype(np.float64)))
    np.testing.assert_allclose(p[:, 1], expected, rtol=3e-7, atol=3e-45)


def test_float64_and_no_rows(rng):
    assert compiled.cross_entropy(rng.standard_normal((3, 4)), np.zeros(3, int), 0.0)[0].dtype == np.float64
