"""Softmax and cross entropy on the GPU path, against NumPy in float64."""

import numpy as np
import pytest

from minicnn import reference

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
SIZES = [(1, 1), (1, 10), (5, 2), (7, 33), (3, 1000), (130, 5)]


def exact(logits, labels, smoothing):
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    q = np.full(z.shape, smoothing / z.shape[1])
    q[np.arange(len(z)), labels] += 1 - smoothing
    return -(q * log_p).sum(1), np.exp(log_p), q


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize(("N", "K"), SIZES)
def test_loss_and_gradient(gpu, rng, N, K, smoothing, dtype):
    logits, labels = (5 * rng.standard_normal((N, K))).astype(dtype), rng.integers(0, K, N)
    dy = rng.standard_normal(N).astype(dtype)
    loss, p = gpu.cross_entropy(gpu.asarray(logits), gpu.asarray(labels), smoothing)
    dlogits = gpu.cross_entropy_dx(gpu.asarray(dy), p, gpu.asarray(labels), smoothing)
    loss_, p_, q = exact(logits, labels, smoothing)
    for found, expected in ((loss, loss_), (p, p_), (dlogits, dy[:, None].astype(np.float64) * (p_ - q))):
        assert found.dtype == dtype
        np.testing.assert_allclose(gpu.to_numpy(found), expected, rtol=0,
                                   atol=TOLERANCE[dtype] * max(1e-3, abs(expected).max()))  # fmt: skip


def test_the_mean_loss_is_the_definition(gpu, rng):
    logits, labels = rng.standard_normal((4, 6)), rng.integers(0, 6, 4)
    for smoothing in (0, 0.2):
        loss, _ = gpu.cross_entropy(gpu.asarray(logits), gpu.asarray(labels), smoothing)
        expected = reference.cross_entropy(logits, labels, label_smoothing=smoothing)
        np.testing.assert_allclose(gpu.to_numpy(loss).mean(), expected, rtol=1e-12)


def test_huge_logits_stay_finite(gpu):
    logits = np.array([[1e30, -1e30, 0], [1e4, 1e4, 1e4], [-np.inf, 0, 0]], np.float32)
    loss, p = map(gpu.to_numpy, gpu.cross_entropy(gpu.asarray(logits), gpu.asarray(np.array([0, 1, 2])), 0))
    np.testing.assert_allclose(loss, [0, np.log(3), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(p, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_kind_and_logits_with_gaps(gpu, rng, kind):
    logits, labels = rng.standard_normal((8, 6)), np.array([3, 0, 2, 1], kind)
    there = gpu.asarray(logits)[::2, 1:5]
    loss, p = gpu.cross_entropy(there, gpu.asarray(labels), 0.1)
    loss_, p_, q = exact(logits[::2, 1:5], labels, 0.1)
    np.testing.assert_allclose(gpu.to_numpy(loss), loss_, rtol=1e-12)
    dy = gpu.xp.broadcast_to(gpu.asarray(np.array(0.25)), (4,))
    np.testing.assert_allclose(gpu.to_numpy(gpu.cross_entropy_dx(dy, p, gpu.asarray(labels), 0.1)), 0.25 * (p_ - q),
                               atol=1e-15)  # fmt: skip


def test_no_rows(gpu):
    loss, p = gpu.cross_entropy(gpu.asarray(np.zeros((0, 4))), gpu.asarray(np.zeros(0, int)), 0)
    assert (loss.shape, p.shape) == ((0,), (0, 4))
    assert gpu.cross_entropy_dx(loss, p, gpu.asarray(np.zeros(0, int)), 0).shape == (0, 4)
