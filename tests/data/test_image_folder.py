"""Folders of pictures: what is read, how it is split, and everything that is refused."""

import os
from collections import Counter

import numpy as np
import pytest

from minicnn import data
from minicnn.data import Files, imagenet, stratified
from tests.data.pictures import make_folder, noise


def refusal(root, error=ValueError, **options):
    with pytest.raises(error) as caught:
        data.ImageFolder(root, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert str(root) in said
    return said


def test_classes_are_folders_in_the_alphabets_order_and_deeper_ones_belong(tmp_path):
    make_folder(tmp_path, {"b": 3, "a": 2, "a/deep/er": 2})
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    (tmp_path / "README.md").write_text("neither")
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / ".DS_Store").write_text("hidden")
    noise(8, 8).save(tmp_path / "a" / "UPPER.JPG", format="JPEG")
    folder = data.ImageFolder(tmp_path, validation=0, test=0)
    assert folder.classes == folder.folders == ("a", "b")
    assert folder.train.names == ("a/000.png", "a/001.png", "a/UPPER.JPG", "a/deep/er/000.png", "a/deep/er/001.png",
                                  "b/000.png", "b/001.png", "b/002.png")  # fmt: skip
    assert folder.train.labels.tolist() == [0] * 5 + [1] * 3
    assert folder.train.labels.dtype == np.int64
    assert folder.train.picture(5) == tmp_path / "b" / "000.png"
    assert sorted(folder.ignored) == ["README.md", "a/notes.txt"]
    assert folder.validation is None
    assert folder.test is None


@pytest.mark.parametrize(("n", "share", "aside"), [(10, 0.3, 3), (10, 0.25, 3), (10, 0.01, 1), (2, 0.1, 1), (3, 0.9, 2),
                                                   (1, 0.5, 0), (7, 0.5, 4)])
def test_the_share_of_each_class(n, share, aside):
    """⌊n·share + ½⌋, at least one of two or more, never all."""
    files = Files("x", tuple(map(str, range(n + 40))), np.array([0] * 40 + [1] * n))
    rest, kept = stratified(files, share, 0, 1)
    assert Counter(kept.labels.tolist())[1] == aside
    assert Counter(rest.labels.tolist())[1] == n - aside
    assert Counter(kept.labels.tolist())[0] == max(1, int(40 * share + 0.5))
    assert sorted(rest.names + kept.names, key=int) == sorted(files.names, key=int)


def test_a_split_is_drawn_from_the_seed_and_the_same_whatever_else_is_asked(tmp_path):
    make_folder(tmp_path, {"a": 20, "b": 10})
    first = data.ImageFolder(tmp_path, test=0.3, validation=0.2, seed=5)
    again = data.ImageFolder(tmp_path, test=0.3, validation=0.2, seed=5)
    other = data.ImageFolder(tmp_path, test=0.3, validation=0.2, seed=6)
    for part in ("train", "validation", "test"):
        assert getattr(first, part).names == getattr(again, part).names
    assert first.test.names != other.test.names
    assert first.test.names == data.ImageFolder(tmp_path, test=0.3, validation=0, seed=5).test.names
    counts = {part: Counter(getattr(first, part).labels.tolist()) for part in ("train", "validation", "test")}
    assert counts == {"train": {0: 10, 1: 5}, "validation": {0: 4, 1: 2}, "test": {0: 6, 1: 3}}
    together = first.train.names + first.validation.names + first.test.names
    assert len(set(together)) == 30
    assert sorted(together) == sorted(first.samples.names)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "valid", "testing")])
def test_folders_of_splits(tmp_path, names):
    make_folder(tmp_path, {f"{split}/{label}": n for split, n in zip(names, (4, 2, 3)) for label in "xy"})
    folder = data.ImageFolder(tmp_path)
    assert folder.classes == ("x", "y")
    assert (len(folder.train), len(folder.validation), len(folder.test)) == (8, 4, 6)
    assert {name.split("/")[0] for name in folder.test.names} == {names[2]}


def test_train_and_val_alone_leave_no_test(tmp_path):
    make_folder(tmp_path, {"train/x": 4, "train/y": 4, "val/x": 1, "val/y": 1})
    folder = data.ImageFolder(tmp_path)
    assert folder.test is None
    assert (len(folder.train), len(folder.validation)) == (8, 2)


def test_train_and_test_alone_have_validation_drawn_from_train(tmp_path):
    make_folder(tmp_path, {"train/x": 10, "train/y": 10, "test/x": 2, "test/y": 2})
    folder = data.ImageFolder(tmp_path, validation=0.2)
    assert Counter(folder.validation.labels.tolist()) == {0: 2, 1: 2}
    assert all(name.startswith("train/") for name in folder.validation.names)
    assert (len(folder.train), len(folder.test)) == (16, 4)


def test_a_class_may_be_called_train(tmp_path):
    make_folder(tmp_path, {"train": 3, "bus": 3})
    assert data.ImageFolder(tmp_path).classes == ("bus", "train")


def test_a_file_of_classes_sets_their_order(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2, "c": 2})
    (tmp_path / "classes.txt").write_text("﻿c\na\n\nb\n", "utf-8")
    folder = data.ImageFolder(tmp_path, test=0, validation=0)
    assert folder.classes == ("c", "a", "b")
    assert folder.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert folder.train.names[0] == "c/000.png"


@pytest.mark.parametrize(("text", "odd"), [("a\nb\n", "'c'"), ("a\nb\nc\nd\n", "'d'"), ("a\nb\nb\nc\n", "'b'")])
def test_a_file_of_classes_that_disagrees(tmp_path, text, odd):
    make_folder(tmp_path, {"a": 2, "b": 2, "c": 2})
    (tmp_path / "classes.txt").write_text(text)
    assert f"classes.txt and the folders differ in {odd}" in refusal(tmp_path)


def test_a_file_of_classes_that_is_no_text(tmp_path):
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00a")
    assert "is not UTF-8 text" in refusal(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"a" * 2**21)
    assert "it may have at most 2^20" in refusal(tmp_path)


# ------------------------------------------------------------------------------------------------------------ bad input


def test_folders_that_are_none_empty_or_of_one_class(tmp_path):
    assert "there is no folder" in refusal(tmp_path / "nowhere", FileNotFoundError)
    (tmp_path / "file").write_text("x")
    assert "there is no folder" in refusal(tmp_path / "file", FileNotFoundError)
    (tmp_path / "empty").mkdir()
    assert "has no pictures in folders" in refusal(tmp_path / "empty")
    flat = tmp_path / "flat"
    flat.mkdir()
    noise(8, 8).save(flat / "a.png")
    assert "put those of each class into a folder" in refusal(flat)
    assert "has one class, 'only'" in refusal(make_folder(tmp_path / "one", {"only": 3}))
    made = make_folder(tmp_path / "hole", {"a": 2, "b": 2, "c": 0, "d": 0})
    assert "has no pictures for the class 'c', 'd'" in refusal(made)


def test_splits_that_do_not_agree(tmp_path):
    made = make_folder(tmp_path / "odd", {"train/x": 2, "train/y": 2, "test/x": 1, "test/z": 1})
    assert "'y', 'z' is a class in test or train, but not in both" in refusal(made) or \
        "'y', 'z' is a class in train or test, but not in both" in refusal(made)
    made = make_folder(tmp_path / "twice", {"train/x": 2, "train/y": 2, "val/x": 1, "valid/x": 1})
    assert "has the folders val and valid, which are the same split" in refusal(made)


def test_links(tmp_path):
    outside = make_folder(tmp_path / "outside", {"z": 2})
    for n, link in enumerate(("a/link.png", "link", "a/deeper")):
        made = make_folder(tmp_path / f"links{n}", {"a": 2, "b": 2})
        target = outside / "z" / "000.png" if link.endswith("png") else outside / "z"
        (made / link).symlink_to(target)
        said = refusal(made)
        assert f"{made / link} is a link out of the folder, to {target.resolve()}" in said
    made = make_folder(tmp_path / "inside", {"a": 2, "b": 2})
    (made / "b" / "same.png").symlink_to(made / "a" / "000.png")
    assert len(data.ImageFolder(made, test=0, validation=0).train) == 5
    (made / "b" / "dead.png").symlink_to(made / "a" / "gone.png")
    assert "is a link to nothing" in refusal(made)
    (made / "b" / "dead.png").unlink()
    (made / "b" / "circle").symlink_to(made)
    assert "is a link to a folder" in refusal(made)
    made = make_folder(tmp_path / "split", {"train/a": 2, "train/b": 2})
    (made / "test").symlink_to(outside)
    assert "is a link out of the folder" in refusal(made)


def test_the_folder_itself_may_be_a_link(tmp_path):
    make_folder(tmp_path / "real", {"a": 2, "b": 2})
    os.symlink(tmp_path / "real", tmp_path / "alias")
    folder = data.ImageFolder(tmp_path / "alias", test=0, validation=0)
    assert len(folder.train) == 4
    assert folder.name == "real"


@pytest.mark.parametrize(("shares", "sentence"), [
    ({"test": 1.0}, r"test \(=1.0\) must be at least 0 and below 1"),
    ({"validation": -0.1}, r"validation \(=-0.1\) must be"),
    ({"validation": 0.5, "test": 0.5}, "must leave something to train on"),
])
def test_shares_that_make_no_sense(tmp_path, shares, sentence):
    make_folder(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=sentence):
        data.ImageFolder(tmp_path, **shares)


# ------------------------------------------------------------------------------------------------------------- ImageNet


def test_imagenets_thousand_labels():
    ids = list(imagenet.labels())
    assert len(ids) == 1000
    assert ids == sorted(ids)
    # the numbers that everybody's ImageNet nets give these pictures
    for index, name, word in ((0, "n01440764", "tench"), (207, "n02099601", "golden retriever"),
                              (281, "n02123045", "tabby"), (967, "n07920052", "espresso"),
                              (999, "n15075141", "toilet tissue")):
        assert ids[index] == name
        assert imagenet.labels()[name].split(",")[0] == word
    assert imagenet.indices(["n02123045", "n01440764"]) == [281, 0]
    titles = list(map(imagenet.class_name, ids))
    assert len(set(titles)) == 1000
    assert titles[134] == "crane (n02012849)"
    assert titles[517] == "crane (n03126707)"
    with pytest.raises(ValueError, match="'tench' is not one of ImageNet's 1000 ids"):
        imagenet.indices(["tench"])


def test_a_folder_in_imagenets_layout_has_names_for_its_classes(tmp_path):
    make_folder(tmp_path, {f"{split}/{name}": 2 for split in ("train", "val") for name in ("n02123045", "n01440764")},
                suffix=".jpg")  # fmt: skip
    folder = data.ImageFolder(tmp_path)
    assert folder.folders == ("n01440764", "n02123045")
    assert folder.classes == ("tench", "tabby")


# ---------------------------------------------------------------------------------------------------------- data.splits


def test_splits_of_a_name_a_folder_and_nothing(tmp_path):
    made = make_folder(tmp_path / "mine", {"a": 10, "b": 10})
    parts = data.load(made, validation=0.2, test=0.3, seed=1)
    assert (parts.name, parts.classes) == ("mine", ("a", "b"))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (10, 4, 6)
    digits = data.load("digits", validation=0.1)
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (4500, 500, 1000)
    assert Counter(digits.validation.labels.tolist()) == dict.fromkeys(range(10), 50)
    with pytest.raises(ValueError, match=r"^unknown dataset 'digit': did you mean 'digits'.*; and there is no folder"):
        data.load("digit")
