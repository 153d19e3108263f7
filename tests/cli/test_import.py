"""minicnn import: what is read, what is remembered, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minicnn import Tensor, data, models, no_grad, seed
from minicnn.io import model_file
from minicnn.io.weights import save_weights
from minicnn.nn import init
from tests.program import document, sentence


@pytest.fixture(scope="module")
def lenet():
    seed(3)
    return models.build("lenet5")


@pytest.fixture
def weights(lenet, tmp_path):
    save_weights(tmp_path / "w.safetensors", lenet.state_dict())
    return tmp_path / "w.safetensors"


def logits(net, pixels, mean=0.0, std=1.0):
    with no_grad():
        return net.eval()(Tensor(((pixels[None].astype(np.float32) / 255 - mean) / std).astype(np.float32))).numpy()[0]


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_imported_weights_predict_as_the_net_does(minicnn_, lenet, tmp_path, suffix):
    save_weights(tmp_path / f"w.{suffix}", lenet.state_dict())
    out_file = tmp_path / "model [b].safetensors"
    rc, out, err = minicnn_("import", "lenet5", tmp_path / f"w.{suffix}", "--set", "num_classes=10", "--preprocess",
                            "none",
                            "--out", out_file)  # fmt: skip
    assert (rc, err) == (0, "")
    assert out == f"{out_file}: lenet5, 61,706 parameters, 10 classes\n"
    net, about = model_file.load(out_file)
    pixels = data.load("digits").test.images[5]
    np.testing.assert_array_equal(logits(net, pixels), logits(lenet, pixels))
    assert about.classes == list("0123456789")
    Image.fromarray(pixels[0]).save(tmp_path / "digit.png")
    rc, out, err = minicnn_("predict", out_file, tmp_path / "digit.png", "--json", "--top", 10)
    assert (rc, err) == (0, "")
    z = logits(lenet, pixels).astype(float)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    found = {c["index"]: c["probability"] for c in document(out)[0]["classes"]}
    np.testing.assert_allclose([found[k] for k in range(10)], p, rtol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digit.png", "model [b].safetensors", f"w.{suffix}"]


def test_a_pytorch_checkpoint_of_another_net_is_a_sentence(minicnn_, tmp_path):
    for name in ("model-zip.pt", "model-legacy.pt"):
        shutil.copy(Path(__file__).parents[1] / "io" / "checkpoints" / name, tmp_path / name)
        rc, out, err = minicnn_("import", "lenet5", name, "--out", "m.safetensors", "--set", "num_classes=10")
        text = sentence(err, 1, rc)
        assert text.startswith(f"{name} does not fit lenet5 with 10 classes (missing: features.0.weight, ")
        assert "unexpected: 0.weight, 0.bias, " in text
        assert out == ""
    assert not (tmp_path / "m.safetensors").exists()


def test_a_part_that_only_the_file_has_can_be_skipped(minicnn_, lenet, tmp_path):
    save_weights(tmp_path / "w.npz", {**lenet.state_dict(), "aux1.weight": np.ones((2, 3), np.float32)})
    command = ["import", "lenet5", tmp_path / "w.npz", "--set", "num_classes=10", "--out", tmp_path / "m.safetensors"]
    rc, _, err = minicnn_(*command)
    assert "unexpected: aux1.weight" in sentence(err, 1, rc)
    assert not (tmp_path / "m.safetensors").exists()
    rc, _, err = minicnn_(*command, "--skip", "aux1")
    assert (rc, err) == (0, "")
    net, _ = model_file.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(net["features"][0].weight.numpy(), lenet["features"][0].weight.numpy())


def test_the_inception_nets_see_values_from_minus_one_to_one(minicnn_, weights, tmp_path):
    rc, _, err = minicnn_("import", "lenet5", weights, "--set", "num_classes=10", "--preprocess", "inception",
                          "--out", tmp_path / "m.safetensors")  # fmt: skip
    assert (rc, err) == (0, "")
    about = model_file.load(tmp_path / "m.safetensors")[1]
    assert [(v - about.mean[0]) / about.std[0] for v in (0, 0.5, 1)] == [-1, 0, 1]


TEN = ["zero", "one", "two", "three", "four", "five", "six [b]", "seven", "eight", "nïne, 九"]


@pytest.mark.parametrize("content", [
    json.dumps(TEN), json.dumps({str(i): name for i, name in enumerate(TEN)}),
    json.dumps({str(i): name for i, name in reversed(list(enumerate(TEN)))}), "\n".join(TEN), "\n".join(TEN) + "\n\n",
], ids=["list", "dict", "dict in another order", "lines", "lines with an end"])  # fmt: skip
def test_labels(minicnn_, weights, tmp_path, content):
    (tmp_path / "labels").write_text(content, encoding="utf-8")
    rc, _, err = minicnn_("import", "lenet5", weights, "--labels", "labels", "--out", "m.safetensors")
    assert (rc, err) == (0, "")
    assert model_file.load(tmp_path / "m.safetensors")[1].classes == TEN


@pytest.mark.parametrize(("content", "text"), [
    (json.dumps(TEN[:9]), "does not fit lenet5 with 9 classes (misshapen: classifier.5.weight is (10, 84), must be (9, "
     "84), classifier.5.bias is (10,), must be (9,)): try another variant (NAME:VARIANT), "
     "--set num_classes=N or --labels, or --skip"),
    (json.dumps({"0": "a", "2": "b"}), "labels has no label for class '1': its keys must be 0 to 1"),
    ("[]", "labels must hold class names: a JSON list, a JSON object by index, or one per line"),
    ("", "labels must hold class names"), ("17", "labels must hold class names"), ("[1, 2]", "must hold class names"),
    (b"\xff\xfe\x00", "labels is not text in UTF-8, so it holds no class names"),
    (None, "there is no label file labels: check the name and the folder"),
])  # fmt: skip
def test_labels_that_do_not_fit(minicnn_, weights, tmp_path, content, text):
    if content is not None:
        (tmp_path / "labels").write_bytes(content if isinstance(content, bytes) else content.encode())
    rc, out, err = minicnn_("import", "lenet5", weights, "--labels", "labels", "--out", "m.safetensors")
    assert text in sentence(err, 1, rc)
    assert out == ""
    assert not (tmp_path / "m.safetensors").exists()


def test_a_file_that_is_there_stays_unless_told(minicnn_, weights, tmp_path):
    out_file = tmp_path / "m.safetensors"
    out_file.write_bytes(b"precious")
    args = ("import", "lenet5", weights, "--set", "num_classes=10", "--out", out_file)
    rc, _, err = minicnn_(*args)
    assert sentence(err, 1, rc) == (f"{out_file} exists already and is kept: choose another --out, or add "
                                    "--overwrite")  # fmt: skip
    assert minicnn_("import", "lenet5", weights, "--set", "num_classes=9", "--out", out_file, "--overwrite")[0] == 1
    assert out_file.read_bytes() == b"precious", "and if the new one can't be made"
    assert minicnn_(*args, "--overwrite")[0] == 0
    assert model_file.load(out_file)[1].model == "lenet5"


@pytest.mark.parametrize(("content", "text"), [
    (None, "there is no weights file bad: check the name and the folder"), (b"", "bad: it is empty"),
    (b"junk" * 50, "bad: expected weights"), (b"PK\3\4" + b"junk" * 50, "bad: it is not a whole zip file"),
    (b"<html>", "a web page: the download failed"),
])  # fmt: skip
def test_bad_weights_leave_no_file(minicnn_, tmp_path, content, text):
    if content is not None:
        (tmp_path / "bad").write_bytes(content)
    rc, out, err = minicnn_("import", "lenet5", "bad", "--set", "num_classes=10", "--out", "m.safetensors")
    assert text in sentence(err, 1, rc)
    assert out == ""
    assert {path.name for path in tmp_path.iterdir()} <= {"bad"}


def test_what_cannot_be_read_back_never_gets_the_name(minicnn_, weights, monkeypatch, tmp_path):
    def fail(path):
        raise ValueError("contradicts itself")

    monkeypatch.setattr(model_file, "load", fail)
    rc, _, err = minicnn_("import", "lenet5", weights, "--set", "num_classes=10", "--out", "m.safetensors")
    assert sentence(err, 1, rc) == "contradicts itself"
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_preprocessing(minicnn_, tmp_path):
    with init.shapes_only():
        shapes = {name: p.shape for name, p in models.build("squeezenet1_1", num_classes=2).named_parameters()}
    save_weights(tmp_path / "s.npz", {name: np.full(shape, 0.01, np.float32) for name, shape in shapes.items()})
    for preset, mean, std, resize in (
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 256),
        ("caffe", [123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3, 256),
        ("none", [0.0] * 3, [1.0] * 3, 0),
    ):
        rc, _, err = minicnn_("import", "squeezenet1_1", "s.npz", "--set", "num_classes=2", "--preprocess", preset,
                              "--out", f"{preset}.safetensors")  # fmt: skip
        assert (rc, err) == (0, "")
        about = model_file.load(tmp_path / f"{preset}.safetensors")[1]
        assert (about.mean, about.std, about.resize) == (mean, std, resize)
        assert about.input == [3, 224, 224]


def test_a_variant_is_remembered(minicnn_, tmp_path):
    save_weights(tmp_path / "c.npz", models.build("lenet5", variant="caffe").state_dict())
    assert minicnn_("import", "lenet5:caffe", "c.npz", "--set", "num_classes=10", "--out", "c.st")[0] == 0
    net, about = model_file.load(tmp_path / "c.st")
    assert about.options == {"num_classes": 10, "variant": "caffe"}
    assert sum(p.size for p in net.parameters()) == 431_080


SMALL = "--set", "width=0.125"


def test_what_was_taken_is_said(minicnn_, tmp_path):
    """A prefix, the normalisation and ImageNet's names."""
    seed(3)
    net = models.build("squeezenet1_1", width=0.125)
    save_weights(tmp_path / "w.npz", {f"model.{name}": array for name, array in net.state_dict().items()})
    rc, out, err = minicnn_("import", "squeezenet1_1", tmp_path / "w.npz", *SMALL, "--out", tmp_path / "m.safetensors")
    assert (rc, err) == (0, "")
    first, prefix, normalisation, classes = out.splitlines()
    assert first.endswith(" parameters, 1,000 classes")
    assert prefix == "the prefix model. was taken off the names in the file"
    n = r"[\d.e+-]+"
    assert re.fullmatch(f"normalisation: imagenet, .* differ by {n}, and with caffe by {n}; .*", normalisation)
    assert classes == "classes: the names of ImageNet's 1000, in its order (--labels FILE for others)"
    loaded, about = model_file.load(tmp_path / "m.safetensors")
    assert about.classes[0] == "tench, Tinca tinca"
    assert about.classes[999] == "toilet tissue, toilet paper, bathroom tissue"
    np.testing.assert_array_equal(loaded.state_dict()["features.0.weight"], net.state_dict()["features.0.weight"])


def test_weights_that_need_inputs_of_caffes_size(minicnn_, tmp_path):
    """The same net with its first layer divided by 58 expects numbers 58 times larger."""
    seed(3)
    net = models.build("lenet5", in_channels=3)
    state = net.state_dict()
    state["features.0.weight"] = state["features.0.weight"] / 58
    save_weights(tmp_path / "w.npz", state)
    arguments = "import", "lenet5", tmp_path / "w.npz", "--set", "num_classes=10", "--set", "in_channels=3", "--out"
    rc, out, err = minicnn_(*arguments, tmp_path / "m.safetensors")
    assert (rc, err) == (0, "")
    assert "normalisation: caffe, with which" in out
    _, about = model_file.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(about.std, [1 / 255] * 3)
    rc, out, err = minicnn_(*arguments, tmp_path / "n.safetensors", "--preprocess", "inception")
    assert (rc, err, out.count("\n")) == (0, "", 1)
    assert model_file.load(tmp_path / "n.safetensors")[1].std == [0.5] * 3


def test_a_prefix_by_hand(minicnn_, tmp_path, lenet):
    values = lenet.state_dict()
    save_weights(tmp_path / "w.npz", {f"{who}.{name}": array + i for i, who in enumerate(("student", "teacher"))
                                      for name, array in values.items()})  # fmt: skip
    arguments = "import", "lenet5", tmp_path / "w.npz", "--set", "num_classes=10", "--out", tmp_path / "m.safetensors"
    rc, _, err = minicnn_(*arguments)
    assert "under 2 prefixes, 'student.', 'teacher.': choose one" in sentence(err, 1, rc)
    rc, _, err = minicnn_(*arguments, "--prefix", "teacher.")
    assert (rc, err) == (0, "")
    found = model_file.load(tmp_path / "m.safetensors")[0].state_dict()
    np.testing.assert_array_equal(found["features.0.bias"], values["features.0.bias"] + 1)


@pytest.mark.parametrize(("content", "words"), [
    ("x\n" * 100_001, "has 100,001 class names, and there may be at most 100,000"),
    ("x" * (2**24 + 1), "16777217 bytes"),
])  # fmt: skip
def test_too_many_labels_cost_nothing(minicnn_, tmp_path, weights, content, words):
    (tmp_path / "labels.txt").write_text(content)
    rc, _, err = minicnn_("import", "vgg16", weights, "--labels", tmp_path / "labels.txt", "--out", tmp_path / "m")
    assert words in sentence(err, 1, rc)


def test_a_net_that_the_file_does_not_fit_is_not_built(minicnn_, tmp_path, weights, monkeypatch):
    monkeypatch.setattr(init, "generator", lambda: pytest.fail("values were drawn"))
    rc, _, err = minicnn_("import", "vgg16", weights, "--set", "num_classes=90000", "--out", tmp_path / "m")
    assert "does not fit vgg16 with 90,000 classes (missing: " in sentence(err, 1, rc)
