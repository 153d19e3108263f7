"""Local response normalisation on the GPU path: the definition, and the gradient by loops over the channels."""

import numpy as np
import pytest

from minicnn import reference

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
CASES = [
    ((2, 7, 3, 5), 5, 0.75), ((1, 35, 2), 4, 0.6), ((3, 3, 4), 9, 1.0), ((2, 16, 1), 1, 0.75), ((2, 17, 2, 2), 2, 0.75),
    ((4, 1, 3), 3, 0.5), ((5, 40), 35, 0.75),
]  # fmt: skip


def sums(values, size, mirrored=False):
    """Over the channels c − ⌊n/2⌋ … c + ⌊(n−1)/2⌋, or the other way round."""
    behind, ahead = size // 2, (size - 1) // 2
    if mirrored:
        behind, ahead = ahead, behind
    total = np.zeros_like(values)
    for c in range(values.shape[1]):
        total[:, c] = values[:, max(c - behind, 0) : c + ahead + 1].sum(1)
    return total


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "size", "beta"), CASES)
def test_both_ways(gpu, rng, shape, size, beta, dtype):
    alpha, k = 0.9, 1.5
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    y, s = gpu.local_response_norm(gpu.asarray(x), size, alpha, beta, k)
    dx = gpu.local_response_norm_dx(gpu.asarray(dy), gpu.asarray(x), y, s, size, alpha, beta)
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    exact = reference.local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k, variant="paper")
    scale = k + alpha * sums(x * x, size)
    slope = dy * scale**-beta - 2 * alpha * beta * x * sums(dy * exact / scale, size, mirrored=True)
    for found, expected in ((y, exact), (s, scale), (dx, slope)):
        assert found.dtype == dtype
        np.testing.assert_allclose(gpu.to_numpy(found), expected, rtol=0, atol=TOLERANCE[dtype] * abs(expected).max())


def test_a_large_value_leaves_nothing_behind_when_the_window_has_passed_it(gpu):
    x = np.full((1, 12, 1), 0.01, np.float32)
    x[0, 2] = 3e4                                                  # its square swallows all others in float32
    y, _ = gpu.local_response_norm(gpu.asarray(x), 3, 1.0, 0.75, 1.0)
    exact = reference.local_response_norm(x.astype(np.float64), size=3, alpha=1, variant="paper")
    np.testing.assert_allclose(gpu.to_numpy(y), exact, rtol=1e-5)


def test_arrays_with_gaps(gpu, rng):
    x = rng.standard_normal((2, 4, 12))
    there, dense = gpu.asarray(x).transpose(0, 2, 1)[:, ::2], x.transpose(0, 2, 1)[:, ::2]
    y, s = gpu.local_response_norm(there, 5, 1.0, 0.75, 2.0)
    exact = reference.local_response_norm(dense, size=5, alpha=1.0, beta=0.75, k=2.0, variant="paper")
    np.testing.assert_allclose(gpu.to_numpy(y), exact, rtol=1e-12)
    ones = gpu.xp.broadcast_to(gpu.asarray(np.ones(1)), dense.shape)
    dx = gpu.local_response_norm_dx(ones, there, y, s, 5, 1.0, 0.75)
    scale = 2 + sums(dense * dense, 5)
    expected = scale**-0.75 - 1.5 * dense * sums(exact / scale, 5, mirrored=True)
    np.testing.assert_allclose(gpu.to_numpy(dx), expected, rtol=1e-10, atol=1e-12)


def test_no_images(gpu):
    y, s = gpu.local_response_norm(gpu.asarray(np.zeros((0, 3, 2))), 5, 1.0, 0.75, 2.0)
    assert y.shape == s.shape == (0, 3, 2)
