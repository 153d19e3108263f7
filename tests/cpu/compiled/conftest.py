"""What the tests of the compiled kernels share: the same bits for every number of threads, and how close is close."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minicnn.cpu import threads
from minicnn.cpu.compiled import team


@pytest.fixture
def on_threads(monkeypatch):
    """A function: compute() on 1 to 4 threads → the result, once it is known to have the same bits each time."""
    monkeypatch.setattr(team, "MIN_WORK", 0)
    before = threads.num_threads()

    def compute_on(compute):
        results = []
        for count in (1, 2, 3, 4):
            threads.set_num_threads(count)
            found = compute()
            results.append(found if isinstance(found, tuple) else (found,))
        for other in results[1:]:
            for a, b in zip(results[0], other):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
        return results[0] if len(results[0]) > 1 else results[0][0]

    yield compute_on
    threads.set_num_threads(before)


@pytest.fixture
def close():
    """A check: |found − expected| ≤ 2e-6 of the largest expected value, or of `scale`."""
    def check(found, expected, scale=0, tolerance=2e-6):
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        largest = max(scale, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)

    return check
