"""Weights to files and back, and into models: exact, whole, and with a report of what does not fit."""

import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from minicnn import models, nn, seed
from minicnn.io.weights import load_into, load_weights, save_weights
from tests.io.weight_files import (
    entry,
    legacy_checkpoint,
    npy,
    npz,
    number,
    packed,
    state,
    storage,
    tensor,
    zip_checkpoint,
)
from tests.io.weight_files import safetensors as safetensors_of

MIB = 2**20
FORMATS = ("safetensors", "npz")


@pytest.fixture
def net():
    seed(0)
    return models.build("lenet5")


def written(path, content):
    path.write_bytes(content)
    return path


def brain(values):
    """The bits of bfloat16, for values that it holds exactly."""
    return (np.asarray(values, "f4").view("u4") >> 16).astype("<u2").tobytes()


# -------------------------------------------------------------------------------------------------------- save and load


@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip_is_exact(net, tmp_path, suffix):
    path = tmp_path / f"net.{suffix}"
    save_weights(path, net.state_dict())
    loaded = load_weights(path)
    assert loaded.keys() == net.state_dict().keys()
    for name, array in net.state_dict().items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].tobytes() == array.tobytes()
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"])
def test_types_and_layouts(tmp_path, suffix, dtype, rng):
    whole = (rng.standard_normal((4, 6)) * 50).astype(dtype)
    expected = {"whole": whole, "transposed": whole.T, "part": whole[::2, 1:4], "backwards": whole[::-1],
                "scalar": whole[1, 2], "none": whole[:0], "fortran": np.asfortranarray(whole),
                "file": whole}  # fmt: skip
    path = tmp_path / f"x.{suffix}"
    save_weights(path, expected)
    loaded = load_weights(path)
    assert loaded.keys() == expected.keys()
    for name, array in expected.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == ("f4" if dtype == "f2" else np.dtype(dtype).newbyteorder("="))
        assert np.array_equal(loaded[name], array)


def test_all_halves_are_widened_exactly(tmp_path):
    bits = np.arange(2**16, dtype="<u2")
    header = {"half": entry("F16", (2**16,), (0, 2**17)), "brain": entry("BF16", (2**16,), (2**17, 2**18))}
    path = written(tmp_path / "x", safetensors_of(header, bits.tobytes() * 2))
    loaded = load_weights(path)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(loaded["half"], bits.view("f2").astype("f4"))
    assert np.array_equal(loaded["brain"].view("u4"), bits.astype("u4") << 16)
    assert loaded["half"].dtype == loaded["brain"].dtype == np.float32


@pytest.mark.parametrize("size", [2**17 - 1, 2**17, 2**17 + 1, 3 * 2**17 + 5])
def test_pieces_are_put_together(tmp_path, size):
    values = np.arange(size, dtype="f4") % 256
    program = state(("a", tensor(storage("torch\nBFloat16Storage\n", count=number(size)), shape=(size,), strides=(1,))))
    for content in (zip_checkpoint(program, [("0", brain(values))]),
                    legacy_checkpoint(program, [("0", size, brain(values))]),
                    safetensors_of({"a": entry("BF16", (size,), (0, 2 * size))}, brain(values)),
                    npz(f"{{'descr': '>f4', 'fortran_order': False, 'shape': ({size},), }}\n",
                        values.astype(">f4").tobytes())):  # fmt: skip
        assert np.array_equal(load_weights(written(tmp_path / "x", content))["a"], values)


def test_what_numpy_writes_is_read(tmp_path, rng):
    expected = {"a": rng.standard_normal((3, 4)), "b.c": np.asfortranarray(rng.standard_normal((3, 4, 5))),
                "d": np.float32(3), "e": np.zeros((2, 0))}  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **expected)
        loaded = load_weights(tmp_path / "x.npz")
        assert all(np.array_equal(loaded[name], array) for name, array in expected.items())
    file = io.BytesIO()
    np.lib.format.write_array(file, expected["a"], version=(2, 0))
    path = written(tmp_path / "y.npz", packed([("a.npy", file.getvalue())]))
    assert np.array_equal(load_weights(path)["a"], expected["a"])
    path.write_bytes(npz("{'descr':'<f4','fortran_order':True,'shape':(2L,3L)}", np.arange(6, dtype="<f4").tobytes()))
    assert load_weights(path)["a"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_numpy_and_the_library_read_what_is_written(tmp_path, rng):
    expected = {"b": rng.standard_normal((3, 4)).astype("f4").T, "a": np.arange(5), "file": np.float16(3)}
    save_weights(tmp_path / "x.npz", expected)
    save_weights(tmp_path / "x.safetensors", expected)
    with np.load(tmp_path / "x.npz") as loaded:
        for other in (loaded, safetensors.numpy.load_file(tmp_path / "x.safetensors")):
            assert all(np.array_equal(other[name], array) for name, array in expected.items())
            assert all(other[name].dtype == array.dtype for name, array in expected.items())


def test_the_name_says_nothing_of_the_content(net, tmp_path):
    for suffix in FORMATS:
        save_weights(tmp_path / f"x.{suffix}", net.state_dict())
        (tmp_path / f"x.{suffix}").rename(tmp_path / "x.pth")
        assert load_weights(str(tmp_path / "x.pth")).keys() == net.state_dict().keys()


def test_nothing_is_something(tmp_path):
    for suffix in FORMATS:
        save_weights(tmp_path / f"x.{suffix}", {})
        assert load_weights(tmp_path / f"x.{suffix}") == {}


@pytest.mark.parametrize(("name", "changes", "sentence"), [
    ("x.pt", {}, "must end in .safetensors or .npz, the two formats that can be written"),
    ("x", {}, "must end in .safetensors or .npz"),
    ("x.npz", {"a": np.array([None])}, "can't be written, 'a': it holds values of type '|O', which are not real"),
    ("x.npz", {"a": np.zeros(2, "c8")}, "which are not real numbers: convert them to float32"),
    ("x.npz", {"a": "text"}, "which are not real numbers: convert them to float32"),
    ("x.safetensors", {"../a": np.zeros(2)}, "an array '../a', which can't be the name of a parameter: rename it"),
    ("x.safetensors", {"": np.zeros(2)}, "it names an array '', which can't be the name of a parameter"),
    ("x.safetensors", {3: np.zeros(2)}, "it names an array 3, which can't be the name of a parameter"),
], ids=str)  # fmt: skip
def test_what_can_not_be_written(tmp_path, name, changes, sentence):
    with pytest.raises(ValueError) as error:
        save_weights(tmp_path / name, changes)
    assert sentence in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert os.listdir(tmp_path) == []


def test_files_that_are_not_there(tmp_path):
    path = tmp_path / "none.npz"
    with pytest.raises(FileNotFoundError) as error:
        load_weights(path)
    assert str(error.value) == f"there is no weights file {path}: check the name and the folder"
    with pytest.raises(ValueError, match=r"expected a file of weights, found a folder: name the file in it$"):
        load_weights(tmp_path)


def test_memory_of_large_files(tmp_path):
    """No more than the arrays and a few pieces."""
    count = 4 * MIB
    data = np.arange(count, dtype="<f4").tobytes()
    program = state(("a", tensor(storage(count=number(count)), shape=(count,), strides=(1,))))
    header = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}\n")
    for content in (zip_checkpoint(program, [("0", data)]), legacy_checkpoint(program, [("0", count, data)]),
                    safetensors_of({"a": entry("F32", (count,), (0, 4 * count))}, data),
                    packed([("a.npy", header + data)])):  # fmt: skip
        path = written(tmp_path / "x", content)
        tracemalloc.start()
        loaded = load_weights(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert loaded["a"][-1] == count - 1
        assert peak < len(content) + 20 * MIB


def test_zeros_may_be_compressed_a_little(tmp_path):
    """A freshly made net is mostly noise, but its biases and buffers compress to nothing."""
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(8 * MIB - 1, "f4"))
    assert load_weights(tmp_path / "x.npz")["a"].size == 8 * MIB - 1
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(9 * MIB, "f4"))
    with pytest.raises(ValueError, match="32 MiB: write it without compression"):
        load_weights(tmp_path / "x.npz")


# ---------------------------------------------------------------------------------------------------------- into models


@pytest.fixture
def saved(net, tmp_path):
    save_weights(tmp_path / "net.npz", net.state_dict())
    return tmp_path / "net.npz"


def same(one, other, names):
    return all(np.array_equal(one[name], other[name]) for name in names)


def test_a_whole_model(net, saved):
    seed(1)
    other = models.build("lenet5")
    assert load_into(other, saved).ok
    assert same(net.state_dict(), other.state_dict(), net.state_dict())


@pytest.mark.parametrize("skip", ["classifier.5", "classifier.5.", ("classifier.5.",),
                                  ["classifier.5.weight", "classifier.5.bias"]], ids=str)  # fmt: skip
def test_another_number_of_classes(net, saved, skip):
    seed(1)
    other = models.build("lenet5", num_classes=3)
    head = {name: array for name, array in other.state_dict().items() if name.startswith("classifier.5.")}
    report = load_into(other, saved, skip=skip)
    assert report.ok
    after = other.state_dict()
    assert len(head) == 2
    assert same(after, head, head)
    assert same(after, net.state_dict(), after.keys() - head.keys())


def test_a_part_of_a_name_is_no_part_of_a_model(tmp_path):
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    before = model.state_dict()
    save_weights(tmp_path / "x.npz", {name: array + 1 for name, array in before.items()})
    load_into(model, tmp_path / "x.npz", skip="1")
    after = model.state_dict()
    assert same(after, before, ["1.weight", "1.bias"])
    assert not same(after, before, ["10.weight"])


def test_what_does_not_fit(net, saved):
    other = models.build("lenet5", num_classes=3)
    before = other.state_dict()
    with pytest.raises(ValueError) as error:
        load_into(other, saved)
    text = str(error.value)
    assert text.startswith(f"{saved}: the state does not fit this ")
    assert "misshapen: classifier.5.weight is (" in text
    assert 'skip=("layer", …) leaves layers out' in text
    assert same(other.state_dict(), before, before)
    report = load_into(other, saved, strict=False)
    assert len(report.misshapen) == 2
    assert not report.missing
    assert not report.unexpected
    assert same(other.state_dict(), net.state_dict(), ["features.0.weight"])


def test_skipped_parts_are_neither_missing_nor_unexpected(net, tmp_path):
    names = net.state_dict()
    save_weights(tmp_path / "x.npz", {**{n: a for n, a in names.items() if not n.startswith("classifier.5")},
                                      "aux.weight": np.zeros(3)})  # fmt: skip
    with pytest.raises(ValueError, match=r"missing: classifier\.5\.weight, .*; unexpected: aux\.weight"):
        load_into(net, tmp_path / "x.npz")
    assert load_into(net, tmp_path / "x.npz", skip=("classifier.5", "aux")).ok


def test_a_skip_that_names_nothing(net, saved):
    with pytest.raises(ValueError) as error:
        load_into(net, saved, skip="fc")
    assert str(error.value).startswith("skip='fc' is neither in this ")
    assert str(error.value).endswith("its layers are features, classifier")


def test_a_pytorch_checkpoint_of_half_precision_in_data_parallel(tmp_path):
    program = b"\x80\x02}" + b"(" + struct.pack("<BI", 0x58, 10) + b"state_dict" + state(
        ("module.weight", tensor(storage("torch\nHalfStorage\n"))),
        ("module.bias", tensor(storage("torch\nHalfStorage\n"), offset=number(4), shape=(2,), strides=(1,))),
        ("module.num_batches_tracked", tensor(storage("torch\nLongStorage\n", key=b"X\1\0\0\0n", count=number(1)),
                                              shape=(), strides=())),
    )[2:-1] + b"u."  # fmt: skip
    values = np.arange(6, dtype="<f2").tobytes()
    model = nn.Linear(3, 2)
    path = written(tmp_path / "x.pt", zip_checkpoint(program, [("0", values), ("n", bytes(8))]))
    assert load_into(model, path).ok
    assert model.state_dict()["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model.state_dict()["bias"].tolist() == [4, 5]
