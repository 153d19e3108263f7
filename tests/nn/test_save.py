"""A net's own weights to a file and back, read by the safetensors package as an independent reader."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minicnn import Tensor, nn, seed
from minicnn.nn import Module, Sequential


class Own(Module):
    def __init__(self, hidden=4):
        self.blocks = [[nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)], nn.Flatten()]
        self.heads = {"small": nn.Linear(8, hidden), "large": nn.Linear(8, 2 * hidden, bias=False)}

    def forward(self, x):
        (conv, norm), flatten = self.blocks
        return self.heads["small"](flatten(norm(conv(x))))


@pytest.fixture
def net():
    seed(1)
    net = Own()
    net.blocks[0][1].running_mean.data = np.array([0.5, -2], np.float32)
    return net


def test_a_net_of_ones_own_round_trip(net, tmp_path, rng):
    net.save(tmp_path / "net.safetensors")
    seed(2)
    other = Own()
    x = Tensor(rng.standard_normal((2, 1, 4, 4)).astype(np.float32))
    assert not np.array_equal(other.eval()(x).data, net.eval()(x).data)
    assert other.load(tmp_path / "net.safetensors") is other
    assert not other.training, "load changes no mode"
    assert np.array_equal(other(x).data, net(x).data)


def test_the_file_is_safetensors_with_the_names_of_the_state(net, tmp_path):
    path = str(tmp_path / "net.safetensors")
    net.save(path)
    found, state = load_file(path), net.state_dict()
    assert sorted(found) == sorted(state)
    assert all(np.array_equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_float64_stays_and_a_file_of_another_dtype_is_converted(net, tmp_path):
    net.astype("float64").save(tmp_path / "64.safetensors")
    assert load_file(str(tmp_path / "64.safetensors"))["heads.small.bias"].dtype == np.float64
    other = Own().load(tmp_path / "64.safetensors")
    assert other.heads["small"].weight.dtype == np.float32


def test_a_file_of_another_net_is_refused_with_a_report_and_changes_nothing(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    other = Own(hidden=5)
    other.late = nn.Linear(1, 1, bias=False)
    before = other.state_dict()
    with pytest.raises(ValueError) as error:
        other.load(tmp_path / "net.safetensors")
    assert str(error.value) == (
        f"{tmp_path / 'net.safetensors'}: the state does not fit this Own: missing: late.weight; misshapen: "
        "heads.small.weight is (4, 8), must be (5, 8), heads.small.bias is (4,), must be (5,), heads.large.weight is "
        "(8, 8), must be (10, 8): build the net as it was when the file was written")
    assert all(np.array_equal(a, before[name]) for name, a in other.state_dict().items())


def test_what_is_no_such_file(net, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^there is no file .*none: check the name and the folder$"):
        net.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"^there is no folder .* to write a.safetensors in: make it first$"):
        net.save(tmp_path / "no" / "a.safetensors")
    net.save(tmp_path / "cut")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-3])
    (tmp_path / "text").write_bytes(b"weights")
    for name in ("cut", "text"):
        with pytest.raises(ValueError, match=rf"{name} is no complete safetensors file \(.*\): io.weights.load_into"):
            net.load(tmp_path / name)


def test_a_failed_save_leaves_the_old_file(net, tmp_path, monkeypatch):
    net.save(tmp_path / "net.safetensors")
    old = (tmp_path / "net.safetensors").read_bytes()
    net.heads["small"].bias.data = np.ones(4, np.float32)
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        net.save(tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_shared_layer_is_saved_under_each_of_its_names(tmp_path):
    layer = nn.Linear(2, 2)
    Sequential(layer, nn.ReLU(), layer).save(tmp_path / "a")
    assert sorted(load_file(str(tmp_path / "a"))) == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_pytorchs_counters_in_a_file_are_ignored(tmp_path):
    net = Sequential(nn.BatchNorm2d(2))
    save_file({**net.state_dict(), "0.num_batches_tracked": np.array(7)}, str(tmp_path / "a"))
    net.load(tmp_path / "a")


def test_importing_nn_does_not_import_safetensors():
    code = "import sys, minicnn.nn, minicnn.models; sys.exit('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
