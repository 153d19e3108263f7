"""Commands on ONNX files: import, summary, predict, eval, explain, visualize, export, transfer; a net's Python code."""

import json

import numpy as np
import pytest
from PIL import Image

from minicnn import Tensor, models, no_grad, ops, seed
from minicnn.io import model_file
from minicnn.io import onnx as onnx_io
from minicnn.io.model_file import Description
from minicnn.tensor import op
from tests.program import caller, document, sentence

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")

ABOUT = Description("resnet20", {"num_classes": 3}, ["ant", "bee", "cat"], [3, 32, 32], mean=[0.4, 0.5, 0.6],
                    std=[0.2, 0.3, 0.25], resize=40)  # fmt: skip


@pytest.fixture
def call(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def net():
    seed(3)
    made = models.build("resnet20", num_classes=3)
    made["fc"].weight.data = made["fc"].weight.data * 3
    return made.eval()


@pytest.fixture
def folder(net, tmp_path, monkeypatch):
    """A folder with net.onnx, written by minicnn; foreign.onnx, without metadata and with a softmax; and a picture."""
    monkeypatch.chdir(tmp_path)
    written = onnx_io.content(net, ABOUT)[0]
    (tmp_path / "net.onnx").write_bytes(written)
    foreign = onnx.load_model_from_string(written)
    del foreign.metadata_props[:]
    foreign.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["p"], axis=1))
    foreign.graph.output[0].name = "p"
    (tmp_path / "foreign.onnx").write_bytes(foreign.SerializeToString())
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    model_file.save(tmp_path / "own.safetensors", net, ABOUT)
    return tmp_path


def probabilities(call, model):
    rc, out, _ = call("predict", model, "noise.png", "--json", "--top", 3)
    assert rc == 0
    return {c["class"]: c["probability"] for c in document(out)[0]["classes"]}


def test_predict_gives_what_the_net_gives_that_was_exported(call, folder):
    wanted = probabilities(call, "own.safetensors")
    found = probabilities(call, "net.onnx")
    assert list(found) == list(wanted)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-5)
    assert call("import", "net.onnx", "--out", "net.safetensors")[0] == 0
    assert probabilities(call, "net.safetensors") == pytest.approx(wanted, rel=1e-5)
    (folder / "net.onnx").unlink()                         # the model file needs it no more
    assert probabilities(call, "net.safetensors") == pytest.approx(wanted, rel=1e-5)


def test_what_import_says_of_a_foreign_file(call, folder):
    (folder / "labels.txt").write_text("one\ntwo\nthree\n")
    rc, out, err = call("import", "foreign.onnx", "--out", "f.safetensors", "--labels", "labels.txt")
    assert (rc, err) == (0, "")
    first, softmax, normalised = out.splitlines()
    assert first == "f.safetensors: foreign.onnx, 269,267 parameters, 3 classes"
    assert softmax.startswith("the Softmax at its end is left out")
    assert normalised.startswith("normalisation: ")
    about = model_file.description("f.safetensors")
    assert (about.model, about.classes) == ("graph", ["one", "two", "three"])
    assert (about.input, about.resize) == ([3, 32, 32], 37)
    x = np.random.default_rng(1).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with no_grad():
        mine = model_file.load("f.safetensors")[0](Tensor(x)).numpy()
        own = model_file.load("own.safetensors")[0](Tensor(x)).numpy()
    np.testing.assert_allclose(mine, own, rtol=1e-5, atol=1e-5)
    assert call("import", "foreign.onnx", "--out", "n.safetensors", "--preprocess", "none")[0] == 0
    assert model_file.description("n.safetensors").std == [1.0] * 3


def test_what_import_refuses(call, folder):
    (folder / "labels.txt").write_text("one\ntwo\n")
    for words, *args in (("its net has 3 classes, and 2 labels are given", "--labels", "labels.txt"),
                         ("holds its own weights", "--set", "num_classes=3"), ("--input", "--input", "3x32"),
                         ("takes images of 3×32×32, not of 3×64×64", "--input", "3x64x64")):  # fmt: skip
        rc, _, err = call("import", "net.onnx", "--out", "x.safetensors", *args)
        assert words in sentence(err, 1 if "takes images" in words or "its net" in words else 2, rc)
    rc, _, err = call("import", "lenet5", "--out", "x.safetensors")
    assert "WEIGHTS is missing" in sentence(err, 2, rc)
    rc, _, err = call("import", "lenet5", "own.safetensors", "--out", "x.safetensors", "--as-python", "n.py")
    assert "--as-python is for an ONNX file" in sentence(err, 2, rc)
    (folder / "bad.onnx").write_bytes(b"no such thing")
    rc, _, err = call("predict", "bad.onnx", "noise.png")
    assert "no ONNX file" in sentence(err, 1, rc)
    assert not (folder / "x.safetensors").exists()


def test_the_summary_is_that_of_the_net(call, folder):
    mine, own = (document(call("summary", model, "--json")[1]) for model in ("net.onnx", "resnet20"))
    for key in ("parameters", "macs"):
        ours = {x["name"]: x[key] for x in own["layers"] if x[key]}
        theirs = {x["name"]: x[key] for x in mine["layers"] if x[key]}
        ours.pop("fc"), theirs.pop("fc")                   # for 10 classes and for 3
        assert theirs == ours
    assert {x["name"]: x["field"] for x in mine["layers"] if x["kind"] == "Conv2d"} == \
        {x["name"]: x["field"] for x in own["layers"] if x["kind"] == "Conv2d"}


def test_python_code_of_a_net(call, folder):
    rc, out, err = call("import", "net.onnx", "--out", "net.safetensors", "--as-python", "net_code.py")
    assert (rc, err) == (0, "")
    assert "net_code.py: the same net as Python code" in out
    text = (folder / "net_code.py").read_text()
    assert "for block in self.blocks" in text
    assert text.count("nn.Conv2d(") < 12, "there are 21 convolutions"
    rc, out, err = call("summary", "net_code.py::Net", "--input", "3x32x32", "--json")
    assert (rc, err) == (0, "")
    assert document(out)["totals"]["parameters"] == 269_267


def test_other_commands_take_it(call, folder):
    rc, _, err = call("explain", "unit", "net.onnx", "noise.png", "--layer", "layer1.0.conv1", "--json")
    assert rc == 0, err
    rc, _, err = call("visualize", "net.onnx", "noise.png", "--out", "f.png")
    assert rc == 0, err
    rc, _, err = call("export", "net.onnx", "--onnx", "again.onnx", "--json")
    assert rc == 0, err
    said = {p.key: p.value for p in onnx.load("again.onnx").metadata_props}
    assert "graph" not in json.loads(said["minicnn"])["options"], "the nodes say it already"
    again = probabilities(call, "again.onnx")
    assert again == pytest.approx(probabilities(call, "net.onnx"), rel=1e-5)


def test_transfer_to_other_classes(call, folder, undrawn):
    rng = np.random.default_rng(0)
    for k, colour in enumerate(((200, 40, 40), (40, 200, 40))):
        (folder / "data" / f"class {k}").mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(colour + rng.normal(0, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / f"class {k}" / f"{i}.png")
    rc, _, err = call("transfer", "data", "--model", "net.onnx", "--out", "run", "--unfreeze", "fc", "--epochs", 1,
                      "--validation", 0.2, "--json")  # fmt: skip
    assert rc == 0, err
    found, about = model_file.load("run/best.safetensors")
    assert (about.model, about.classes) == ("graph", ["class 0", "class 1"])
    assert (about.mean, about.std) == (ABOUT.mean, ABOUT.std), "normalised as the file says"
    assert found.layers["fc"].weight.shape == (2, 64)
    body = model_file.load("net.onnx")[0].state_dict()
    for name, array in found.state_dict().items():
        if not name.startswith("fc."):
            np.testing.assert_array_equal(array, body[name])
    assert call("eval", "run", "--json")[0] == 0


@pytest.fixture
def lenet(tmp_path, monkeypatch):
    """A folder with lenet.onnx."""
    monkeypatch.chdir(tmp_path)
    seed(0)
    about = Description("lenet5", {}, list("0123456789"), [1, 28, 28], mean=[0.5], std=[0.25])
    onnx_io.save("lenet.onnx", models.build("lenet5").eval(), about)


@pytest.mark.usefixtures("lenet")
def test_gradcheck_of_a_net(call):
    rc, out, err = call("gradcheck", "lenet.onnx", "relu", "--seeds", 2, "--json")
    assert (rc, err) == (0, "")
    net, relu = document(out)["ops"]
    assert (net["op"], net["cases"], net["error"], relu["op"]) == ("lenet.onnx", 1, "", "relu")
    assert net["coordinates"] + len(net["kinks"]) == 2 * 10
    assert net["coordinates"] > 10
    assert 0 < net["worst"] < 1e-6


@pytest.mark.usefixtures("lenet")
def test_gradcheck_finds_a_wrong_gradient_in_a_net(call, monkeypatch):
    monkeypatch.setattr(ops, "relu", op(lambda x: (x * (x > 0), lambda dy: dy)))
    rc, out, err = call("gradcheck", "lenet.onnx")
    assert (rc, "WRONG" in out) == (1, True), err
    assert "the gradient of all arguments together along a random direction is" in err


@pytest.mark.parametrize(("args", "says"), [
    (["--shapes", "3x32x32"], "--shapes '3x32x32' must be that of the net's images, N x C x H x W"),
    (["--shapes", "1x3x16x16"], "lenet.onnx: its input 'image' takes images of 1×28×28, not of 3×16×16"),
    (["--sweep"], "--sweep is for ops and functions, and lenet.onnx is a net")])
@pytest.mark.usefixtures("lenet")
def test_gradcheck_of_a_net_answers_mistakes(call, args, says):
    rc, _, err = call("gradcheck", "lenet.onnx", *args)
    assert rc in (1, 2)
    assert says in err


def test_bench_of_a_file(call, folder):
    for name in ("net.onnx", "own.safetensors"):
        rc, out, err = call("bench", "model", name, "--batch", 2, "--seconds", 0.001, "--json")
        assert (rc, err) == (0, "")
        report = document(out)
        assert (report["model"], report["parameters"], report["input"]) == (name, 269_267, [3, 32, 32])
        assert report["macs"] == 40_551_040 - 7 * 64       # of ten classes, less seven of them
    rc, _, err = call("bench", "model", "net.onnx", "--set", "num_classes=3")
    assert "the options of the net in net.onnx are fixed" in sentence(err, 2, rc)
    rc, _, err = call("bench", "model", "none.onnx")
    assert "there is no model file none.onnx" in sentence(err, 1, rc)
