"""Compiled dropout masks: bit for bit those of NumPy's generator."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 1), (5, 7), (), (0, 3), (2, 3, 50, 41), (9, 8192)], ids=str)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999999])
def test_the_same_bits(on_threads, shape, p):
    for seed, draw in ((0, 0), (1, 5), (2**64 - 1, 2**63), (2**127 + 12345, 2**100 + 7)):
        found = on_threads(lambda seed=seed, draw=draw: compiled.dropout_mask(shape, p, seed, draw))
        expected = cpu.dropout_mask(shape, p, seed, draw)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, expected)


def test_a_word_at_the_threshold_is_kept():
    words = np.random.Generator(np.random.Philox(key=3, counter=5 << 128)).random(8)
    for i, p in enumerate(words):
        assert compiled.dropout_mask((8,), p, 3, 5)[i]
        assert not compiled.dropout_mask((8,), p + 2.0**-53, 3, 5)[i]


@pytest.mark.parametrize(("seed", "draw"), [(-1, 0), (2**128, 0)])
def test_seeds_that_numpy_refuses(seed, draw):
    with pytest.raises(ValueError, match="key"):
        compiled.dropout_mask((4,), 0.5, seed, draw)


@pytest.mark.parametrize("start", [1, 2, 3, 4, 7, 8191, 2**34 + 5])
def test_a_part_of_a_mask(on_threads, start):
    words = np.random.Philox(key=9, counter=(6 << 128) + start // 4).random_raw(start % 4 + 9000)[start % 4 :]
    expected = (words >> np.uint64(11)) >= np.uint64(round(0.4 * 2**53))
    for backend in (compiled, cpu):
        found = on_threads(lambda backend=backend: backend.dropout_mask((90, 100), 0.4, 9, 6, start))
        np.testing.assert_array_equal(found.ravel(), expected)
