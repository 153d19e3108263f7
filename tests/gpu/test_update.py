"""The optimisers' steps on the GPU path, in place, against their formulas in float64."""

import numpy as np
import pytest

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
SIZES = [(1,), (3, 5), (1027,)]
sizes, dtypes = pytest.mark.parametrize("shape", SIZES, ids=str), pytest.mark.parametrize("dtype", TOLERANCE)


def close(found, expected, dtype):
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * abs(expected).max())


@dtypes
@sizes
@pytest.mark.parametrize(("momentum", "nesterov", "decay"), [(0, False, 0), (0, False, 0.1), (0.9, False, 0.01),
                                                             (0.9, True, 0.1)])  # fmt: skip
def test_sgd(gpu, rng, shape, momentum, nesterov, decay, dtype):
    w, v = rng.standard_normal((2, *shape)).astype(dtype)
    param, velocity = gpu.asarray(w.copy()), gpu.asarray(v.copy()) if momentum else None
    w, v = w.astype(np.float64), v.astype(np.float64)
    for _ in range(3):
        g = rng.standard_normal(shape).astype(dtype)
        gpu.sgd_update(param, gpu.asarray(g), velocity, lr=0.1, momentum=momentum, nesterov=nesterov,
                       weight_decay=decay)  # fmt: skip
        g = g + decay * w
        if momentum:
            v = momentum * v + g
            g = g + momentum * v if nesterov else v
        w = w - 0.1 * g
    close(gpu.to_numpy(param), w, dtype)
    if momentum:
        close(gpu.to_numpy(velocity), v, dtype)


@dtypes
@sizes
@pytest.mark.parametrize(("decay", "decoupled"), [(0, False), (0.1, False), (0.1, True)])
def test_adam(gpu, rng, shape, decay, decoupled, dtype):
    w = rng.standard_normal(shape).astype(dtype)
    param, first, second = gpu.asarray(w.copy()), gpu.asarray(np.zeros_like(w)), gpu.asarray(np.zeros_like(w))
    w, m, v = w.astype(np.float64), np.zeros(shape), np.zeros(shape)
    lr, b1, b2, eps = 0.01, 0.9, 0.999, 1e-8
    for t in (1, 2, 3):
        g = rng.standard_normal(shape).astype(dtype)
        gpu.adam_update(param, gpu.asarray(g), first, second, lr=lr, beta1=b1, beta2=b2, eps=eps, weight_decay=decay,
                        decoupled=decoupled, step=t)  # fmt: skip
        if decoupled:
            w = w * (1 - lr * decay)
        else:
            g = g + decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    for found, expected in ((param, w), (first, m), (second, v)):
        close(gpu.to_numpy(found), expected, dtype)


def test_the_array_itself_changes_even_where_it_has_gaps(gpu, rng):
    whole, g = rng.standard_normal((4, 6)), rng.standard_normal((6, 2))
    there = gpu.asarray(whole.copy())
    part, velocity = there[::2].transpose(1, 0), gpu.xp.zeros((2, 6)).transpose(1, 0)
    gpu.sgd_update(part, gpu.asarray(g), velocity, lr=0.5, momentum=0.9, nesterov=False, weight_decay=0)
    expected = whole.copy()
    expected[::2] -= 0.5 * g.T
    np.testing.assert_allclose(gpu.to_numpy(there), expected, rtol=1e-12)
    np.testing.assert_allclose(gpu.to_numpy(velocity), g, rtol=1e-12)


def test_a_gradient_that_is_one_number_everywhere(gpu):
    param = gpu.asarray(np.ones((2, 3)))
    gpu.sgd_update(param, gpu.xp.broadcast_to(gpu.asarray(np.array(2.0)), (2, 3)), None, lr=0.25, momentum=0,
                   nesterov=False, weight_decay=0)  # fmt: skip
    np.testing.assert_array_equal(gpu.to_numpy(param), np.full((2, 3), 0.5))
