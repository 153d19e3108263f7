"""The generator on the host is NumPy's of the same seed, made at the first draw."""

import numpy as np
import pytest

from minicnn import rng


@pytest.mark.parametrize("value", [0, 5, 2**63 - 1])
def test_a_seed_gives_numpys_draws(value):
    before = rng.state()
    try:
        rng.seed(value)
        np.testing.assert_array_equal(rng.generator().random(4), np.random.default_rng(value).random(4))
        saved = rng.state()
        next_draws = rng.generator().random(3)
        rng.restore(saved)
        np.testing.assert_array_equal(rng.generator().random(3), next_draws)
    finally:
        rng.restore(before)
