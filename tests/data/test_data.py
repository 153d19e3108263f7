"""Datasets, their file format, the loader and the way in for pictures: values from other sources, and every refusal."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import data
from minicnn.data import dataset_files, idx, mnist
from minicnn.data.digits import FOLDER, make
from minicnn.data.transforms import channel_statistics

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def raw_idx(shape, values, kind=8):
    return struct.pack(">BBBB", 0, 0, kind, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


def needs(name):
    """The dataset, or a skipped test: the big ones are not part of the repository."""
    try:
        return data.load(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


# ------------------------------------------------------------------------------------------------- the datasets by name


def test_the_names_and_the_sentence_for_an_unknown_one():
    assert data.names() == ["digits", "mnist", "fashion-mnist", "cifar-10", "cifar-100"]
    with pytest.raises(ValueError, match=r"unknown dataset 'digit': did you mean 'digits'\? Known: cifar-10"):
        data.load("digit")


def test_digits_has_the_promised_images_of_each_class(digits):
    assert digits.train.images.shape == (5000, 1, 28, 28)
    assert digits.test.images.shape == (1000, 1, 28, 28)
    for dataset, each in ((digits.train, 500), (digits.test, 100)):
        assert dataset.images.dtype == np.uint8
        assert dataset.labels.dtype == np.int64
        assert Counter(dataset.labels.tolist()) == dict.fromkeys(range(10), each)
    assert digits.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_digits_show_what_their_labels_say(digits):
    """Images and labels belong together: the nearest class mean names most test images, not one in ten."""
    means = np.stack([digits.train.images[digits.train.labels == k].mean(0).ravel() for k in range(10)])  # (10, 784)
    test = digits.test.images.reshape(1000, -1).astype(float)
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == digits.test.labels).mean() > 0.75


def test_the_files_of_digits_are_small_and_those_of_the_readme():
    readme = (FOLDER / "README.md").read_text("utf-8")
    rows = re.findall(r"\| `(\S+?)\.gz` \| (\d+) \| (\d+) \| `([0-9a-f]{32})` \|", readme)
    assert [row[0] for row in rows] == list(STEMS)
    assert sum(int(row[1]) for row in rows) <= 1_600_000
    for stem, zipped, plain, md5 in rows:
        content = (FOLDER / f"{stem}.gz").read_bytes()
        assert len(content) == int(zipped)
        assert len(gzip.decompress(content)) == int(plain)
        assert hashlib.md5(gzip.decompress(content)).hexdigest() == md5
        # the header of gzip (RFC 1952) has no name (flags 0) and no time
        assert content[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def evenly_spaced(labels, per_class):
    """The rule of digits/README.md, in plain Python."""
    places = {}
    for place, label in enumerate(labels.tolist()):
        places.setdefault(label, []).append(place)
    return sorted(members[i * len(members) // per_class] for members in places.values() for i in range(per_class))


def test_digits_are_official_images_unchanged_and_in_order(digits):
    whole = needs("mnist")
    for part, all_of_it, per_class in ((digits.train, whole.train, 500), (digits.test, whole.test, 100)):
        chosen = evenly_spaced(all_of_it.labels, per_class)
        np.testing.assert_array_equal(part.images, all_of_it.images[chosen])
        np.testing.assert_array_equal(part.labels, all_of_it.labels[chosen])
        assert 0.48 < np.mean(np.array(chosen) < len(all_of_it) / 2) < 0.52  # both halves of the file alike


@pytest.mark.slow
def test_digits_can_be_made_again_to_the_byte(tmp_path):
    needs("mnist")
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        make.main(folder)
    for stem in STEMS:
        first = (tmp_path / "first" / f"{stem}.gz").read_bytes()
        assert first == (tmp_path / "second" / f"{stem}.gz").read_bytes()
        # the compressed bytes may differ from ours with another version of zlib, what is in them may not
        assert gzip.decompress(first) == gzip.decompress((FOLDER / f"{stem}.gz").read_bytes())


def test_what_making_digits_prints_stands_in_the_readme(digits, tmp_path, monkeypatch, capsys):
    """Made of themselves, all of them are chosen."""
    row = re.compile(r"^\| `([\w-]+)\.gz` \| \d+ \| (\d+) \| `(\w+)` \|$", re.MULTILINE)
    written = row.findall((FOLDER / "README.md").read_text())
    assert len(written) == 4
    monkeypatch.setattr(make, "load_mnist", lambda: digits)
    monkeypatch.setattr(make, "OFFICIAL_MD5", {stem: md5 for stem, _, md5 in written})
    make.main(tmp_path)
    assert row.findall(capsys.readouterr().out) == written


def test_digits_are_not_made_of_other_files_than_the_official_ones(tmp_path, monkeypatch):
    whole = needs("mnist")
    whole.train.images[7, 0, 3, 3] ^= 1
    monkeypatch.setattr(make, "load_mnist", lambda: whole)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: expected MNIST's official file"):
        make.main(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist"])
def test_mean_and_std_are_those_of_the_training_images(name):
    bundle = needs(name)
    x = bundle.train.images[:, 0].astype(np.float32) / np.float32(255)
    assert bundle.mean == pytest.approx([x.mean(dtype=np.float64)], abs=1e-6)
    assert bundle.std == pytest.approx([x.std(dtype=np.float64)], abs=1e-6)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_official_datasets(name):
    bundle = needs(name)
    assert bundle.name == name
    assert (len(bundle.train), len(bundle.test), len(bundle.classes)) == (60000, 10000, 10)
    assert bundle.train.images.shape[1:] == (1, 28, 28)
    # what the published files begin with
    first = {"mnist": "504192", "fashion-mnist": ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress", "T-shirt/top",
                                                  "Pullover", "Sneaker", "Pullover", "Sandal", "Sandal"]}[name]
    assert [bundle.classes[k] for k in bundle.train.labels[:len(first)]] == list(first)


def test_the_names_of_the_clothes_are_those_of_the_fashion_mnist_page():
    page = "0 T-shirt/top  1 Trouser  2 Pullover  3 Dress  4 Coat  5 Sandal  6 Shirt  7 Sneaker  8 Bag  9 Ankle boot"
    assert "  ".join(f"{k} {name}" for k, name in enumerate(mnist.CLOTHES)) == page


def test_channel_statistics_against_numpy():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 4), dtype=np.uint8)
    images[:, 1] //= 3
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)


# --------------------------------------------------------------------------------------------------- MNIST's four files


@pytest.fixture
def tiny_home(tmp_path, monkeypatch):
    """A home of minicnn with a tiny MNIST: 12 + 10 images; two of its files plain, two gzipped."""
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    folder = tmp_path / "datasets" / "mnist"
    folder.mkdir(parents=True)
    for n, images, labels in ((12, STEMS[0], STEMS[1]), (10, STEMS[2], STEMS[3])):
        pixels = np.random.default_rng(n).integers(0, 256, n * 784, dtype=np.uint8).tobytes()
        (folder / images).write_bytes(raw_idx((n, 28, 28), pixels))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(raw_idx((n,), [i % 10 for i in range(n)])))
    return folder


def test_mnist_reads_plain_and_gzipped_files(tiny_home):
    bundle = data.load("mnist")
    pixels = np.random.default_rng(12).integers(0, 256, (12, 1, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(bundle.train.images, pixels)
    assert bundle.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (len(bundle.train), len(bundle.test)) == (12, 10)


def test_missing_files_are_named_with_their_folder_and_source(tiny_home):
    (tiny_home / STEMS[0]).unlink()
    (tiny_home / f"{STEMS[3]}.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist")
    sentence = str(caught.value)
    files = f"{STEMS[0]}.gz, {STEMS[3]}.gz"
    for part in (f"needs {files} in the folder {tiny_home}:", "yann.lecun.com/exdb/mnist", "'digits'", "no download"):
        assert part in sentence
    assert STEMS[1] not in sentence.partition("; the folder holds")[0]
    with pytest.raises(FileNotFoundError, match=r"github\.com/zalandoresearch/fashion-mnist"):
        data.load("fashion-mnist")


def test_the_home_is_the_cache_folder_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("MINICNN_HOME", raising=False)
    assert dataset_files.dataset_folder("mnist") == tmp_path / ".cache" / "minicnn" / "datasets" / "mnist"
    monkeypatch.setenv("MINICNN_HOME", "~/elsewhere")
    assert dataset_files.dataset_folder("cifar-10") == tmp_path / "elsewhere" / "datasets" / "cifar-10"


@pytest.mark.parametrize(("name", "content", "sentence"), [
    (STEMS[0], raw_idx((11, 28, 28), bytes(11 * 784)), r"images-idx3-ubyte holds 11 images, but .*ubyte\.gz 12 labels"),
    (STEMS[0], raw_idx((12, 27, 28), bytes(12 * 27 * 28)), "expected images of 28 × 28 pixels, found 27 × 28"),
    (STEMS[1], raw_idx((12,), [0] * 5 + [10] + [3] * 6), r"idx1-ubyte: expected labels from 0 to 9, found 10 \(image"),
    (STEMS[1], raw_idx((12, 28, 28), bytes(12 * 784)), r"\(labels, 1 axis\), which begins with 00 00 08 01, found"),
])
def test_files_that_are_not_mnists(tiny_home, name, content, sentence):
    (tiny_home / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        data.load("mnist")


# ------------------------------------------------------------------------------------------------------- the IDX format


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda b: gzip.compress(b[:9]) + gzip.compress(b[9:])],
                         ids=["plain", "gzip", "gzip of two members"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 2, 4)])
def test_idx_against_hand_built_bytes(file, pack, shape):
    values = [(7 * i + 250) % 256 for i in range(np.prod(shape))]
    array = idx.read(file(pack(raw_idx(shape, values))), rank=len(shape))
    assert array.dtype == np.uint8
    assert array.shape == shape
    assert array.ravel().tolist() == values
    assert idx.encode(array) == raw_idx(shape, values)


def test_idx_writes_bytes_alone():
    with pytest.raises(TypeError, match="must be uint8, not int64"):
        idx.encode(np.arange(3))


GOOD = raw_idx((2, 3, 4), range(24))
ZIPPED = gzip.compress(GOOD)
CORRUPT = {
    "empty": (b"", "found an empty file"),
    "magic cut": (GOOD[:3], "which begins with 00 00 08 03, found a file that begins with 00 00 08:"),
    "magic": (b"\x89PNG" + GOOD[4:], "found a file that begins with 89 50 4e 47"),
    "text": (b"<!DOCTYPE html>", "found a file that begins with 3c 21 44 4f"),
    "floats": (raw_idx((2, 3, 4), range(24), kind=0x0D), "found a file that begins with 00 00 0d 03"),
    "rank": (raw_idx((24,), range(24)), r"\(images, 3 axes\), which begins with 00 00 08 03, found .* 00 00 08 01"),
    "header cut": (GOOD[:13], "expected a header of 16 bytes, found a file that ends after 13"),
    "header alone": (GOOD[:16], "expected 2 × 3 × 4 = 24 bytes of values, as its header announces, found only 0"),
    "one missing": (GOOD[:-1], "expected 2 × 3 × 4 = 24 bytes of values, as its header announces, found only 23"),
    "one more": (GOOD + b"\0", "expected 2 × 3 × 4 = 24 bytes of values, as its header announces, found more"),
    "no images": (raw_idx((0, 28, 28), b""), "expected at least one value, found a header that announces 0 × 28 × 28"),
    "huge": (raw_idx((2**20, 2**10, 1), b"0") + b"0", "expected 1048576 × 1024 × 1 = 1073741824 bytes .* only 2"),
    "too huge": (raw_idx((2**32 - 1,) * 3, b"0"), "expected at most 1073741824 bytes .* announces 4294967295 × 42949"),
    "gz cut": (ZIPPED[:-9], "expected a whole gzip file, found a damaged one"),
    "gz magic alone": (ZIPPED[:2], "expected a whole gzip file, found a damaged one"),
    "gz checksum": (ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:], "expected a whole gzip file, found a damaged one .*CRC"),
    "gz stream": (ZIPPED[:10] + b"\xff" * 20, "expected a whole gzip file, found a damaged one"),
    "gz tail": (ZIPPED + b"tail", "expected a whole gzip file, found a damaged one"),
    "gz one missing": (gzip.compress(GOOD[:-1]), "found only 23"),
    "gz one more": (gzip.compress(GOOD + b"\0"), "found more"),
    "gz empty": (gzip.compress(b""), "found an empty file"),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_a_damaged_idx_file_is_one_sentence(file, case):
    content, sentence = CORRUPT[case]
    path = file(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        idx.read(path, rank=3)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert str(caught.value).endswith("it is damaged or another file, get it again from where the dataset comes from")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "product"), [((6,), "6"), ((2, 3), "2 × 3 = 6")])
def test_a_damaged_idx_file_of_labels_or_a_table(file, shape, product):
    with pytest.raises(ValueError, match=f"expected {product} bytes of values, as its header announces, found only 5"):
        idx.read(file(raw_idx(shape, range(5))), rank=len(shape))


def test_the_limit_is_exact(file, monkeypatch):
    monkeypatch.setattr(idx, "LIMIT", 24)
    assert idx.read(file(GOOD), rank=3).size == 24
    monkeypatch.setattr(idx, "LIMIT", 23)
    with pytest.raises(ValueError, match="expected at most 23 bytes of values"):
        idx.read(file(GOOD), rank=3)


def peak_of_refusing(path):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected "):
            idx.read(path, rank=3)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_header_that_promises_a_gibibyte_takes_no_memory(file, pack):
    assert peak_of_refusing(file(pack(raw_idx((2**10, 2**10, 2**10), b"few")))) < 8 * 2**20


def test_a_gzip_bomb_is_not_decompressed(file):
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = squeeze.compress(GOOD) + b"".join(squeeze.compress(bytes(2**20)) for _ in range(256)) + squeeze.flush()
    assert len(bomb) < 2**19  # of 256 MiB
    assert peak_of_refusing(file(bomb)) < 8 * 2**20


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_500_random_mutations_give_an_array_or_a_sentence(file, pack):
    good, draw, outcomes = pack(GOOD), np.random.default_rng(5), Counter()
    for _ in range(500):
        content = bytearray(good)
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(len(content)))
            match draw.integers(4):
                case 0:
                    content[place] = draw.integers(256)
                case 1:
                    del content[place + 1:]
                case 2:
                    content[place:place] = draw.bytes(int(draw.integers(1, 9)))
                case 3:
                    content[place] ^= 1 << draw.integers(8)
        try:
            array = idx.read(file(bytes(content)), rank=3)
        except (ValueError, OSError):
            outcomes["refused"] += 1
        else:
            assert array.dtype == np.uint8
            assert array.ndim == 3
            assert idx.encode(array)[16:] == array.tobytes()
            outcomes["read"] += 1
    assert outcomes["refused"] > 100  # the mutations do damage,
    assert outcomes["read"] > 10      # and some leave a valid file


# ------------------------------------------------------------------------------------------ Dataset, Splits, the loader


def numbered(n, channels=1):
    """Image i holds the number i in every pixel, and its label is i: what arrives says where it comes from."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, channels, 2, 3)).copy()
    return data.Dataset(images, np.arange(n, dtype=np.int64))


IMAGES, LABELS = np.zeros((3, 1, 2, 2), np.uint8), np.zeros(3, np.int64)


@pytest.mark.parametrize(("images", "labels", "error", "sentence"), [
    (IMAGES, LABELS[:2], ValueError, "there are 3 images but 2 labels: every image needs exactly one label"),
    (IMAGES.astype(np.float32), LABELS, TypeError, "images must be a NumPy array of uint8, not float32"),
    (IMAGES.tolist(), LABELS, TypeError, "images must be a NumPy array of uint8, not list"),
    (IMAGES, LABELS.astype(np.uint8), TypeError, "labels must be a NumPy array of int64, not uint8"),
    (IMAGES[:, 0], LABELS, ValueError, r"images must have 4 axes \(N, C, H, W\), not 3 \(shape \(3, 2, 2\)\)"),
    (IMAGES, LABELS[:, None], ValueError, r"labels must have 1 axes \(N,\), not 2"),
    (IMAGES[:0], LABELS[:0], ValueError, "a dataset needs at least one image"),
    (IMAGES, np.array([0, -1, 3]), ValueError, r"label -1 \(image 1\) is negative"),
])
def test_a_dataset_that_does_not_fit_together(images, labels, error, sentence):
    with pytest.raises(error, match=sentence):
        data.Dataset(images, labels)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"test": numbered(3, channels=2)}, r"t: training images have shape \(1, 2, 3\), but test images \(2, 2, 3\)"),
    ({"classes": ("a", "b", "c")}, r"t: training label 3 \(image 3\) has no name: there are 3 classes"),
    ({"mean": (0.5, 0.5)}, r"mean has 2 number\(s\), but the images have 1 channel\(s\)"),
    ({"std": ()}, r"std has 0 number\(s\), but the images have 1 channel\(s\)"),
    ({"std": (0.0,)}, r"std \(=0.0\) of channel 0 must be finite and std above 0"),
    ({"mean": (float("nan"),)}, r"mean \(=nan\) .* must be finite"),
])
def test_a_bundle_that_does_not_fit_together(change, sentence):
    good = {"name": "t", "train": numbered(4), "test": numbered(3), "classes": tuple("abcd"),
            "mean": (0.5,), "std": (0.2,)}
    assert len(data.Splits.of_arrays(**good).train) == 4
    with pytest.raises(ValueError, match=sentence):
        data.Splits.of_arrays(**(good | change))


def epoch(batches):
    sizes, seen = [], []
    for images, labels in batches:
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert images.shape == (len(labels), 1, 2, 3)
        assert (images == labels[:, None, None, None]).all()  # every image still has its own label
        sizes.append(len(labels))
        seen += labels.tolist()
    return sizes, seen


@pytest.mark.parametrize(("n", "size", "drop_last", "sizes"), [
    (11, 4, False, [4, 4, 3]), (11, 4, True, [4, 4]), (12, 4, False, [4, 4, 4]), (12, 4, True, [4, 4, 4]),
    (3, 8, False, [3]), (5, 1, False, [1] * 5), (5, 5, True, [5]),
])
def test_batches_in_order(n, size, drop_last, sizes):
    batches = data.Batches(numbered(n), size, shuffle=False, drop_last=drop_last)
    assert len(batches) == len(sizes)
    for _ in range(2):
        assert epoch(batches) == (sizes, list(range(sum(sizes))))


def test_a_shuffled_epoch_gives_every_image_once_in_an_order_of_its_own():
    batches = data.Batches(numbered(50), 8, shuffle=True, rng=np.random.default_rng(1))
    epochs = [epoch(batches) for _ in range(3)]
    for sizes, seen in epochs:
        assert sizes == [8] * 6 + [2]
        assert sorted(seen) == list(range(50))
        assert seen != list(range(50))
    assert len({tuple(seen) for _, seen in epochs}) == 3


def test_shuffles_repeat_from_the_seed():
    def two_epochs(rng=None):
        batches = data.Batches(numbered(30), 7, shuffle=True, rng=rng)
        return [epoch(batches) for _ in range(2)]

    assert two_epochs(np.random.default_rng(3)) == two_epochs(np.random.default_rng(3))
    assert two_epochs(np.random.default_rng(3)) != two_epochs(np.random.default_rng(4))
    minicnn.seed(3)
    first = two_epochs()
    minicnn.seed(3)
    assert two_epochs() == first
    batches = data.Batches(numbered(30), 7, shuffle=True)
    minicnn.seed(3)  # after the object was made: still the seed decides
    assert [epoch(batches) for _ in range(2)] == first


def test_shuffling_leaves_out_other_images_each_epoch():
    batches = data.Batches(numbered(11), 4, shuffle=True, rng=np.random.default_rng(0), drop_last=True)
    assert len({frozenset(range(11)) - set(epoch(batches)[1]) for _ in range(10)}) > 1


@pytest.mark.parametrize("shuffle", [False, True])
def test_what_a_batch_gives_is_a_copy(shuffle):
    dataset = numbered(6)
    for images, labels in data.Batches(dataset, 6, shuffle=shuffle):
        images[:], labels[:] = 99, 99
    assert dataset.labels.tolist() == dataset.images[:, 0, 0, 0].tolist() == list(range(6))


@pytest.mark.parametrize(("size", "options", "error", "sentence"), [
    (0, {}, ValueError, r"batch_size \(=0\) must be at least 1"),
    (-3, {}, ValueError, r"batch_size \(=-3\) must be at least 1"),
    (2.0, {}, TypeError, "batch_size must be an integer, not 2.0"),
    (True, {}, TypeError, "batch_size must be an integer, not True"),
    ("8", {}, TypeError, "batch_size must be an integer, not '8'"),
    (2, {"rng": 7}, TypeError, "rng must be a numpy.random.Generator, not 7"),
    (6, {"drop_last": True}, ValueError, r"leaves no batch: batch_size \(=6\) is larger than .* \(=5 images\)"),
])
def test_batches_that_cannot_be(size, options, error, sentence):
    with pytest.raises(error, match=sentence):
        data.Batches(numbered(5), size, shuffle=True, **options)


# ---------------------------------------------------------------------------------------------------------- normalise


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_normalise_against_the_formula(dtype, tolerance):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    before = images.copy()
    mean, std = (0.1, 0.4, 0.7), (0.2, 0.5, 1.5)
    y = data.normalise(images, mean, std, dtype)
    assert y.dtype == dtype
    assert y.shape == (2, 3, 4, 5)
    for (n, c, h, w), value in np.ndenumerate(images):
        assert y[n, c, h, w] == pytest.approx((int(value) / 255 - mean[c]) / std[c], rel=tolerance, abs=tolerance)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(data.normalise(images[1], mean, std, dtype), y[1])  # one image alone


def test_normalise_gives_float32_of_mean_0_and_deviation_1(digits):
    y = data.normalise(digits.train.images, digits.mean, digits.std)
    assert y.dtype == np.float32
    assert y.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
    assert y.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("arguments", "error", "sentence"), [
    ((np.zeros((1, 1, 2, 2), np.float32), (0.5,), (0.2,)), TypeError, "array of uint8 .*, not float32"),
    (([[[1]]], (0.5,), (0.2,)), TypeError, "array of uint8 .*, not list"),
    ((IMAGES, (0.5,), (0.2,), np.int32), TypeError, "dtype must be a floating type, not int32"),
    ((IMAGES[0, 0], (0.5,), (0.2,)), ValueError, r"axes \(..., C, H, W\), not 2"),
    ((IMAGES, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), ValueError, r"mean has 3 number\(s\), but .* 1 channel\(s\)"),
    ((IMAGES, (0.5,), (0.0,)), ValueError, r"std \(=0.0\) of channel 0"),
])
def test_normalise_refuses(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        data.normalise(*arguments)


# ------------------------------------------------------------------------------------------------------ what it costs


def test_importing_data_does_not_import_pillow():
    code = "import sys, minicnn.data; minicnn.data.load('digits'); print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(minicnn.__file__).parents[1])
    assert done.stdout.strip() == "False"


def test_data_imports_nothing_of_ours_but_names_arguments_locks_rng_pieces_and_readers():
    allowed = re.compile(r"minicnn\.(data|files|foreign|lock|names|piece|rng)\b"
                         r"|minicnn import (arguments|foreign|names|rng)\b")
    for path in Path(data.__file__).parent.rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            if re.match(r"\s*(from|import) minicnn", line):
                assert allowed.search(line), f"{path.name}: {line}"


def test_the_table_of_mnist_names_the_files_that_are_shipped():
    assert mnist.STEMS == STEMS
    assert sorted(path.name for path in FOLDER.glob("*.gz")) == sorted(f"{stem}.gz" for stem in STEMS)
