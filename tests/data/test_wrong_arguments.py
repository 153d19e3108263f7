"""Wrong types and places given to data: one sentence each, which names the value and the rule."""

import numpy as np
import pytest

from minicnn import data
from minicnn.data import augment, contact_sheet, doctor, registry, shards
from minicnn.data.transforms import channel_statistics, ten_crop

IMAGES = np.zeros((2, 1, 8, 8), np.uint8)
PREPARE = data.Preprocessing((8, 8), (0.5,), (0.5,), channels=1)


@pytest.mark.parametrize("read", [data.ImageFolder, data.ShardFolder, doctor.examine,
                                  lambda path: data.read_image(path, 1, (8, 8)), PREPARE.read])  # fmt: skip
@pytest.mark.parametrize("path", [None, 3])
def test_a_path_that_is_none(read, path):
    with pytest.raises(TypeError, match=f"^a path must be text or a pathlib.Path, not {path}$"):
        read(path)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda path: data.ImageFolder(path, validation="x"), r"validation \(='x'\) must be at least 0 and below 1"),
    (lambda path: data.ImageFolder(path, seed=-1), r"seed \(=-1\) must be at least 0"),
    (lambda path: doctor.examine(path, workers=-1), r"workers \(=-1\) must be at least 0"),
    (lambda path: data.read_image(path / "a", 1, (8, 8), "a"), r"resize \(='a'\) must be at least"),
    (lambda path: data.normalise(IMAGES, 0.5, 0.5), r"mean \(=0.5\) must be a list of 1 number\(s\)"),
    (lambda path: data.normalise(IMAGES, ("a",), (1,)), r"mean \(=\('a'\)\) must be a list of 1 number\(s\)"),
    (lambda path: ten_crop(IMAGES, 3), r"size \(=3\) must be \(height, width\)"),
    (lambda path: ten_crop(IMAGES[0], (3, 3)), r"images must be an array with the axes \(N, C, H, W\), not uint8"),
    (lambda path: channel_statistics(IMAGES / 255), r"images must be an array uint8 .*, not float64 \(2, 1, 8, 8\)"),
    (lambda path: channel_statistics(IMAGES[:0]), r"images must be an array uint8 .*, not uint8 \(0, 1, 8, 8\)"),
    (lambda path: data.Transform(PREPARE, [3]), "3 is not a step of an augmentation: use one of random-resized"),
    (lambda path: registry.info([]), "unknown dataset"),
    (lambda path: contact_sheet.draw([("a", [contact_sheet.Cell(None, "a")])], path / "x.txt"), "such as sheet.png"),
])
def test_values(call, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        call(tmp_path)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: augment.parse(3), "an augmentation must be words, such as 'flip pad-crop:4', not 3"),
    (lambda: data.Transform(PREPARE, 3), "an augmentation must be words"),
    (lambda: data.Transform("imagenet"), "preprocessing must be a Preprocessing, not 'imagenet'"),
    (lambda: data.Batches([1, 2], 2, shuffle=True), r"dataset must have images and labels, .* not \[1, 2\]"),
    (lambda: data.Loader(3, 2, transform=data.Transform(PREPARE)), "dataset must have picture and labels, .* not 3"),
    (lambda: data.Loader(data.Dataset(IMAGES, np.zeros(2, np.int64)), 2, transform=3), "transform must be a function"),
    (lambda: list(shards.pack("folder", "out")), "folder must be a ImageFolder, not 'folder'"),
])
def test_types(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_a_transform_says_what_it_does():
    text = repr(data.Transform(PREPARE, "flip"))
    assert "size=(8, 8)" in text
    assert "augment='flip:0.5'" in text
