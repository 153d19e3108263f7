"""Where corrected pictures go: as they came, under their content's name, into folders that exist, over nothing."""

import hashlib
import os

import numpy as np
import pytest

from minicnn import data
from minicnn.app import filing
from minicnn.app.filing import Corrections
from minicnn.data.folder import CORRECTED
from tests.app.conftest import noise, png


@pytest.fixture
def beside(tmp_path):
    return Corrections.beside(tmp_path / "best.safetensors", 3)


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif"),
                                              ("BMP", "bmp"), ("TIFF", "tif")])
def test_a_picture_is_stored_as_it_came_under_the_name_of_its_content(beside, tmp_path, kind, ending):
    content = png(noise(), kind)
    filed = beside.file(content, 2)
    name = f"corrections/2/corrected-{hashlib.sha256(content).hexdigest()[:24]}.{ending}"
    assert tree(tmp_path) == [name]
    assert filed.path.read_bytes() == content
    assert beside.pictures().labels.tolist() == [2]
    assert beside.count == 1
    beside.undo(filed)
    assert os.listdir(tmp_path / "corrections") == []
    assert beside.pictures() is None
    assert beside.count == 0


def test_the_same_picture_is_filed_once_and_moved_to_another_class(beside, tmp_path):
    first = beside.file(png(noise()), 0)
    again = beside.file(png(noise()), 0)
    assert again.before == again.path == first.path
    beside.undo(again)                                     # it was there before: it stays
    assert tree(tmp_path) == [first.path.relative_to(tmp_path).as_posix()]
    moved = beside.file(png(noise()), 1)
    assert beside.pictures().labels.tolist() == [1]
    beside.undo(moved)
    assert beside.pictures().labels.tolist() == [0]
    assert beside.count == 1


def test_an_existing_file_is_never_overwritten(beside, tmp_path):
    content = png(noise())
    there = tmp_path / "corrections" / "1" / f"corrected-{hashlib.sha256(content).hexdigest()[:24]}.png"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    beside.file(content, 1)
    assert there.read_bytes() == b"mine"


def test_what_is_no_picture_and_what_is_too_much_is_refused(beside, tmp_path, monkeypatch):
    for content in (b"<svg/>", b""):                      # one that is damaged later was refused when it was shown
        with pytest.raises(ValueError):
            beside.file(content, 0)
    with pytest.raises(ValueError, match="has no folder for this class"):
        beside.file(png(noise()), 3)
    assert tree(tmp_path) == []
    monkeypatch.setattr(filing, "MOST", 2)
    for seed in range(2):
        beside.file(png(noise(seed)), 0)
    with pytest.raises(ValueError, match="the most that the app files"):
        beside.file(png(noise(9)), 0)
    beside.file(png(noise(1)), 2)                          # moved, not more


def test_a_link_in_the_place_of_a_folder_is_refused(beside, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "corrections").mkdir()
    (tmp_path / "corrections" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is not a folder"):
        beside.file(png(noise()), 0)
    assert os.listdir(tmp_path / "elsewhere") == []


def names_of(folder):
    return {split: set(getattr(folder, split).names) for split in ("train", "validation", "test")}


def test_in_a_folder_of_pictures_the_class_has_its_folder_and_the_draw_of_splits_stays(run, tmp_path):
    folder = data.ImageFolder(tmp_path / "pictures", validation=0.2, test=0.3)
    before = names_of(folder)
    mine = Corrections.inside(folder, ["stripes", "discs", "other"])        # the model's order is another
    filed = [mine.file(png(noise(seed)), seed % 2) for seed in range(6)]
    assert {f.path.parent.name for f in filed} == {"stripes", "discs"}
    assert filed[1].path.parent == tmp_path / "pictures" / "discs"
    with pytest.raises(ValueError, match="has no folder for this class"):
        mine.file(png(noise(9)), 2)
    folder = data.ImageFolder(tmp_path / "pictures", validation=0.2, test=0.3)
    added = {f.path.relative_to(tmp_path / "pictures").as_posix() for f in filed}
    after = names_of(folder)
    assert after["test"] == before["test"]
    assert after["validation"] == before["validation"]
    assert after["train"] == before["train"] | added
    assert all(folder.folders[label] == name.split("/")[0] for name, label in zip(folder.train.names,
                                                                                  folder.train.labels))
    for one in filed:
        mine.undo(one)
    assert names_of(data.ImageFolder(tmp_path / "pictures", validation=0.2, test=0.3)) == before
    assert sorted(os.listdir(tmp_path / "pictures")) == ["discs", "stripes"]


def test_a_folder_that_is_split_gets_them_for_training(tmp_path):
    from tests.data.pictures import make_folder

    make_folder(tmp_path, {f"{split}/{name}": 3 for split in ("train", "test") for name in ("a", "b")})
    mine = Corrections.inside(data.ImageFolder(tmp_path), ["a", "b"])
    assert mine.folders == {0: tmp_path / "train" / "a", 1: tmp_path / "train" / "b"}
    path = mine.file(png(noise()), 1).path
    folder = data.ImageFolder(tmp_path)
    assert path.relative_to(tmp_path).as_posix() in folder.train.names
    assert len(folder.test) == 6


def test_only_corrected_pictures_are_pictures_as_any_others(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{CORRECTED}{i}.png").write_bytes(png(noise(i)))
    folder = data.ImageFolder(tmp_path)
    assert len(folder.train) + len(folder.validation) + len(folder.test) == 8
    assert len(folder.test) == 2


def test_half_written_files_are_swept(beside, tmp_path):
    kept = beside.file(png(noise()), 0).path
    (kept.parent / f".{kept.name}.abc.part").write_bytes(b"half")
    beside.sweep()
    assert os.listdir(kept.parent) == [kept.name]
    assert np.array_equal(beside.pictures().labels, [0])
