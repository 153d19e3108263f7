"""minicnn visualize: a picture of each kind, what is said about it, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from minicnn import models, seed
from minicnn.io import model_file
from minicnn.io.model_file import Description
from minicnn.io.weights import save_weights
from tests.program import caller, document, sentence
from tests.thinned import thinned

KINDS = ("filters", "maps", "saliency", "guided", "smooth-grad", "grad-cam", "occlusion", "deconvnet")


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def scene(tmp_path):
    """A model file of a small net and a picture."""
    seed(3)
    options, classes = {"num_classes": 3}, ["ant, emmet", "bee", "cat"]
    about = Description("resnet20", options, classes, [3, 32, 32], [0.5] * 3, [0.25] * 3)
    model_file.save(tmp_path / "net.safetensors", models.build("resnet20", num_classes=3), about)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "noise.png")


def look(call, *options, picture="noise.png", source="net.safetensors"):
    out = () if "--out" in options else ("--out", "drawn.png")
    rc, out, err = call("visualize", source, picture, *options, *out, "--json")
    assert (rc, err) == (0, "")
    return document(out)


# maps of all layers, and occlusion, take seconds to draw: below are maps of one layer, and occlusion's numbers
@pytest.mark.parametrize("what", thinned(KINDS, lambda what: what not in ("maps", "occlusion")))
def test_each_kind_is_drawn(call, tmp_path, what):
    pytest.importorskip("matplotlib")
    report = look(call, "--what", what)
    assert report["picture"] == "drawn.png"
    assert report["what"] == what
    drawn = np.asarray(Image.open(tmp_path / report["picture"]).convert("RGB"))
    assert min(drawn.shape[:2]) > 200
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50, "there is something on it"
    assert 0 <= report["probability"] <= 1


def test_grad_cam_says_where_it_looks(call):
    assert look(call)["layer"] == "layer3.2.conv2", "the last convolution"
    report = look(call, "--layer", "layer2.0", "--out", "b.png")
    assert report["layer"] == "layer2.0"
    assert report["size"] == [16, 16]
    assert np.shape(report["map"]) == (16, 16)
    _, out, _ = call("visualize", "net.safetensors", "noise.png", "--out", "c.png")
    assert "at layer3.2.conv2, the last convolution" in out


@pytest.mark.parametrize(("wanted", "index"), [("ant", 0), ("EMMET", 0), ("ant, emmet", 0), ("bee", 1), ("2", 2)])
def test_a_class_by_name_or_number(call, wanted, index):
    assert look(call, "--what", "saliency", "--class", wanted)["index"] == index


def test_a_net_of_the_zoo_with_weights(call, tmp_path):
    seed(3)
    save_weights(tmp_path / "w.npz", models.build("resnet20", num_classes=3).state_dict())
    report = look(call, "--weights", "w.npz", "--set", "num_classes=3", "--preprocess", "none", source="resnet20")
    assert report["layer"] == "layer3.2.conv2"
    assert report["class"] in ("0", "1", "2")


def test_maps_of_one_layer(call):
    assert look(call, "--what", "maps", "--layer", "layer1.0")["layers"] == ["layer1.0"]


def test_occlusion_and_deconvnet_report_their_numbers(call):
    report = look(call, "--what", "occlusion")
    assert report["size"] == 5
    assert report["least"] == np.min(report["map"])
    units = look(call, "--what", "deconvnet", "--layer", "conv1", "--out", "units.png")["units"]
    assert len(units) == 9
    for unit in units:
        i, j = unit["at"]
        assert unit["rows"] == [max(0, i - 1), min(32, i + 2)], "a 3×3 filter with padding 1"
        assert unit["columns"] == [max(0, j - 1), min(32, j + 2)]


@pytest.mark.parametrize(("options", "code", "words"), [
    (["--what", "gradcam"], 2, "unknown kind of picture 'gradcam': did you mean 'grad-cam'?"),
    (["--layer", "layer9.0"], 1, "unknown layer 'layer9.0': did you mean 'layer"),
    (["--class", "be"], 2, "unknown class 'be': did you mean 'bee'? The model has 3 classes"),
    (["--class", "3"], 2, "unknown class '3'"),
    (["--class", "-1"], 2, "unknown class '-1'"),
    (["--layer", "fc"], 1, "Grad-CAM needs maps (N, C, h, w), but this Linear gives (1, 3)"),
    (["--what", "maps", "--layer", "fc"], 1, "the layer 'fc' outputs (3,), not maps (C, h, w)"),
    (["--what", "deconvnet", "--layer", "fc"], 1, "the layer 'fc' outputs no maps"),
    (["--what", "filters", "--layer", "bn1"], 1, "the layer 'bn1' is a BatchNorm2d and has no filters"),
    (["--out", "picture.txt"], 2, "--out picture.txt must end in .png, .jpg, .svg or .pdf"),
    (["--out", "nowhere/a.png"], 2, "must be a file in a folder that exists"),
    (["--out", "mine.png"], 1, "mine.png exists already and is kept"),
])  # fmt: skip
def test_what_is_refused(call, tmp_path, options, code, words):
    (tmp_path / "mine.png").write_bytes(b"mine")
    out = () if "--out" in options else ("--out", "drawn.png")
    rc, _, err = call("visualize", "net.safetensors", "noise.png", *options, *out)
    assert words in sentence(err, code, rc)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.png", "net.safetensors", "noise.png"]
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


@pytest.mark.parametrize(("source", "picture", "code", "words"), [
    ("net.safetensors", "text.png", 1, "text.png is not a picture in a format that minicnn reads"),
    ("net.safetensors", "nothing.png", 1, "nothing.png"),
    ("resnet20", "noise.png", 2, "resnet20 is a net without weights: name a run folder or a model file"),
    ("mine.py::Net", "noise.png", 2, "mine.py::Net is code, and this command needs a file with weights"),
    ("nothing.safetensors", "noise.png", 1, "there is no model file nothing.safetensors"),
    ("newer.safetensors", "noise.png", 1, "has format 99, and this minicnn reads format"),
])  # fmt: skip
def test_bad_files(call, tmp_path, source, picture, code, words):
    (tmp_path / "text.png").write_text("no picture")
    about = Description("lenet5", {"num_classes": 2}, ["a", "b"], [1, 28, 28], [0], [1], format=99)
    model_file.save(tmp_path / "newer.safetensors", models.build("lenet5", num_classes=2), about)
    rc, _, err = call("visualize", source, picture, "--out", "drawn.png")
    assert words in sentence(err, code, rc)
