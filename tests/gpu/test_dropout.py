"""Dropout masks on the GPU path: bit for bit those of NumPy's Philox, and so of the CPU path."""

import numpy as np
import pytest

from minicnn import cpu


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5,), (2, 3, 7), (1031,), (4, 1024)])
@pytest.mark.parametrize(("seed", "draw"), [(0, 1), (1, 0), (2**63 - 1, 2**40 + 3), (123456789, 7)])
def test_the_mask_is_numpys_philox(gpu, shape, seed, draw):
    mask = gpu.dropout_mask(shape, 0.3, seed, draw)
    size = int(np.prod(shape))
    words = np.random.Philox(key=[seed, 0], counter=[0, 0, draw, 0]).random_raw(size)
    expected = (words >> np.uint64(11)) >= np.uint64(round(0.3 * 2**53))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(gpu.to_numpy(mask), expected.reshape(shape))
    np.testing.assert_array_equal(gpu.to_numpy(mask), cpu.dropout_mask(shape, 0.3, seed, draw))


@pytest.mark.parametrize("p", [0, 2.0**-53, 0.1, 0.5, 1 - 2.0**-53])
def test_any_share(gpu, p):
    mask = gpu.to_numpy(gpu.dropout_mask((999,), p, 5, 2))
    np.testing.assert_array_equal(mask, cpu.dropout_mask((999,), p, 5, 2))
    assert p or mask.all()


def test_more_values_than_the_grid_has_threads(gpu, monkeypatch):
    monkeypatch.setattr("minicnn.gpu.dropout.FULL_GRID_BLOCKS", 2)           # 2 · 256 threads of 4 values
    np.testing.assert_array_equal(
        gpu.to_numpy(gpu.dropout_mask((5001,), 0.5, 3, 4)), cpu.dropout_mask((5001,), 0.5, 3, 4)
    )


def test_masks_of_nothing(gpu):
    assert gpu.dropout_mask((0, 4), 0.5, 1, 1).shape == (0, 4)


@pytest.mark.parametrize("start", [1, 2, 3, 4, 7, 1030])
def test_a_part_of_a_mask_is_that_of_the_whole(gpu, start):
    whole = gpu.to_numpy(gpu.dropout_mask((1500,), 0.4, 9, 6))
    np.testing.assert_array_equal(gpu.to_numpy(gpu.dropout_mask((19, 11), 0.4, 9, 6, start)).ravel(),
                                  whole[start : start + 209])  # fmt: skip
