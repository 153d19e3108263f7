"""Edges that the other tests of data do not reach."""

import numpy as np
import pytest
from PIL import Image

from minicnn import data
from minicnn.data import augment, decode, doctor, duplicates


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


def test_the_doctor_reads_short_names_and_no_hidden_ones(tmp_path, rng):
    (tmp_path / "a").mkdir()
    for name in ("x.png", ".y.png", "z.w.png"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "a" / name)
    assert [finding.name for finding in doctor.examine(tmp_path).findings] == ["a/x.png", "a/z.w.png"]


def test_a_picture_is_blank_within_two_grey_values(tmp_path):
    (tmp_path / "a").mkdir()
    for range_ in (2, 3):
        grey = np.full((32, 32), 100, np.uint8)
        grey[:16] += range_
        Image.fromarray(grey).save(tmp_path / "a" / f"{range_}.png")
    blank = {f.name: "blank" in f.kinds for f in doctor.examine(tmp_path).findings}
    assert blank == {"a/2.png": True, "a/3.png": False}


def test_a_side_of_31_pixels_is_tiny_and_more_than_4_times_as_long_is_narrow(tmp_path, rng):
    (tmp_path / "a").mkdir()
    for width, height in ((31, 40), (32, 40), (40, 160), (40, 161)):
        grey = rng.integers(0, 256, (height, width)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "a" / f"{height}.{width}.png")
    kinds = {f.name: f.kinds for f in doctor.examine(tmp_path).findings}
    assert kinds == {"a/40.31.png": ["tiny"], "a/40.32.png": [], "a/160.40.png": [], "a/161.40.png": ["narrow"]}


def test_a_folder_of_pictures_is_a_class_even_if_it_has_the_name_of_a_split(tmp_path, rng):
    for name in ("train/x.png", "train/a/y.png", "b/z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / name)
    found = {f.name: (f.split, f.label) for f in doctor.examine(tmp_path).findings}
    assert found == {"train/x.png": ("", "train"), "train/a/y.png": ("train", "a"), "b/z.png": ("", "b")}


def test_lighting_beyond_its_range_is_refused():
    with pytest.raises(ValueError, match="lighting"):
        augment.parse("lighting:11")


def test_a_loader_begins_at_the_first_batch_without_workers(rng):
    images = data.Dataset(rng.integers(0, 256, (9, 1, 4, 4)).astype(np.uint8), np.arange(9) % 2)
    transform = data.Transform(data.Preprocessing((4, 4), (0.5,), (0.5,), channels=1))
    loader = data.Loader(images, 4, transform=transform)
    assert (loader.seed, loader.epoch, loader.batch, loader.workers, loader.prefetch) == (0, 0, 0, 0, 2)
