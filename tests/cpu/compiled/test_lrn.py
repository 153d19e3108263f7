"""Compiled local response normalisation against the formula in float64."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled
from minicnn.cpu.lrn import channel_band
from tests.cpu.compiled.layouts import in_turns

CASES = [((2, 16, 9, 11), 5, 0.02, 0.75, 2.0), ((3, 7, 4, 5), 4, 0.3, 0.75, 1.0), ((1, 1, 1, 1), 1, 1.0, 0.75, 1.0),
         ((2, 3, 5, 5), 100, 0.5, 0.75, 1.0), ((30, 40), 5, 0.1, 0.75, 1.0),
         ((2, 6, 5, 5), 3, 0.5, 0.5, 1.5)]  # fmt: skip


@in_turns("case", CASES)
def test_lrn(rng, on_threads, close, layout, case):
    shape, size, alpha, beta, k = case
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    band = channel_band(shape[1], size).astype(float)              # (C', C)
    s = k + alpha * np.moveaxis(np.moveaxis(x.astype(float) ** 2, 1, -1) @ band, -1, 1)
    expected = x * s**-beta
    y, found_s = on_threads(lambda: compiled.local_response_norm(layout(x), size, alpha, beta, k))
    close(y, expected)
    close(found_s, s)
    shares = np.moveaxis(np.moveaxis(dy * expected / s, 1, -1) @ band.T, -1, 1)
    dx = on_threads(lambda: compiled.local_response_norm_dx(layout(dy), layout(x), layout(y), layout(found_s), size,
                                                            alpha, beta))  # fmt: skip
    close(dx, dy * s**-beta - 2 * alpha * beta * x * shares)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 0.0])
def test_special_values_as_numpy(rng, value):
    x, dy = rng.standard_normal((2, 2, 8, 3, 3)).astype(np.float32)
    x[1, 3, 1, 2] = value
    with np.errstate(all="ignore"):
        found, expected = (device.local_response_norm(x, 5, 1.0, 0.75, 1.0) for device in (compiled, cpu))
        for a, b in zip(found, expected):
            np.testing.assert_array_equal(np.isnan(a[0]), np.isnan(b[0]))
            np.testing.assert_allclose(a[0], b[0], rtol=2e-6, atol=1e-6)
        np.testing.assert_array_equal(np.isfinite(found[1]), np.isfinite(expected[1]) | np.isfinite(found[1]))
        dx = compiled.local_response_norm_dx(dy, x, *found, 5, 1.0, 0.75)
    assert np.isfinite(dx[0]).all()
    assert np.isfinite(dx[1]).all() == (value == 0)
