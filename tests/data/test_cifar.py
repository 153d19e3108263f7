"""CIFAR's binary files, built by hand, byte by byte, and the official ones where they are."""

import gzip
import io
import tarfile

import numpy as np
import pytest

from minicnn import data
from minicnn.data import cifar, registry
from minicnn.data.cifar import read_records
from minicnn.data.transforms import channel_statistics


def record(label, red, green, blue, group=None):
    """One photograph of one colour, but for its first pixel, which is black."""
    planes = b"".join(b"\0" + bytes([value]) * 1023 for value in (red, green, blue))
    return (b"" if group is None else bytes([group])) + bytes([label]) + planes


def needs(name):
    try:
        return data.load(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A home with a CIFAR-10 of 2 photographs a file, and a CIFAR-100 of 3 and 1."""
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    ten, hundred = tmp_path / "datasets/cifar-10/cifar-10-batches-bin", tmp_path / "datasets/cifar-100/cifar-100-binary"
    ten.mkdir(parents=True)
    hundred.mkdir(parents=True)
    for n, name in enumerate((*cifar.TRAIN10, *cifar.TEST10)):
        (ten / name).write_bytes(record(n, 10 + n, 20, 30) + record(9 - n, 40, 50, 60 + n))
    (ten / "batches.meta.txt").write_text("\n".join(cifar.CIFAR10) + "\n\n")
    (hundred / "train.bin").write_bytes(b"".join(record(33 * i, i, 5, 6, group=19) for i in range(4)))
    (hundred / "test.bin").write_bytes(record(99, 7, 8, 9, group=0))
    (hundred / "fine_label_names.txt").write_text("\n".join(cifar.CIFAR100))
    return tmp_path / "datasets"


def test_cifar_10_record_by_record(tiny):
    bundle = data.load("cifar-10")
    assert bundle.train.images.shape == (10, 3, 32, 32)
    assert bundle.train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert bundle.test.labels.tolist() == [5, 4]
    assert bundle.train.images[2, :, 0, 1].tolist() == [11, 20, 30]
    assert bundle.train.images[3, :, 31, 31].tolist() == [40, 50, 61]
    assert (bundle.train.images[:, :, 0, 0] == 0).all()
    assert bundle.classes[bundle.train.labels[0]] == "airplane"


def test_cifar_100_takes_the_fine_label(tiny):
    bundle = data.load("cifar-100")
    assert bundle.train.labels.tolist() == [0, 33, 66, 99]
    assert bundle.test.images[0, :, 1, 0].tolist() == [7, 8, 9]
    assert (bundle.classes[0], bundle.classes[33], bundle.classes[99]) == ("apple", "forest", "worm")
    assert len(bundle.classes) == len(set(bundle.classes)) == 100
    assert list(bundle.classes) == sorted(bundle.classes)


@pytest.mark.parametrize("change", ["gzip", "flat"])
def test_files_may_be_gzipped_or_lie_in_the_folder_itself(tiny, change):
    wanted = data.load("cifar-10")
    inner = tiny / "cifar-10/cifar-10-batches-bin"
    for path in list(inner.iterdir()):
        if change == "gzip":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        else:
            path.rename(tiny / "cifar-10" / path.name)
    assert registry.info("cifar-10").missing == []
    found = data.load("cifar-10")
    np.testing.assert_array_equal(found.train.images, wanted.train.images)
    np.testing.assert_array_equal(found.test.labels, wanted.test.labels)


def test_what_is_missing_is_named_with_the_command_that_gets_it(tiny):
    (tiny / "cifar-10/cifar-10-batches-bin/data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar-10")
    assert "needs data_batch_3.bin in the folder" in str(caught.value)
    assert "`minicnn data get cifar-10` downloads them" in str(caught.value)
    assert registry.info("cifar-10").missing == ["cifar-10-batches-bin/data_batch_3.bin"]


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", "expected records of 3073 bytes, found 0 bytes, which is not a whole number of them"),
    (record(1, 2, 3, 4)[:-1], "found 3072 bytes"), (record(1, 2, 3, 4) + b"x", "found 3074 bytes"),
    (record(1, 2, 3, 4) + record(10, 2, 3, 4), r"expected labels from 0 to 9, found 10 \(image 1\)"),
    (gzip.compress(record(1, 2, 3, 4))[:-9], "a whole gzip file, found a damaged one"),
    (b"<!DOCTYPE html>" * 9, "found 135 bytes"),
], ids=["empty", "cut", "more", "label", "gzip", "page"])
def test_a_damaged_file_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_records([path], 1, 10)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert str(caught.value).endswith("get it again from where the dataset comes from")


def test_the_limit_counts_all_files_together(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(record(1, 2, 3, 4))
    monkeypatch.setattr(cifar, "LIMIT", 2 * 3073)
    assert len(read_records([path, path], 1, 10)) == 2
    monkeypatch.setattr(cifar, "LIMIT", 2 * 3073 - 1)
    with pytest.raises(ValueError, match="expected at most 3072 bytes, found more"):
        read_records([path, path], 1, 10)


@pytest.mark.parametrize(("lines", "sentence"), [
    (["airplane", "car"], "expected 'automobile' as the name of class 1, found 'car'"),
    (cifar.CIFAR10[:4], "expected 'deer' as the name of class 4, found nothing"),
    ((*cifar.CIFAR10, "goat"), "expected 'nothing more' as the name of class 10, found 'goat'"),
])
def test_names_that_disagree_with_the_labels(tiny, lines, sentence):
    (tiny / "cifar-10/cifar-10-batches-bin/batches.meta.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=sentence.replace("'nothing more'", "nothing more")):
        data.load("cifar-10")


def test_an_archive_is_unpacked_for_its_parts_alone(tmp_path):
    """Links, other paths and files that nobody asked for stay inside."""
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("in/x.bin", "../outside.bin", "/absolute.bin", "in/other.bin"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(name[:4].encode()))
        link = tarfile.TarInfo("in/link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    target = tmp_path / "there"
    target.mkdir()
    assert registry._unpack(archive, target, ["in/x.bin"]) == [target / "in/x.bin"]
    assert [p for p in target.rglob("*") if p.is_file()] == [target / "in/x.bin"]
    assert (target / "in/x.bin").read_bytes() == b"in/x"
    for part in ("in/link.bin", "in/none.bin"):
        with pytest.raises(ValueError, match=f"does not hold {part}: it is another archive"):
            registry._unpack(archive, target, [part])


# --------------------------------------------------------------------------------------------------- the official files


def test_the_official_cifar_10():
    bundle = needs("cifar-10")
    assert (len(bundle.train), len(bundle.test)) == (50_000, 10_000)
    assert np.bincount(bundle.train.labels).tolist() == [5000] * 10
    # what the published test set begins with
    assert [bundle.classes[k] for k in bundle.test.labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    for c in range(3):
        x = bundle.train.images[:, c].astype(np.uint16)
        mean, square = x.mean(dtype=np.float64) / 255, (x * x).mean(dtype=np.float64) / 255**2
        assert bundle.mean[c] == pytest.approx(mean, abs=1e-6)
        assert bundle.std[c] == pytest.approx(np.sqrt(square - mean**2), abs=1e-6)


def test_the_official_cifar_100():
    bundle = needs("cifar-100")
    assert (len(bundle.train), len(bundle.test)) == (50_000, 10_000)
    assert np.bincount(bundle.train.labels).tolist() == [500] * 100
    mean, std = channel_statistics(bundle.train.images)
    np.testing.assert_allclose(bundle.mean, mean, atol=1e-6)
    np.testing.assert_allclose(bundle.std, std, atol=1e-6)
