"""One record for every dataset: its splits, what they hold by number, what they print, and its fingerprint."""

import os

import numpy as np
import pytest
from PIL import Image

from minicnn import data
from minicnn.data import Dataset, Preprocessing, Splits, Transform

DIGITS = data.load("digits")


def folder_of(where, count=6, classes=("a", "b")):
    rng = np.random.default_rng(0)
    for name in classes:
        (where / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).save(where / name / f"{i}.png")
    return where


def test_a_name_and_a_folder_give_the_same_kind_of_record(tmp_path):
    named, folder = data.load("digits", validation=0.1), data.load(folder_of(tmp_path / "mine"), test=0.3)
    for splits in (named, folder):
        assert isinstance(splits, Splits)
        assert isinstance(splits.preprocessing, Preprocessing)
        assert splits.train.labels.dtype == np.int64
    assert repr(named) == "<digits: 4,500 training, 500 validation, 1,000 test images of 1×28×28, 10 classes>"
    assert repr(folder) == "<mine: 8 training, 4 test images of 3×224×224, 2 classes>"
    assert (named.in_memory, folder.in_memory) == (True, False)
    assert (named.augment, folder.augment) == ("pad-crop:2", "random-resized flip")
    again = named.with_preprocessing(Preprocessing((32, 32), (0.5,), (0.2,), channels=1))
    assert (again.mean, again.std, again.train) == ((0.5,), (0.2,), named.train)
    assert named.mean == DIGITS.mean != again.mean


def test_images_by_number_slice_and_list(tmp_path):
    train = DIGITS.train
    image, label = train[3]
    np.testing.assert_array_equal(image, train.images[3])
    assert (type(label), label) == (int, train.labels[3])
    np.testing.assert_array_equal(train[-1][0], train.images[len(train) - 1])
    assert train[10:16:2].labels.tolist() == train.labels[[10, 12, 14]].tolist()
    np.testing.assert_array_equal(train[[5, 2]].images, train.images[[5, 2]])
    np.testing.assert_array_equal(train[train.labels == 7].labels, np.full(500, 7))
    assert [label for _, label in train[:4]] == train.labels[:4].tolist()
    for index in (5000, -5001):
        with pytest.raises(IndexError, match=r"there is no picture -?500\d: there are 5000, counted from 0"):
            train[index]
    files = data.load(folder_of(tmp_path / "mine"), test=0).train
    image, label = files[7]
    np.testing.assert_array_equal(image, np.asarray(Image.open(tmp_path / "mine" / files.names[7])).transpose(2, 0, 1))
    assert label == 1
    assert (repr(files), repr(files[:3])) == ("<Files: 12 images, 2 classes>", "<Files: 3 images, 1 classes>")


def test_an_image_of_a_file_stands_upright(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    for name in "ab":
        (tmp_path / name).mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6                                             # to be turned by 90° clockwise
        Image.fromarray(pixels).save(tmp_path / name / "x.png", exif=exif)
    image, _ = data.load(tmp_path, test=0).train[0]
    np.testing.assert_array_equal(image, np.rot90(pixels, -1).transpose(2, 0, 1))


def test_batches_and_loaders_say_what_they_are():
    assert repr(data.Batches(DIGITS.test, 64, shuffle=True)) == (
        "<Batches: 16 of 64, shuffled, from <Dataset: 1,000 images of 1×28×28, 10 classes>>")
    assert repr(DIGITS.loader(DIGITS.test, 64)) == (
        "<Loader: 16 batches of 64, 0 workers, from <Dataset: 1,000 images of 1×28×28, 10 classes>>")


def test_what_is_shown_is_what_the_net_gets():
    batch = next(iter(DIGITS.loader(DIGITS.train, 5)))
    axes = [ax for ax in DIGITS.show(batch, count=3).axes if ax.images]
    assert [ax.get_title() for ax in axes] == [str(k) for k in batch.labels[:3]]
    for ax, image in zip(axes, DIGITS.train.images):
        np.testing.assert_allclose(ax.images[0].get_array(), image[0] / 255, atol=1e-6)
    assert sum(bool(ax.images) for ax in DIGITS.show(count=9).axes) == 9
    extreme = DIGITS.show((np.array([[[[-99.0, 99.0]]]], np.float32), [3])).axes[0].images[0].get_array()
    assert extreme.tolist() == [[0, 1]], "what augmentation makes of it may lie outside"


def test_showing_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"^pictures need matplotlib: install it with `pip install "):
        DIGITS.show()


# --------------------------------------------------------------------------------------------------------- fingerprint


def test_a_fingerprint_changes_with_every_pixel_label_and_name(tmp_path):
    first = data.load("digits", validation=0.1).fingerprint
    assert data.load("digits", validation=0.1).fingerprint == first
    assert data.load("digits", validation=0.1, seed=1).fingerprint != first
    images, labels = DIGITS.train.images[:20].copy(), DIGITS.train.labels[:20].copy()
    small = Splits.of_arrays("x", Dataset(images, labels), None, "0123456789", (0.5,), (0.5,))
    before = small.fingerprint
    images[13, 0, 5, 5] ^= 1
    other = small.with_preprocessing(small.preprocessing)
    assert (other.fingerprint != before, other.names_fingerprint == small.names_fingerprint) == (True, True)
    labels[13] ^= 1
    third = small.with_preprocessing(small.preprocessing)
    assert (third.fingerprint != other.fingerprint, third.names_fingerprint != other.names_fingerprint) == (True, True)
    where = folder_of(tmp_path / "mine")
    named = data.load(where, test=0)
    before = named.fingerprint, named.names_fingerprint
    (where / "a" / "3.png").rename(where / "a" / "30.png")           # still in the same place of the order
    renamed = data.load(where, test=0)
    assert np.array_equal(named.train.labels, renamed.train.labels)
    assert (renamed.fingerprint != before[0], renamed.names_fingerprint != before[1]) == (True, True)


def test_a_fingerprint_of_files_sees_changed_bytes_under_an_old_name_size_and_time(tmp_path):
    where = folder_of(tmp_path / "mine")
    before, path = data.load(where).fingerprint, where / "a" / "3.png"
    content, times = bytearray(path.read_bytes()), os.stat(path)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert data.load(where).fingerprint != before


def test_of_much_data_size_beginning_and_end_are_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr(data.splits, "HASHED", 1)                    # 64 bytes of each end then
    where = folder_of(tmp_path / "mine")
    path = where / "a" / "3.png"
    whole = path.read_bytes()
    before = data.load(where, test=0).fingerprint
    for content, differs in ((b"\0" + whole[1:], True), (whole[:-1] + b"\0", True), (whole + b"\0", True),
                             (whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], False)):
        path.write_bytes(content)
        assert (data.load(where, test=0).fingerprint != before) == differs


@pytest.mark.parametrize(("size", "whole"), [(128, True), (129, False)])
def test_files_of_which_both_ends_are_all_need_no_stamp(tmp_path, monkeypatch, size, whole):
    monkeypatch.setattr(data.splits, "HASHED", 1)                    # 64 bytes of each end then
    where = folder_of(tmp_path / "mine")
    for path in where.glob("*/*.png"):
        path.write_bytes(bytes(size))
    assert (data.load(where, test=0).stamp == "") == whole


# -------------------------------------------------------------------------------------------------------------- margin


@pytest.mark.parametrize(("size", "margin"), [((32, 32), (4, 4)), ((31, 30), (3, 2)), ((36, 29), (8, 1))])
def test_a_margin_puts_background_around_the_pixels_and_changes_none(size, margin):
    prepare = Preprocessing(size, (0.1,), (0.3,), channels=1, background=(0, 0, 0), margin=margin)
    image = DIGITS.train.images[0]
    expected = np.zeros((1, *size), np.uint8)
    top, left = margin[0] // 2, margin[1] // 2
    expected[:, top : top + 28, left : left + 28] = image
    np.testing.assert_array_equal(prepare.read(image), expected)
    assert prepare.inner == (1, 28, 28)
    images, _ = Transform(prepare)([image], np.zeros(1, int), np.random.default_rng(0))
    np.testing.assert_array_equal(images, prepare.normalise(expected[None]))
    assert Preprocessing.from_dict(prepare.to_dict()) == prepare


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_larger_picture_is_fitted_inside_the_margin(fit):
    large = np.repeat(np.repeat(DIGITS.train.images[0], 3, 1), 3, 2)  # 84 × 84
    framed = Preprocessing((32, 32), (0.1,), (0.3,), channels=1, background=(0, 0, 0), margin=(4, 4), fit=fit)
    plain = Preprocessing((28, 28), (0.1,), (0.3,), channels=1, background=(0, 0, 0), fit=fit)
    read = framed.read(large)
    np.testing.assert_array_equal(read[:, 2:30, 2:30], plain.read(large))
    assert read.sum() == read[:, 2:30, 2:30].sum()


@pytest.mark.parametrize("margin", [(4,), (4, 32), (-1, 0), (1.0, 1), "44", (True, 1)])
def test_a_margin_that_makes_no_sense(margin):
    with pytest.raises(ValueError, match=r"^margin \(=.*\) must be \(rows, columns\), two integers from 0 on and"):
        Preprocessing((32, 32), (0.1,), (0.3,), channels=1, margin=margin)
