"""Edges that the other tests of data do not reach."""

import numpy as np
from PIL import Image

from minicnn.data import decode, doctor, duplicates


def test_a_corner_of_a_larger_picture_is_cut_out_and_not_scaled(tmp_path, rng):
    """The box is as large as the image, and begins at 0, 0: nothing has to be filtered, and yet something to be cut."""
    pixels = rng.integers(0, 256, (9, 10, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    found = decode.read(tmp_path / "x.png", lambda width, height: (0, 0, 8, 6), (6, 8), channels=3)
    np.testing.assert_array_equal(found, pixels[:6, :8].transpose(2, 0, 1))


def test_thumbnails_have_256_values_of_mean_0_and_length_1(rng):
    for grey in (rng.integers(0, 256, (32, 32)), np.full((32, 32), 7)):
        small = duplicates.thumbnail(grey.astype(np.uint8)).astype(float)
        assert small.shape == (256,)
        assert abs(small.mean()) < 1e-4
        assert np.linalg.norm(small) == 0 if np.ptp(grey) == 0 else abs(np.linalg.norm(small) - 1) < 1e-3


def test_what_is_odd_about_a_picture_stops_no_training():
    """Only what can't be decoded does."""
    for kind in ("duplicate", "near duplicate", "blank", "huge", "tiny", "narrow", "animated", "rotated"):
        assert not doctor.KINDS[kind][0], kind
    for kind in ("empty", "corrupt", "truncated", "too large"):
        assert doctor.KINDS[kind][0], kind
