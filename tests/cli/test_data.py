"""`minicnn datasets` and `minicnn data …`: what they print, their JSON, and what they refuse."""

import hashlib
from dataclasses import replace

import pytest
from PIL import Image

from minicnn import data
from minicnn.data import registry
from minicnn.data.download import Remote
from tests.data.pictures import make_folder, noise
from tests.program import caller, document, process, sentence


@pytest.fixture
def call(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "datasets"


def test_datasets_that_are_here_and_not(call, home):
    code, out, err = call("datasets")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()[1:] if line}
    assert lines["digits"].split()[1] == "yes"
    for name in ("mnist", "fashion-mnist", "cifar-10", "cifar-100"):
        assert lines[name].split()[1] == "no"
        assert str(home / name) in lines[name]
        assert f"{name}: `minicnn data get {name}` downloads it from" in out
    assert "170 MB" in lines["cifar-10"]
    assert "minicnn data doctor FOLDER" in out


def test_datasets_as_json(call, home):
    code, out, _ = call("datasets", "--json")
    assert code == 0
    rows = {row["dataset"]: row for row in document(out)}
    assert list(rows) == data.names()
    assert rows["digits"]["here"]
    assert rows["digits"]["get"] == ""
    assert rows["cifar-100"]["missing"] == ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin",
                                            "cifar-100-binary/fine_label_names.txt"]  # fmt: skip
    assert rows["cifar-100"]["files"][0]["urls"] == ["https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"]
    assert rows["mnist"]["download_bytes"] == 9912422 + 28881 + 1648877 + 4542


def test_get_what_is_here_unknown_or_cannot_be_had(call, home, monkeypatch):
    assert sentence(call("data", "get", "cifar")[2], 2, call("data", "get", "cifar")[0]).startswith(
        "unknown dataset 'cifar': did you mean 'cifar-10'?")
    code, _, err = call("data", "get", "digits")
    assert "is part of minicnn: there is nothing to download" in sentence(err, 1, code)
    nobody = Remote("train-images-idx3-ubyte.gz", ("http://127.0.0.1:9/x",), 3, hashlib.sha256(b"abc").hexdigest())
    monkeypatch.setitem(registry.DATASETS, "mnist", replace(registry.DATASETS["mnist"], files=(nobody,)))
    code, _, err = call("data", "get", "mnist")
    assert "train-images-idx3-ubyte.gz could not be downloaded (http://127.0.0.1:9/x: no connection)" in \
        sentence(err, 1, code)
    (home / "mnist" / "train-images-idx3-ubyte.gz.part").write_bytes(b"abc")        # all that was to come has come
    code, out, _ = call("data", "get", "mnist", "--json")
    assert code == 0
    assert document(out)["new"] == [str(home / "mnist" / "train-images-idx3-ubyte.gz")]


def test_the_doctor_of_a_sound_folder(call, tmp_path):
    make_folder(tmp_path / "p", {"cat": 3, "dog": 1}, size=(40, 50))
    code, out, err = call("data", "doctor", tmp_path / "p")
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'p'}: 4 pictures in 2 classes" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["cat", "3", "75.0", "%"] in rows
    assert ["width,", "pixels", "50", "50", "50"] in rows
    assert out.endswith("ready to train; without --model, training is of resnet20, on colour images of 32 × 32; 2 "
                        "pictures a class are few for that: `minicnn transfer "
                        f"{tmp_path / 'p'} --model squeezenet1_1 --weights FILE` adapts a trained net to them\n")
    assert "problem" not in out


def test_the_doctor_of_an_ill_one(call, tmp_path):
    folder = make_folder(tmp_path / "p", {"train/cat": 11, "train/[red]dog": 1, "val/cat": 1, "val/[red]dog": 1},
                         size=(40, 50))
    (folder / "train/cat/000.png").write_bytes((folder / "val/cat/000.png").read_bytes())
    (folder / "train/cat/bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    code, out, _ = call("data", "doctor", folder, "--sheet", tmp_path / "sheet.png")
    assert code == 1
    rows = [line.split() for line in out.splitlines()]
    assert ["class", "train", "validation", "share"] in rows
    assert ["[red]dog", "1", "1", "13.3", "%"] in rows     # a name is no markup
    assert any(row[:2] == ["corrupt", "1"] and row[-1] == "train/cat/bad.jpg" for row in rows)
    assert any(row[:3] == ["two", "splits", "2"] for row in rows)
    assert "the same file: train/cat/000.png, val/cat/000.png" in out
    assert "not ready to train: remove the files" in out
    assert f"contact sheet: {tmp_path / 'sheet.png'}" in out
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.width == 1208
    code, out, _ = call("data", "doctor", folder, "--json")
    assert code == 1
    told = document(out)
    assert told["ok"] is False
    assert told["classes"]["cat"] == {"train": 12, "validation": 1}
    assert {p["kind"]: p["files"] for p in told["problems"]}["corrupt"] == ["train/cat/bad.jpg"]


def test_an_uneven_folder_is_told_so(call, tmp_path):
    make_folder(tmp_path / "p", {"cat": 22, "dog": 2})
    _, out, _ = call("data", "doctor", tmp_path / "p")
    assert "The largest class has 11 times as many pictures as the smallest" in out


def test_the_doctor_of_nothing(call, tmp_path):
    code, _, err = call("data", "doctor", tmp_path / "nowhere")
    assert "there is no folder" in sentence(err, 1, code)
    (tmp_path / "empty").mkdir()
    code, out, err = call("data", "doctor", tmp_path / "empty")
    assert (code, err) == (1, "")
    assert "not ready to train:" in out
    code, _, err = call("data", "doctor", tmp_path / "empty", "--sheet", tmp_path / "s.png")
    assert "there is nothing to show on a contact sheet" in sentence(err, 1, code)


def test_pack_and_read_again(call, tmp_path):
    make_folder(tmp_path / "p", {"cat": 10, "dog": 10})
    code, out, _ = call("data", "pack", tmp_path / "p", tmp_path / "out", "--json")
    assert code == 0
    assert document(out) == {"folder": str(tmp_path / "out"), "pictures": 20,
                             "tars": ["train-000000.tar", "val-000000.tar", "test-000000.tar"]}  # fmt: skip
    parts = data.load(tmp_path / "out")
    assert (parts.classes, len(parts.train), len(parts.validation), len(parts.test)) == (("cat", "dog"), 12, 4, 4)
    code, _, err = call("data", "pack", tmp_path / "p", tmp_path / "out")
    assert "already has tar files, which are not overwritten" in sentence(err, 1, code)


def test_as_a_real_program_nothing_but_what_was_asked_is_printed(tmp_path):
    make_folder(tmp_path / "p", {"cat": 3, "dog": 3}, size=(40, 50))
    noise(20, 20).save(tmp_path / "p" / "cat" / "z.tiff", compression="tiff_lzw")
    done = process("data", "doctor", tmp_path / "p", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    assert document(done.stdout)["pictures"] == 7
