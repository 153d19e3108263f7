"""Tar shards: written by Python's tarfile, by hand; read without unpacking; everything that is refused."""

import concurrent.futures
import io
import os
import pickle
import tarfile
from collections import Counter

import numpy as np
import pytest

from minicnn import data
from minicnn.data import Loader, shards
from minicnn.data.shards import ShardFolder, read_tar
from tests.data.pictures import make_folder, noise
from tests.train.tiny import folder_of_pictures

PREPARE = data.Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)


def png(seed, side=10):
    out = io.BytesIO()
    noise(side, side, seed).save(out, "PNG")
    return out.getvalue()


def write(path, members):
    """A tar of (name, content, and how its TarInfo differs)."""
    with tarfile.open(path, "w") as tar:
        for name, content, *changes in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes:
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(count, first=0, classes=3):
    for i in range(first, first + count):
        yield f"some/{i:04}.png", png(i)
        yield f"some/{i:04}.cls", f"{i % classes}\n".encode()


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train-000000.tar", samples(5))
    write(tmp_path / "train-000001.tar", samples(4, 5))
    write(tmp_path / "val-000000.tar", samples(3, 9))
    write(tmp_path / "test-000000.tar", samples(2, 12))
    return tmp_path


def test_pictures_and_labels_by_number(folder):
    found = ShardFolder(folder)
    assert (len(found.train), len(found.validation), len(found.test)) == (9, 3, 2)
    assert found.classes == ("0", "1", "2")
    assert found.train.labels.tolist() == [i % 3 for i in range(9)]
    assert found.train.names[6] == "some/0006.png"
    for i in range(9):
        packed = found.train.picture(i)
        assert packed.content == png(i)
    assert packed.name == f"{folder / 'train-000001.tar'}: some/0008.png"
    batch = next(iter(data.Loader(found.test, 2, transform=data.Transform(PREPARE), workers=1)))
    np.testing.assert_array_equal(batch.images[1], PREPARE.normalise(PREPARE.read(np.asarray(noise(10, 10, 13))
                                                                                .transpose(2, 0, 1))))


def test_names_of_classes_and_splits_that_are_drawn(tmp_path):
    write(tmp_path / "pictures-0.tar", samples(30))
    (tmp_path / "classes.txt").write_text("cat\ndog\nhen\n")
    found = data.load(tmp_path, test=0.3, validation=0.2, seed=4)
    assert found.classes == ("cat", "dog", "hen")
    assert Counter(found.test.labels.tolist()) == {0: 3, 1: 3, 2: 3}
    assert (len(found.train), len(found.validation)) == (15, 6)
    assert set(found.train.names).isdisjoint(found.test.names)


def test_other_members_do_not_disturb(tmp_path):
    extra = [("some", b"", ("type", tarfile.DIRTYPE)), ("some/0000.json", b"{}"), ("some/._0000.png", b"mac"),
             ("some/0000.txt", b"a caption")]
    write(tmp_path / "a.tar", [*extra, *samples(4)])
    assert [row[1] for row in read_tar(tmp_path / "a.tar")] == [f"some/000{i}.png" for i in range(4)]


@pytest.mark.parametrize(("members", "sentence"), [
    ([("a.png", b"x")], r"the sample '/a' has a picture and no label \(.cls\): put both into one tar"),
    ([("d/a.cls", b"1")], r"the sample 'd/a' has a label \(.cls\) and no picture"),
    ([("a.png", b"x"), ("a.cls", b"cat")], "'a.cls' says b'cat', which is not a class: it must be a number from 0"),
    ([("a.png", b"x"), ("a.cls", b"-1")], "'a.cls' says b'-1'"),
    ([("a.png", b"x"), ("a.cls", b"")], "'a.cls' says b''"),
    ([("a.png", b"x"), ("a.cls", b"9" * 50)], "which is not a class"),
    ([("a.png", b"x"), ("a.cls", b"1" * 65)], "'a.cls' has 65 bytes, and a .cls file may have at most 64"),
    ([("a.png", b"x"), ("a.png", b"y"), ("a.cls", b"1")], "there are two files .png for the sample '/a'"),
    ([("a.png", b"x"), ("a.cls", b"1"), ("a.cls", b"2")], "there are two files .cls for the sample '/a'"),
    ([("a.png", b"", ("type", tarfile.SYMTYPE), ("linkname", "/etc/passwd")), ("a.cls", b"1")],
     "'a.png' is a link or another special file"),
    ([("a.png", b"", ("type", tarfile.LNKTYPE), ("linkname", "b")), ("a.cls", b"1")], "is a link or another special"),
    ([("a.png", b"", ("type", tarfile.CHRTYPE)), ("a.cls", b"1")], "is a link or another special"),
])
def test_a_tar_that_is_refused(tmp_path, members, sentence):
    path = write(tmp_path / "x.tar", members)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_tar(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x1f\x8b" + bytes(600), bytes(3000)],
                         ids=["empty", "text", "gzip", "zeros"])
def test_files_that_are_no_tars(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    sentence = r"x.tar is not a tar file, or damaged or compressed \([a-z][a-z ]+\): copy|has no training pictures"
    with pytest.raises(ValueError, match=sentence):
        ShardFolder(tmp_path)


def test_no_tars_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no tar files in"):
        ShardFolder(tmp_path)
    write(tmp_path / "test-0.tar", samples(3))
    with pytest.raises(ValueError, match="has no training pictures: its tars are test"):
        ShardFolder(tmp_path)


def test_labels_that_no_class_is_named_for(folder):
    (folder / "classes.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"classes.txt has 2 classes, but a label in the tars is 2"):
        ShardFolder(folder)


def test_a_tar_that_is_cut_short(folder):
    path = folder / "train-000001.tar"
    content = path.read_bytes()
    found = ShardFolder(folder)
    path.write_bytes(content[: found.train.places[8][1] + 5])
    with pytest.raises(ValueError, match=r"train-000001.tar ends within some/0008.png: it is cut short"):
        found.train.picture(8)
    with pytest.raises(ValueError, match=r"train-000001.tar"):
        ShardFolder(folder)


def test_packing_keeps_every_byte_label_and_split(tmp_path):
    made = make_folder(tmp_path / "in", {"a": 12, "b/deep": 8}, suffix=".jpg")
    (made / "a" / "000.jpg").rename(made / "a" / "with.dots.in.it.jpg")
    pictures = data.ImageFolder(made, test=0.25, validation=0.25, seed=2)
    tars = list(shards.pack(pictures, tmp_path / "out", size=4096, seed=1))
    assert len(tars) > 5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["classes.txt", *sorted(p.name for p in tars)]
    train = [path.name for path in tars if path.name.startswith("train")]
    assert train == [f"train-{number:06}.tar" for number in range(len(train))]
    found = ShardFolder(tmp_path / "out")
    assert found.classes == ("a", "b")
    for part in ("train", "validation", "test"):
        before, after = getattr(pictures, part), getattr(found, part)
        wanted = sorted((before.picture(i).read_bytes(), int(before.labels[i])) for i in range(len(before)))
        assert sorted((after.picture(i).content, int(after.labels[i])) for i in range(len(after))) == wanted
    assert found.train.labels.tolist() != sorted(found.train.labels.tolist())        # shuffled
    with pytest.raises(FileExistsError, match="already has tar files, which are not overwritten"):
        list(shards.pack(pictures, tmp_path / "out"))


def test_of_two_that_pack_into_one_folder_one_is_refused(tmp_path, rng):
    """The second finds no tar yet, but the names of the classes: the first one's, or of pictures that lie there."""
    pictures = data.ImageFolder(folder_of_pictures(tmp_path / "in", rng))
    first = shards.pack(pictures, tmp_path / "out", size=1024)
    next(first)
    (tmp_path / "out" / "train-000000.tar").rename(tmp_path / "later.tar")
    text = (tmp_path / "out" / "classes.txt").read_text()
    with pytest.raises(FileExistsError, match=r"out already has a classes\.txt, which is not overwritten: "):
        list(shards.pack(pictures, tmp_path / "out"))
    assert (tmp_path / "out" / "classes.txt").read_text() == text == "discs\nstripes\n"


def test_nothing_is_unpacked(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpacked")

    monkeypatch.setattr(tarfile.TarFile, "extract", refuse)
    monkeypatch.setattr(tarfile.TarFile, "extractall", refuse)
    before = sorted(folder.parent.rglob("*"))
    ShardFolder(folder).train.picture(0)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system can't be told")
def test_the_pictures_of_a_batch_are_announced_in_the_order_of_their_places(folder, monkeypatch):
    """Those of this rank alone, before the first is read; what is read is the batch in its own order."""
    told, real = [], os.open
    handles = {}

    def opened(path, *flags):
        handles[handle := real(path, *flags)] = str(path)
        return handle

    monkeypatch.setattr("minicnn.data.shards.os.open", opened)
    monkeypatch.setattr("minicnn.data.shards.os.posix_fadvise",
                        lambda handle, start, size, advice: told.append((handles[handle], start, size, advice)),
                        raising=False)  # fmt: skip
    train = ShardFolder(folder).train
    seen = []

    def look(pictures, labels, rng):
        seen.append(len(told))
        return np.array([[len(p.content)] for p in pictures]), None

    for part, rows in (((0, 1), slice(None)), ((1, 2), slice(len(train) // 2, None)), ((0, 99), slice(0, 1))):
        told.clear()
        loader = Loader(train, len(train), transform=look, shuffle=True, seed=3, part=part)
        order = loader.order(0)
        (batch,) = loader
        wanted = train.places[order[rows]]
        assert told == sorted((str(train.paths[w]), int(s), int(n), os.POSIX_FADV_WILLNEED) for w, s, n in wanted)
        assert seen[-1] == len(wanted), "before the first is read"
        np.testing.assert_array_equal(batch.images[:, 0], wanted[:, 2])


def test_tars_stay_open_but_not_too_many(folder, monkeypatch):
    """Each is opened once where there is room; threads share it, and another process opens its own."""
    opened, real = [], os.open

    def count(path, *flags):
        opened.append(str(path))
        return real(path, *flags)

    monkeypatch.setattr("minicnn.data.shards.os.open", count)
    train = ShardFolder(folder).train
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: train[np.arange(len(train))].picture(i % len(train)).content, range(200)))
    for i, content in enumerate(found):
        which, start, size = map(int, train.places[i % len(train)])
        assert content == train.paths[which].read_bytes()[start : start + size]
    tars = [path for path in opened if path.endswith(".tar")]
    assert len(tars) == len(set(tars)) == len(train.paths) > 1
    assert pickle.loads(pickle.dumps(train)).picture(0).content == found[0]
    monkeypatch.setattr("minicnn.data.shards.KEPT", 1)
    opened.clear()
    for i in (0, len(train) - 1) * 3:
        train.picture(i)
        assert len(train.tars.kept) <= len(train.paths)
    assert opened, "one made room for the other"
