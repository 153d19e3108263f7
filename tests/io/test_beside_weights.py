"""What lies beside the weights in a PyTorch checkpoint never blocks them, and nothing in it runs."""

import argparse
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import pickle
import random
import re
import uuid

import numpy as np
import pytest

from minicnn import nn
from minicnn.io import prefix
from minicnn.io.weights import load_into, load_weights, save_weights, weight_shapes
from minicnn.nn import Sequential
from tests.io.hostile_files import MARK, Runs, programs
from tests.io.weight_files import (
    legacy_checkpoint,
    number,
    packed,
    state,
    storage,
    tensor,
    text,
    zip_checkpoint,
)
from tests.thinned import thinned

VALUES = np.arange(6, dtype="<f4")


class Settings:
    """A class of the user's."""

    def __init__(self):
        self.rate, self.betas = 0.1, (0.9, 0.999)


class Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class Attributes(dict):
    """As Lightning's AttributeDict and EasyDict."""


class Schedule(list):
    pass


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")
LOOP: list = []
LOOP.append(LOOP)

BESIDE = {
    "Counter": collections.Counter([3, 3, 5]), "OrderedDict": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, {"a": [1]}), "deque": collections.deque([1, 2], 5), "set": {"a", 2},
    "frozenset": frozenset([1]), "bytes": b"\xff\0", "bytearray": bytearray(b"\xff"), "long bytes": bytes(70_000),
    "Path": pathlib.PurePosixPath("a/b"), "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5),
    "timedelta": datetime.timedelta(3), "date": datetime.date(2020, 1, 2), "float64": np.float64(0.5),
    "int64": np.int64(7), "bool_": np.bool_(True), "array": np.arange(3), "objects": np.array([None, {}], object),
    "dtype": np.dtype("f4"), "generator": np.random.default_rng(0), "random": random.getstate(),
    "Namespace": argparse.Namespace(lr=0.1, layers=[1, 2]), "None as key": {None: 1}, "float as key": {0.5: 1},
    "tuple as key": {(1, 2): 3}, "bytes as key": {b"a": 1}, "frozenset as key": {frozenset([1]): 2},
    "object": Settings(), "slots": Slots(), "attributes": Attributes(lr=0.1), "list of its own": Schedule([1, 2]),
    "enum": Colour.RED, "named tuple": Point(1, 2), "complex": 1 + 2j, "large": 2**70, "huge": 2**5000,
    "range": range(5), "partial": functools.partial(int, base=2), "slice": slice(1, 2), "class": Settings,
    "function": len, "pattern": re.compile("a+"), "fraction": fractions.Fraction(1, 3), "uuid": uuid.UUID(int=5),
    "decimal": decimal.Decimal("0.1"), "error": ValueError("x"), "itself": LOOP, "Ellipsis": ...,
    "infinity": float("inf"), "text": "é\udcff".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
}  # fmt: skip


def body(value, protocol):
    """The instructions of a pickle, without its first and its last."""
    content = pickle.dumps(value, protocol)
    return content[11 if protocol >= 4 and content[2:3] == b"\x95" else 2 : -1]


def checkpoint(make, beside):
    """{"state_dict": {"fc.weight": tensor}, "beside": …}"""
    weights = b"}(" + text("fc.weight") + tensor() + b"u"
    content = [("0", VALUES.tobytes())] if make is zip_checkpoint else [("0", 6, VALUES.tobytes())]
    return make(b"\x80\x02}(" + text("beside") + beside + text("state_dict") + weights + b"u.", content)


@pytest.mark.parametrize("make", [zip_checkpoint, legacy_checkpoint])
@pytest.mark.parametrize("protocol", thinned([2, 3, 4, 5], keep=lambda protocol: protocol in (2, 4)))
def test_anything_may_lie_beside_the_weights(tmp_path, make, protocol):
    for name, value in BESIDE.items():
        path = tmp_path / "c.pth"
        path.write_bytes(checkpoint(make, body(value, protocol)))
        found = load_weights(path)
        assert list(found) == ["fc.weight"], name
        np.testing.assert_array_equal(found["fc.weight"], VALUES.reshape(2, 3), err_msg=name)


def test_programs_beside_the_weights_do_not_run(tmp_path, monkeypatch):
    """Every pickle that would run something is a placeholder, or the file is refused; nothing runs."""
    monkeypatch.chdir(tmp_path)
    read = set()
    for name, program in programs().items():
        path = tmp_path / "c.pth"
        path.write_bytes(checkpoint(zip_checkpoint, program[2:-1] if program[:1] == b"\x80" else program[:-1]))
        with contextlib.suppress(ValueError):
            assert list(load_weights(path)) == ["fc.weight"]
            read.add(name)
    assert not (tmp_path / MARK).exists()
    assert {"os.system, protocol 2", "exec, protocol 4", "NEWOBJ", "GLOBAL and REDUCE", "OBJ", "EXT2"} <= read


@pytest.mark.parametrize(("beside", "why"), [
    (tensor(storage("torch\nComplexFloatStorage\n", text("1"), number(3)), shape=(3,), strides=(1,)), "ComplexFloat"),
    (tensor(storage("torch\nQUInt8Storage\n", text("1"), number(24)), shape=(24,), strides=(1,)), "QUInt8Storage"),
    (tensor(storage(key=text("1")), shape=(100, 6), strides=(0, 1)), "or expanded"),
    (tensor(storage(key=text("1")), offset=number(3)), "beyond its storage"),
    (b"ctorch._utils\n_rebuild_sparse_tensor\n(K\x01tR", "_rebuild_sparse_tensor"),
    (b"cnumpy.core.multiarray\n_reconstruct\n(K\x01tR", "_reconstruct"),
])  # fmt: skip
def test_a_strange_tensor_matters_only_among_the_weights(tmp_path, beside, why):
    path = tmp_path / "c.pth"
    path.write_bytes(checkpoint(zip_checkpoint, b"}(" + text("moment") + beside + b"u"))
    assert list(load_weights(path)) == ["fc.weight"]
    path.write_bytes(zip_checkpoint(state(("fc.weight", tensor()), ("odd", beside)), [("0", VALUES.tobytes())]))
    with pytest.raises(ValueError, match=rf"its array 'odd' .*{why}"):
        load_weights(path)


def test_a_strange_storage_before_the_weights_is_skipped_in_the_old_format(tmp_path):
    odd = tensor(storage("torch\nComplexFloatStorage\n", text("1"), number(3)), shape=(3,), strides=(1,))
    program = b"\x80\x02}(" + text("beside") + b"}(" + text("m") + odd + b"u" + text("model") + b"}(" + text("w") + (
        tensor() + b"uu.")
    path = tmp_path / "c.pth"
    path.write_bytes(legacy_checkpoint(program, [("1", 3, bytes(24)), ("0", 6, VALUES.tobytes())]))
    np.testing.assert_array_equal(load_weights(path)["w"], VALUES.reshape(2, 3))


def test_a_tensor_under_a_key_that_is_no_name(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(zip_checkpoint(b"\x80\x02}(" + b"K\x01K\x02\x86" + tensor() + b"u.", [("0", VALUES.tobytes())]))
    with pytest.raises(ValueError, match=r"it names an array \(1, 2\), which can't"):
        load_weights(path)


def test_a_whole_model_is_named(tmp_path):
    path = tmp_path / "c.pth"
    for program, kind in ((b"cmy.nets\nNet\n)\x81}b", "my.nets.Net"), (b"cmy.nets\nNet\n)R", "my.nets.Net")):
        path.write_bytes(zip_checkpoint(b"\x80\x02" + program + b"."))
        with pytest.raises(ValueError, match=f"it holds a whole {kind}, not a state dict: in PyTorch, save"):
            load_weights(path)
    path.write_bytes(zip_checkpoint(b"\x80\x02}(" + text("model") + b"cmy.nets\nNet\x1b[2J\n)\x81}bu."))
    with pytest.raises(ValueError, match=r"'model' is a 'my\.nets\.Net\\x1b\[2J'"):
        load_weights(path)


@pytest.mark.parametrize("key", sorted(BESIDE))
def test_torch_saves_it_so(tmp_path, key):
    torch = pytest.importorskip("torch")
    weights = {"fc.weight": torch.arange(6.0).reshape(2, 3)}
    for beside in (BESIDE[key], torch.device("cpu"), torch.float32, torch.Size([2]), torch.zeros(2).to_sparse(),
                   torch.zeros(1).expand(9), torch.zeros(2, dtype=torch.complex64)):  # fmt: skip
        torch.save({"beside": {"x": beside}, "state_dict": weights}, tmp_path / "c.pth")
        np.testing.assert_array_equal(load_weights(tmp_path / "c.pth")["fc.weight"], VALUES.reshape(2, 3))


def test_averaged_models_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    for wrapped in (torch.optim.swa_utils.AveragedModel(net), torch.nn.DataParallel(net),
                    torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(net))):  # fmt: skip
        torch.save(wrapped.state_dict(), tmp_path / "a.pth")
        found = load_weights(tmp_path / "a.pth")
        assert found.keys() == net.state_dict().keys()


# ------------------------------------------------------------------------------------------------------------- prefixes


def net():
    return Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 3))


@pytest.mark.parametrize("before", ["model.", "net.", "backbone.", "encoder.", "module.model.", "_orig_mod.module.",
                                    "student.backbone.body."])  # fmt: skip
@pytest.mark.parametrize("beside", [{}, {"n_averaged": np.int64(3)}])
def test_a_prefix_is_found_by_the_models_own_names(tmp_path, before, beside):
    given, path = net(), tmp_path / "w.npz"
    values = {name: np.random.default_rng(i).normal(size=array.shape)
              for i, (name, array) in enumerate(net().state_dict().items())}
    save_weights(path, {f"{before}{name}": array for name, array in values.items()} | beside
                 | {f"{before}1.num_batches_tracked": np.int64(5)})  # fmt: skip
    report = load_into(given, path, strict=not beside)
    assert report.prefix == before
    assert report.unexpected == list(beside)
    assert not report.missing
    for name, array in values.items():
        np.testing.assert_allclose(given.state_dict()[name], array, rtol=1e-6)


def test_a_prefix_that_is_not_needed_ambiguous_or_given(tmp_path):
    values, path = net().state_dict(), tmp_path / "w.npz"
    save_weights(path, values | {f"ema.{name}": array + 1 for name, array in values.items()})
    assert load_into(net(), path, strict=False).prefix == ""
    save_weights(path, {f"{who}.{name}": array + shift for who, shift in (("student", 0), ("teacher", 1))
                        for name, array in values.items()})  # fmt: skip
    with pytest.raises(ValueError, match=r"under 2 prefixes, 'student\.', 'teacher\.': choose one with prefix=…"):
        load_into(net(), path)
    given = net()
    assert load_into(given, path, prefix="teacher.").ok
    np.testing.assert_array_equal(given.state_dict()["0.weight"], values["0.weight"] + 1)
    with pytest.raises(ValueError, match=r"begins with the prefix 'body\.': they begin with student\., teacher\."):
        load_into(net(), path, prefix="body.")


def test_a_prefix_holds_half_of_the_models_names_and_more_than_there_are_without():
    assert prefix.find(["x.a", "x.b"], list("abcd")) == "x."
    assert prefix.find(["x.a", "x.b"], list("abcde")) == ""
    assert prefix.find(["x.a", "x.b", "c"], list("abcd")) == "x."
    assert prefix.find(["x.a", "x.b", "c", "d"], list("abcd")) == ""


def test_a_prefix_of_some_names_only(tmp_path):
    """timm's and many others' files: the body under a prefix, the head without."""
    values, path = net().state_dict(), tmp_path / "w.npz"
    save_weights(path, {name if name.startswith("4.") else f"backbone.{name}": a for name, a in values.items()})
    given = net()
    assert load_into(given, path).prefix == "backbone."
    for name, array in values.items():
        np.testing.assert_array_equal(given.state_dict()[name], array)


def test_no_prefix_is_found_by_chance():
    assert prefix.find(["layer1.0.weight", "layer1.0.bias"], {"0.weight", "1.weight", "2.weight", "3.weight"}) == ""
    assert prefix.find([], {"a"}) == ""
    assert prefix.find(["a.b.a"], {"a"}) == "a.b."


# ------------------------------------------------------------------------------------------------------- other formats


@pytest.mark.parametrize(("content", "words"), [
    (packed([("net/data.pkl", b""), ("net/code/__torch__.py", b""), ("net/constants.pkl", b"")]), "TorchScript"),
    (packed([("archive/archive_format", b"pt2"), ("archive/models/model.json", b"{}")]), "torch.export"),
    (packed([("config.json", b"{}"), ("metadata.json", b"{}"), ("model.weights.h5", b"")]), "a Keras model"),
    (packed([("weights/resnet.pth", b"")]), "a zip file with weights in it: unpack it first"),
    (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0", "an ONNX model"),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras"),
    (b"GGUF\x03\0\0\0", "GGUF"), (b"\x1c\0\0\0TFL3", "TensorFlow Lite"), (b"MATLAB 5.0 MAT-file", "MATLAB"),
    (bytes(257) + b"ustar\0" + bytes(249), "a tar file, as PyTorch wrote them before version 0.2"),
    (b'{"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}', "the index of safetensors"),
    (b'  {"a": 1}', "a JSON text"), (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed file"), (b"<!DOCTYPE html>", "a web page"), (b"\x1f\x8b\x08", "a gzip file"),
    (b"\x93NUMPY\1\0", "a single array"), (b'model_checkpoint_path: "model.ckpt-5"', "TensorFlow checkpoints"),
    (b"\xab\xcd\xef\x01" * 20, "found another format"),
])  # fmt: skip
def test_other_formats_have_their_own_names(tmp_path, content, words):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        load_weights(path)
    assert str(error.value).startswith(f"{path}: expected weights (")


@pytest.mark.parametrize(("inside", "words"), [
    ("saved_model.pb", "TensorFlow's SavedModel"), ("model.safetensors", "name the file in it, such as 'model.saf"),
    ("data.pkl", "a PyTorch checkpoint that was unpacked"), ("ckpt.index", "TensorFlow checkpoints"),
])  # fmt: skip
def test_folders_have_their_own_names(tmp_path, inside, words):
    (tmp_path / inside).write_bytes(b"")
    with pytest.raises(ValueError, match=words):
        load_weights(tmp_path)


def test_shapes_are_read_without_values(tmp_path):
    arrays = {"a": np.zeros((3, 2), np.float32), "b.c": np.zeros((), np.int64)}
    for suffix in ("npz", "safetensors"):
        save_weights(tmp_path / f"w.{suffix}", arrays)
        assert weight_shapes(tmp_path / f"w.{suffix}") == {"a": (3, 2), "b.c": ()}


@pytest.mark.filterwarnings("ignore")
def test_torch_script_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "s.pt")
    with pytest.raises(ValueError, match="TorchScript"):
        load_weights(tmp_path / "s.pt")


def test_a_call_with_an_object_of_the_file_stays_inert(tmp_path):
    """What a placeholder would return is a placeholder: getattr(__import__("os"), "system")("…")."""
    trap = Runs(getattr, Runs(__import__, "os"), "system")
    path = tmp_path / "c.pth"
    path.write_bytes(checkpoint(zip_checkpoint, body(trap, 2)))
    assert list(load_weights(path)) == ["fc.weight"]
