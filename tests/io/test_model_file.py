"""Model files: bit-exact both ways, whole or not there, and one sentence for whatever is wrong with one."""

import errno
import json
import math
import os
import stat
import struct
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from minicnn import Tensor, atomic, models, nn, seed
from minicnn.io import model_file
from minicnn.io.model_file import Description

DIGITS = tuple("0123456789")


def description(**changes):
    values = {"model": "lenet5", "options": {"num_classes": 10, "in_channels": 1}, "classes": list(DIGITS),
              "input": [1, 28, 28], "mean": [0.1307], "std": [0.3081], "trained_on": "digits", "resize": 0}  # fmt: skip
    return Description(**{**values, **changes})


@pytest.fixture(scope="module")
def net():
    seed(0)
    return models.build("lenet5")


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "model.safetensors"
    model_file.save(path, net, description())
    return path


@pytest.fixture(scope="module")
def content(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    model_file.save(path, net, description())
    return path.read_bytes()


def written(path, net, **changes):
    """A file whose metadata differs in these fields; None takes a field away."""
    fields = {k: v for k, v in {**asdict(description()), **changes}.items() if v is not ...}
    path.write_bytes(safetensors.numpy.save(net.state_dict(), metadata={"minicnn": json.dumps(fields)}))
    return path


# ---------------------------------------------------------------------------------------------------------- round trip


def test_round_trip_is_exact(net, saved, rng):
    model, about = model_file.load(saved)
    assert about == description()
    assert not model.training
    assert list(model.state_dict()) == list(net.state_dict())
    for name, a in model.state_dict().items():
        assert a.dtype == np.float32
        assert a.tobytes() == net.state_dict()[name].tobytes(), name
    x = Tensor(rng.standard_normal((2, 1, 28, 28)).astype(np.float32))
    assert np.array_equal(model(x).data, net(x).data)


def test_the_description_survives_any_alphabet(net, tmp_path):
    classes = ["nul", "één", "二", "τρία", "[4]", "", '"', "7\n", "8", "9"]
    about = description(classes=classes, mean=[0.1234567890123456], std=[1e-7], trained_on="файл")
    model_file.save(tmp_path / "m.safetensors", net, about)
    assert model_file.load(tmp_path / "m.safetensors")[1] == about


def test_safetensors_alone_reads_it(net, saved):
    arrays = safetensors.numpy.load_file(saved)
    assert set(arrays) == {f"{layer}.{what}" for what in ("weight", "bias") for layer in (
        "features.0", "features.3", "classifier.1", "classifier.3", "classifier.5")}  # fmt: skip
    assert np.array_equal(arrays["features.3.weight"], net["features"][3].weight.data)
    with safetensors.safe_open(saved, framework="numpy") as file:
        about = json.loads(file.metadata()["minicnn"])
    assert about == {"format": 1, "model": "lenet5", "options": {"num_classes": 10, "in_channels": 1},
                     "classes": list(DIGITS), "input": [1, 28, 28], "mean": [0.1307], "std": [0.3081],
                     "trained_on": "digits", "resize": 0}  # fmt: skip


def test_buffers_are_saved_too(tmp_path, monkeypatch, rng):
    def with_norm(num_classes=2, in_channels=1):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.Flatten(), nn.Linear(4 * in_channels, num_classes))

    monkeypatch.setitem(models.MODELS, "with-norm", (with_norm, (1, 2, 2)))
    model = with_norm()
    model(Tensor(rng.normal(5, 2, (3, 1, 2, 2)).astype(np.float32)))
    path = tmp_path / "m.safetensors"
    model_file.save(path, model, description(model="with-norm", options={}, classes=["a", "b"], input=[1, 2, 2]))
    loaded, _ = model_file.load(path)
    assert loaded[0].running_mean.data[0] == model[0].running_mean.data[0] != 0


# -------------------------------------------------------------------------------------------------------------- atomic


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(net, saved, monkeypatch, call, failure):
    before = saved.read_bytes()

    def fail(*args):
        raise failure

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(failure)):
        model_file.save(saved, net, description(trained_on="something else"))
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_the_content_is_on_disk_before_it_has_the_name(monkeypatch, tmp_path):
    done = []
    for call in ("fsync", "replace"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, lambda *args, call=call, real=real: (done.append(call), real(*args)))
    atomic.write(tmp_path / "a", b"content")
    assert done == ["fsync", "replace", "fsync"], "and then the folder that holds the name"
    assert (tmp_path / "a").read_bytes() == b"content"


def test_files_are_as_open_as_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        atomic.write(tmp_path / "a", b"")
        assert os.umask(0o027) == 0o027, "the umask itself is as before"
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


# -------------------------------------------------------------------------------------------------------- broken files


def sentence_of(path):
    """What `load` says of a file that it refuses."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        model_file.load(path)
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.safetensors"
    assert sentence_of(path) == f"there is no model file {path}: train one with `minicnn train digits`"
    assert sentence_of(tmp_path).startswith("there is no model file")       # a folder is none either


def test_cut_off_anywhere(content, tmp_path):
    path = tmp_path / "cut.safetensors"
    lengths = [0, 1, 7, 8, 9, len(content) - 1, *np.random.default_rng(0).integers(10, len(content), 44).tolist()]
    assert len(lengths) == 50
    for length in lengths:
        path.write_bytes(content[:length])
        assert "is not a readable model file: it" in sentence_of(path), length


def test_any_byte_changed_gives_a_sentence_or_a_model(content, tmp_path):
    """Most bytes are weights, where a change can't be seen; so half of the changes go into the header."""
    rng = np.random.default_rng(1)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    path = tmp_path / "changed.safetensors"
    refused = 0
    for n in range(300):
        changed = bytearray(content)
        for _ in range(1 + n % 3):
            place = int(rng.integers(0, header if n % 2 else len(content)))
            changed[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(changed))
        try:
            model, about = model_file.load(path)
        except (ValueError, FileNotFoundError) as problem:       # anything else is a failed test
            refused += str(path) in str(problem)
        else:
            assert model.state_dict()["classifier.5.bias"].shape == (len(about.classes),)
    assert 100 < refused < 200, "about half, those in the header, and each named the file"


def converted(path, net, dtype, convert):
    """A model file with arrays of a type that NumPy lacks; convert(array) gives their bytes."""
    header, data = {"__metadata__": {"minicnn": json.dumps(asdict(description()))}}, b""
    for name, a in net.state_dict().items():
        start, data = len(data), data + convert(a)
        header[name] = {"dtype": dtype, "shape": a.shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_a_type_that_can_not_be_read(net, tmp_path):
    path = converted(tmp_path / "m.safetensors", net, "F8_E4M3", lambda a: bytes(a.size))
    assert "holds 'F8_E4M3', which NumPy lacks: convert it to float32" in sentence_of(path)


def test_bfloat16_becomes_float32_exactly(net, tmp_path):
    """A bfloat16 is the upper half of a float32."""
    path = converted(tmp_path / "m.safetensors", net, "BF16",
                     lambda a: (a.view(np.uint32) >> 16).astype("<u2").tobytes())  # fmt: skip
    loaded = model_file.load(path)[0].state_dict()
    for name, a in net.state_dict().items():
        assert np.array_equal(loaded[name].view(np.uint32), a.view(np.uint32) & 0xFFFF0000), name


def test_arrays_of_other_kinds(net, tmp_path):
    path, meta = tmp_path / "m.safetensors", {"minicnn": json.dumps(asdict(description()))}
    state = {**net.state_dict(), "classifier.5.bias": np.zeros(10, bool)}
    path.write_bytes(safetensors.numpy.save(state, metadata=meta))
    assert "classifier.5.bias holds bool, not real numbers: convert it to float32" in sentence_of(path)
    half = {k: v.astype(np.float16) for k, v in net.state_dict().items()}
    path.write_bytes(safetensors.numpy.save(half, metadata=meta))
    loaded = model_file.load(path)[0].state_dict()
    assert all(np.array_equal(loaded[k], half[k].astype(np.float32)) and loaded[k].dtype == np.float32 for k in half)


def test_weights_without_a_description(net, tmp_path):
    for metadata in (None, {}, {"format": "pt"}):
        path = tmp_path / "m.safetensors"
        path.write_bytes(safetensors.numpy.save(net.state_dict(), metadata=metadata))
        assert "holds weights, but does not name their model" in sentence_of(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "{}", '{"format": 1}', "[" * 100_000,
                                  '{"format": 1, "surprise": 2}'], ids=lambda t: t[:20])
def test_a_description_that_is_none(net, tmp_path, text):
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors.numpy.save(net.state_dict(), metadata={"minicnn": text}))
    assert "its description can't be read (" in sentence_of(path)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"format": 2}, "has format 2, and this minicnn reads format 1: update minicnn"),
    ({"format": "1"}, "has format '1', and this minicnn reads format 1"),
    ({"surprise": 1}, "its description can't be read ("),
    ({"classes": ...}, "its description can't be read ("),
    ({"model": "lenet6"}, "unknown model 'lenet6': did you mean 'lenet5'?"),
    ({"model": 3}, "its description's model (3) must be a name"),
    ({"model": ["lenet5"]}, "its description's model (['lenet5']) must be a name"),
    ({"options": []}, "its description's options ([]) must be names and values"),
    ({"options": {"num_clases": 10}}, "unknown option of model lenet5 'num_clases': did you mean 'num_classes'?"),
    ({"options": {"num_classes": "10"}}, "must be such that num_classes is 10, as its classes and input say"),
    ({"options": {"num_classes": 10.0}}, "num_classes must be an integer, not 10.0"),
    ({"options": {"num_classes": 10**12}}, "must be such that num_classes is 10"),   # no terabyte is asked for first
    ({"options": {"in_channels": 10**12}}, "must be such that in_channels is 1"),
    ({"classes": list("abc")}, "must be such that num_classes is 3"),
    ({"classes": list("abc"), "options": {}},
     "its description contradicts itself (3 classes, but the model's output for an image has shape (10,))"),
    ({"classes": []}, "its description's classes ([]) must be a list of names"),
    ({"classes": list(range(10))}, "description's classes ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) must be a list of names"),
    ({"classes": 10}, "its description's classes (10) must be a list of names"),
    ({"input": []}, "its description's input ([]) must be [channels, height, width] of an image"),
    ({"input": [1, 28]}, "its description's input ([1, 28]) must be [channels, height, width] of an image"),
    ({"input": [1, 28, 0]}, "its description's input ([1, 28, 0]) must be"),
    ({"input": [1, 28.0, 28]}, "its description's input ([1, 28.0, 28]) must be"),
    ({"input": [True, 28, 28]}, "its description's input ([True, 28, 28]) must be"),
    ({"input": "abc"}, "its description's input ('abc') must be"),
    ({"input": [1, 10**6, 10**6]}, "its description's input ([1, 1000000, 1000000]) must be"),
    ({"input": [1, 32, 32]}, "linear: x (1, 576) and w (120, 400) do not match"),
    ({"mean": [0.1, 0.2, 0.3]}, "its description's mean ([0.1, 0.2, 0.3]) must be a list of 1 numbers, one a channel"),
    ({"mean": ["a"]}, "its description's mean (['a']) must be"),
    ({"mean": 0.1}, "its description's mean (0.1) must be"),
    ({"mean": [math.nan]}, "its description's mean ([nan]) must be"),
    ({"mean": [10**400]}, "its description's mean ([1000000"),
    ({"std": [math.inf]}, "its description's std ([inf]) must be"),
    ({"std": [0]}, "its description's std ([0]) must be above 0"),
    ({"std": [-1.0]}, "its description's std ([-1.0]) must be above 0"),
    ({"trained_on": 5}, "its description's trained_on (5) must be a name"),
    ({"resize": 27}, "its description's resize (27) must be 0, or the shorter side that pictures are resized to"),
    ({"resize": 2**14 + 1}, "its description's resize (16385) must be 0, or"),
    ({"fit": "squeeze"}, "its description's fit ('squeeze') must be one of crop, "),
    ({"fit": "pad", "resize": 32}, "crop if it resizes"),
    ({"interpolation": "cubic"}, "its description's interpolation ('cubic') must be one of nearest, "),
    ({"background": [0, 0, 256]}, "its description's background ([0, 0, 256]) must be [red, green, blue], each from 0"),
    ({"background": [-1, 0, 0]}, "its description's background ([-1, 0, 0]) must be [red, green, blue]"),
    ({"background": [0, 0]}, "its description's background ([0, 0]) must be [red, green, blue]"),
    ({"background": 0}, "its description's background (0) must be [red, green, blue]"),
    ({"margin": [28, 0]}, "its description's margin ([28, 0]) must be [rows, columns] of background, from 0 to less"),
    ({"margin": [0, -1]}, "its description's margin ([0, -1]) must be [rows, columns]"),
    ({"margin": [0]}, "its description's margin ([0]) must be [rows, columns]"),
], ids=lambda v: str(v)[:50] if isinstance(v, dict) else "")  # fmt: skip
def test_a_description_that_contradicts_itself(net, tmp_path, changes, sentence):
    assert sentence in sentence_of(written(tmp_path / "m.safetensors", net, **changes))


def test_weights_of_another_net(net, tmp_path):
    path = tmp_path / "m.safetensors"
    meta = {"minicnn": json.dumps(asdict(description()))}
    state = net.state_dict()
    state["features.3.weight"] = np.zeros((16, 6, 3, 3), np.float32)
    state["features.9.weight"] = state.pop("features.0.weight")
    path.write_bytes(safetensors.numpy.save(state, metadata=meta))
    text = sentence_of(path)
    assert "missing: features.0.weight; unexpected: features.9.weight" in text
    assert "misshapen: features.3.weight is (16, 6, 3, 3), must be (16, 6, 5, 5)" in text


def test_something_that_is_no_safetensors_file_at_all(tmp_path):
    for name, content in (("a.safetensors", b""), ("b.png", b"\x89PNG\r\n\x1a\n" + bytes(100)), ("c", b"text" * 50)):
        (tmp_path / name).write_bytes(content)
        assert "is not a readable model file: it" in sentence_of(Path(tmp_path / name))
