"""Names as people have them: class folders in two Unicode forms, files that are left out, MNIST's and CIFAR's files."""

import gzip
import io
import pickle
import struct
import tarfile
import unicodedata

import numpy as np
import pytest

from minicnn import data
from minicnn.data import cifar, cifar_python, doctor, idx, registry
from minicnn.io.model_file import Description
from minicnn.train.source import whole_dataset
from tests.data.pictures import make_folder, noise

NFC, NFD = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path):
    make_folder(tmp_path, {f"train/{NFC}": 3, "train/b": 3, f"val/{NFD}": 2, "val/b": 2})
    found = data.ImageFolder(tmp_path)
    assert found.classes == (NFC, "b") == found.folders
    assert found.validation.labels.tolist() == [0, 0, 1, 1]
    assert found.validation.picture(0).is_file()
    assert found.notes == ("the splits spell 'Café' in different Unicode forms (NFC and NFD); each is read as one "
                           "class",)  # fmt: skip
    (tmp_path / "classes.txt").write_text(f"b\n{NFD}\n", "utf-8")
    assert data.ImageFolder(tmp_path).classes == ("b", NFC)
    report = doctor.examine(tmp_path)
    assert list(report.counts()) == [NFC, "b"]
    assert report.counts()[NFC] == {"train": 3, "validation": 2}
    assert report.notes() == list(found.notes)


def test_a_models_classes_are_known_in_either_form(tmp_path):
    make_folder(tmp_path, {NFC: 2, "b": 2})
    about = Description("lenet5", {"num_classes": 2}, ["b", NFD], [1, 28, 28], [0.5], [0.5])
    _, pictures = whole_dataset(str(tmp_path), "train", about)
    assert pictures.labels.tolist() == [1, 1, 0, 0]


def test_two_folders_of_one_class_in_one_split_are_refused(tmp_path):
    make_folder(tmp_path, {NFC: 2, "b": 2})
    (tmp_path / NFD).mkdir()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system has one form only")
    noise(24, 32).save(tmp_path / NFD / "x.png")
    with pytest.raises(ValueError, match=r"has two folders 'Café', whose names differ only in their Unicode form"):
        data.ImageFolder(tmp_path)


def test_files_that_are_left_out_are_counted_and_named(tmp_path):
    make_folder(tmp_path, {"a": 3, "b": 3})
    for name in ("a/x.heic", "a/y.HEIC", "b/z.heic", "b/raw.cr2", "notes.txt", "LICENSE"):
        (tmp_path / name).write_bytes(b"x")
    said = ("left out: 3 .heic, 1 .cr2, 1 .txt, 1 without an ending, which are not PNG, JPEG, BMP, GIF, WEBP, TIFF: "
            "convert those that are pictures")  # fmt: skip
    folder = data.ImageFolder(tmp_path)
    assert sorted(folder.notes[0].replace(", ", " ").split()) == sorted(said.replace(", ", " ").split())
    assert folder.notes[0].startswith("left out: 3 .heic, ")
    assert folder.notes[0] in repr(folder.with_preprocessing(folder.preprocessing))
    assert doctor.examine(tmp_path).notes()[0].startswith("left out: 3 .heic, ")


def test_a_class_of_files_that_are_not_read_says_which(tmp_path):
    make_folder(tmp_path, {"a": 3})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no pictures for the class 'b': add some, .*; left out: 1 \.heic, which are"):
        data.ImageFolder(tmp_path)


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_tars_count_what_they_leave_out_and_limit_the_number_of_classes(tmp_path):
    picture = io.BytesIO()
    noise(8, 8).save(picture, "PNG")
    sample = [("k.png", picture.getvalue()), ("k.cls", b"0"), ("l.png", picture.getvalue()), ("l.cls", b"1")]
    tar_of(tmp_path / "a.tar", [*sample, ("k.json", b"{}"), ("m.heic", b"x"), ("n.heic", b"x")])
    found = data.load(tmp_path, validation=0, test=0)
    assert found.notes[0].startswith("left out: 2 .heic, 1 .json, which are not PNG")
    sample[1] = ("k.cls", b"9999999")
    tar_of(tmp_path / "a.tar", sample)
    with pytest.raises(ValueError, match=r"is 9999999, and there may be at most 100,000 classes"):
        data.load(tmp_path, validation=0, test=0)


# -------------------------------------------------------------------------------------------------------------- MNIST


def mnist_files():
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    return {"train-images": idx.encode(images), "train-labels": idx.encode(np.array([3, 1, 2], np.uint8)),
            "t10k-images": idx.encode(images[:2]), "t10k-labels": idx.encode(np.array([0, 9], np.uint8))}  # fmt: skip


SPELLINGS = {
    "official": "{}-idx{}-ubyte.gz", "unpacked": "{}-idx{}-ubyte", "Kaggle": "{}.idx{}-ubyte",
    "7-Zip": "{}.idx{}-ubyte.gz", "capitals": "{}-IDX{}-UBYTE", "capitals, zipped": "{}-idx{}-ubyte.GZ",
    "a folder each": "{0}-idx{1}-ubyte/{0}-idx{1}-ubyte", "torchvision": "MNIST/raw/{}-idx{}-ubyte",
    "underscores": "{}_idx{}_ubyte", "in a folder": "mnist/{}-idx{}-ubyte.gz",
    "a folder each, Kaggle": "{0}-idx{1}-ubyte/{0}.idx{1}-ubyte",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_mnist_in_the_spellings_that_people_have(tmp_path, monkeypatch, spelling):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    for stem, content in mnist_files().items():
        path = tmp_path / "datasets/mnist" / SPELLINGS[spelling].format(stem, 3 if "images" in stem else 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.name.lower().endswith(".gz") else content)
    found = data.load("mnist")
    assert found.train.labels.tolist() == [3, 1, 2]
    assert found.test.images.shape == (2, 1, 28, 28)
    assert registry.info("mnist").missing == []


def test_a_missing_file_is_told_with_what_lies_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        data.load("mnist")
    assert "the folder holds" not in str(error.value)
    (tmp_path / "datasets/mnist/x").mkdir(parents=True)
    (tmp_path / "datasets/mnist/mnist.npz").write_bytes(b"x")
    (tmp_path / "datasets/mnist/x/readme\x1b[2J").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"; the folder holds 'mnist\.npz', 'x/readme\\x1b\[2J'$"):
        data.load("mnist")


def test_a_small_gzip_that_grows_a_thousandfold_is_refused(tmp_path):
    path = tmp_path / "bomb.gz"
    head = bytes([0, 0, 8, 3]) + struct.pack(">3I", 400_000, 28, 28)
    path.write_bytes(gzip.compress(head + bytes(1000)))
    with pytest.raises(ValueError, match=r"expected at most 6\d{7} bytes of values, found a header that announces"):
        idx.read(path, rank=3)


# ------------------------------------------------------------------------------------------- CIFAR's Python version


def python2(images, labels, key=b"labels"):
    """The pickle that Python 2 wrote, instruction by instruction."""
    values = images.tobytes()
    array = (b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R(K\x01"
             + b"J" + struct.pack("<i", len(images)) + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
             + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(values))
             + values + b"tb")  # fmt: skip
    names = b"](" + b"".join(b"U\x05\xff.png" for _ in labels) + b"e"
    listed = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return (b"\x80\x02}q\x01(U\x04data" + array + b"U" + bytes([len(key)]) + key + listed + b"U\x09filenames" + names
            + b"U\x0bbatch_labelU\x15training batch 1 of 5u.")  # fmt: skip


def photographs(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


@pytest.fixture
def python_version(tmp_path, monkeypatch):
    """A CIFAR-10 of 3 photographs a file and a CIFAR-100 of 4 and 2; half of the files written by Python 2."""
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    ten, hundred = tmp_path / "datasets/cifar-10/cifar-10-batches-py", tmp_path / "datasets/cifar-100/cifar-100-python"
    ten.mkdir(parents=True)
    hundred.mkdir(parents=True)
    for n, name in enumerate((*cifar.PYTHON10[1], *cifar.PYTHON10[2])):
        images, labels = photographs(3, n), [n, 9 - n, 4]
        (ten / name).write_bytes(python2(images, labels) if n % 2 else
                                 pickle.dumps({b"data": images, b"labels": labels, b"batch_label": b"x"}, 2))
    for name, count in (("train", 4), ("test", 2)):
        labels = [99, 0, 50, 7][:count]
        (hundred / name).write_bytes(python2(photographs(count, count), labels, b"fine_labels"))
    return ten, hundred


def test_cifars_python_version_is_read(python_version):
    ten = data.load("cifar-10")
    assert ten.train.labels.tolist() == [0, 9, 4, 1, 8, 4, 2, 7, 4, 3, 6, 4, 4, 5, 4]
    assert ten.test.labels.tolist() == [5, 4, 4]
    for n in range(5):                                     # row: 1024 red, 1024 green, 1024 blue, each 32 rows of 32
        np.testing.assert_array_equal(ten.train.images[3 * n : 3 * n + 3].reshape(3, -1), photographs(3, n))
    hundred = data.load("cifar-100")
    assert hundred.train.labels.tolist() == [99, 0, 50, 7]
    np.testing.assert_array_equal(hundred.test.images.reshape(2, -1), photographs(2, 2))
    assert registry.info("cifar-10").missing == registry.info("cifar-100").missing == []


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch ran",)


@pytest.mark.parametrize(("content", "words"), [
    (pickle.dumps({b"data": Evil(), b"labels": [1]}, 2), "a pickle of 'data', 'labels'"),
    (pickle.dumps(Evil(), 2), "a pickle of nothing"),
    (pickle.dumps({b"data": photographs(2, 0), b"labels": [1]}, 2), "1 labels and 2 photographs"),
    (pickle.dumps({b"data": photographs(2, 0), b"labels": [1, 10]}, 2), "labels from 0 to 9"),
    (pickle.dumps({b"data": photographs(2, 0), b"labels": [1, None]}, 2), "labels from 0 to 9"),
    (pickle.dumps({b"data": photographs(2, 0)[:, :-1], b"labels": [1, 2]}, 2), "its images have the shape"),
    (pickle.dumps({b"data": photographs(2, 0).astype(float), b"labels": [1, 2]}, 2), "no array of unsigned bytes"),
    (pickle.dumps({b"data": photographs(2, 0), b"fine_labels": [1, 2]}, 2), "with data and labels"),
    (python2(photographs(2, 0), [1, 2])[:-3000], "a file that can't be read"), (b"", "a file that can't be read"),
    (b"\x80\x02cos\nsystem\nU\x09touch ran\x85R.", "a pickle of nothing"),
])  # fmt: skip
def test_a_bad_python_version_is_refused_and_runs_nothing(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        cifar_python.read([tmp_path / "batch"], "labels", 10)
    assert str(error.value).startswith(f"{tmp_path / 'batch'}: expected ")
    assert [p.name for p in tmp_path.iterdir()] == ["batch"]


def test_what_lies_there_is_told_for_cifar(python_version):
    ten, _ = python_version
    (ten / "data_batch_2").unlink()
    with pytest.raises(FileNotFoundError, match=r"the folder holds 'cifar-10-batches-py/data_batch_1', '"):
        data.load("cifar-10")
