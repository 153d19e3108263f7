"""minicnn export: the files, what is said about them, and what is refused."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from minicnn import models, nn, seed
from minicnn.io import model_file
from minicnn.io.model_file import Description
from minicnn.io.weights import load_weights
from tests.program import caller, document, process, sentence

ABOUT = Description("resnet20", {"num_classes": 3}, ["ant", "bee", "cat"], [3, 32, 32], mean=[0.4, 0.5, 0.6],
                    std=[0.2, 0.3, 0.25], resize=40)  # fmt: skip


@pytest.fixture
def call(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


@pytest.fixture
def model(tmp_path):
    """A model file of a small net, whose logits differ enough to be seen as probabilities."""
    seed(3)
    net = models.build("resnet20", num_classes=3)
    net["fc"].weight.data = net["fc"].weight.data * 3
    model_file.save(tmp_path / "net.safetensors", net, ABOUT)
    return tmp_path / "net.safetensors"


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def probabilities(answer):
    return [c["probability"] for c in sorted(answer["classes"], key=lambda c: c["index"])]


# ---------------------------------------------------------------------------------------------------------------- ONNX


@pytest.mark.parametrize("options", [[], ["--preprocess"], ["--fold-batchnorm"], ["--preprocess", "--fold-batchnorm"]])
def test_onnxruntime_says_what_predict_says(call, model, picture, tmp_path, options):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")
    rc, out, err = call("export", model, "--onnx", tmp_path / "net.onnx", *options, "--json")
    assert (rc, err) == (0, "")
    (report,) = document(out)["files"]
    assert report["opset"] == 17
    assert report["largest_difference"] < 1e-5
    assert report["bytes"] == (tmp_path / "net.onnx").stat().st_size
    (answer,) = document(call("predict", model, picture, "--json")[1])
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    about = json.loads(said["minicnn"])
    # what anybody would do with Pillow and NumPy alone, as the metadata says
    shown = Image.open(picture).convert("RGB")
    scale = about["resize"] / min(shown.size)
    left, top = (shown.width - 32 / scale) / 2, (shown.height - 32 / scale) / 2
    cut = shown.resize((32, 32), Image.Resampling.BILINEAR, box=(left, top, left + 32 / scale, top + 32 / scale))
    pixels = np.asarray(cut).transpose(2, 0, 1)[None]
    if "--preprocess" in options:
        feed = {"pixels": pixels}
    else:
        mean, std = (np.reshape(about[key], (3, 1, 1)) for key in ("mean", "std"))
        feed = {"image": ((pixels / 255 - mean) / std).astype(np.float32)}
    (logits,) = session.run(None, feed)
    e = np.exp(logits[0] - logits[0].max())
    wanted = probabilities(answer)
    np.testing.assert_allclose(e / e.sum(), wanted, atol=1e-4)
    assert max(wanted) - min(wanted) > 0.01
    assert json.loads(said["labels"])[logits.argmax()] == answer["classes"][0]["class"]


def test_what_is_said_to_people(call, model, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
    rc, out, err = call("export", model, "--onnx", tmp_path / "net.onnx", "--safetensors", tmp_path / "o.safetensors")
    assert (rc, err) == (0, "")
    for words in ("resnet20, 269,", "opset 17", "image float32 (N, 3, 32, 32) → logits float32 (N, 3)",
                  "checked by onnx", "o.safetensors", "load_state_dict"):  # fmt: skip
        assert words in out


def test_without_onnxruntime_it_says_so(call, model, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    rc, out, _ = call("export", model, "--onnx", tmp_path / "net.onnx")
    assert rc == 0
    assert "not compared: onnxruntime is not installed" in out


def test_without_onnx_it_says_what_to_install(call, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    rc, _, err = call("export", model, "--onnx", tmp_path / "net.onnx")
    assert sentence(err, 1, rc) == "ONNX files need the package onnx: install it with `pip install onnx`"
    assert not (tmp_path / "net.onnx").exists()


def test_other_logits_are_not_written(call, model, tmp_path, monkeypatch):
    """Were onnxruntime wrong, or we: no file."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

    class Wrong(ort.InferenceSession):
        def run(self, *args):
            return [y * 1.01 for y in super().run(*args)]

    monkeypatch.setattr(ort, "InferenceSession", Wrong)
    rc, _, err = call("export", model, "--onnx", tmp_path / "net.onnx")
    assert "computes other logits than the net: they differ by 1.0e-02" in sentence(err, 1, rc)
    assert not (tmp_path / "net.onnx").exists()


# --------------------------------------------------------------------------------------------------------- safetensors


def test_the_model_file_predicts_the_same_in_another_process(call, model, picture, tmp_path):
    rc, _, err = call("export", model, "--safetensors", tmp_path / "out.safetensors")
    assert (rc, err) == (0, "")
    here = document(call("predict", model, picture, "--json")[1])
    there = process("predict", tmp_path / "out.safetensors", picture, "--json")
    assert there.returncode == 0, there.stderr
    assert document(there.stdout) == here, "to the last bit"


def test_its_names_are_torchs_with_the_counters_that_strict_loading_wants(call, model, tmp_path):
    call("export", model, "--safetensors", tmp_path / "out.safetensors")
    state = load_weights(tmp_path / "out.safetensors")
    net, _ = model_file.load(model)
    norms = [name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert state.keys() - net.state_dict().keys() == {f"{name}.num_batches_tracked" for name in norms}
    assert all(np.array_equal(state[name], array) for name, array in net.state_dict().items())


def test_torch_loads_it_strictly(tmp_path):
    """A net of PyTorch's own layers under torchvision's names, by torchvision's definition of a basic block."""
    torch = pytest.importorskip("torch")

    class Block(torch.nn.Module):
        def __init__(self, C, O, stride):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(C, O, 3, stride, 1, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(O)
            self.conv2 = torch.nn.Conv2d(O, O, 3, 1, 1, bias=False)
            self.bn2 = torch.nn.BatchNorm2d(O)
            self.downsample = None
            if stride > 1:
                self.downsample = torch.nn.Sequential(
                    torch.nn.Conv2d(C, O, 1, stride, bias=False), torch.nn.BatchNorm2d(O))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet18(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
            self.maxpool = torch.nn.MaxPool2d(3, 2, 1)
            widths = [64, 64, 128, 256, 512]
            for i in range(1, 5):
                stride = 1 if i == 1 else 2
                setattr(self, f"layer{i}", torch.nn.Sequential(Block(widths[i - 1], widths[i], stride),
                                                               Block(widths[i], widths[i], 1)))
            self.fc = torch.nn.Linear(512, 4)

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            for i in range(1, 5):
                x = getattr(self, f"layer{i}")(x)
            return self.fc(x.mean((2, 3)))

    from minicnn import Tensor, no_grad

    seed(0)
    ours = models.build("resnet18", num_classes=4)
    x = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)
    with no_grad():
        ours.train()(Tensor(x))                            # running statistics that are not 0 and 1
    path, options = tmp_path / "net.safetensors", {"num_classes": 4}
    model_file.save(path, ours, Description("resnet18", options, list("abcd"), [3, 64, 64], [0] * 3, [1] * 3))
    theirs = ResNet18().eval()
    state = {name: torch.from_numpy(array) for name, array in load_weights(path).items()}
    assert state.keys() == theirs.state_dict().keys()
    theirs.load_state_dict(state, strict=True)
    with torch.no_grad(), no_grad():
        wanted, found = theirs(torch.from_numpy(x)).numpy(), ours.eval()(Tensor(x)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([], 2, "export needs --onnx FILE or --safetensors FILE"),
    (["--preprocess", "--safetensors", "a.safetensors"], 2, "--preprocess changes an ONNX file only"),
    (["--fold-batchnorm", "--safetensors", "a.safetensors"], 2, "--fold-batchnorm changes an ONNX file only"),
    (["--onnx", "net.bin"], 2, "--onnx net.bin must end in .onnx"),
    (["--onnx", "nowhere/net.onnx"], 2, "must be a file in a folder that exists"),
    (["--safetensors", "net.safetensors"], 2, "is the file that is exported"),
    (["--onnx", "mine.onnx"], 1, "mine.onnx exists already and is kept"),
])  # fmt: skip
def test_what_it_does_not_do(call, model, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    before = model.read_bytes()
    rc, _, err = call("export", "net.safetensors", *arguments)
    assert words in sentence(err, code, rc)
    assert (tmp_path / "mine.onnx").read_bytes() == b"mine"
    assert model.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.onnx", "net.safetensors"]


def test_a_model_file_of_another_version(call, tmp_path):
    net = models.build("lenet5", num_classes=3)
    about = Description("lenet5", {"num_classes": 3}, list("abc"), [1, 28, 28], [0], [1], format=99)
    model_file.save(tmp_path / "new.safetensors", net, about)
    rc, _, err = call("export", tmp_path / "new.safetensors", "--onnx", tmp_path / "net.onnx")
    assert "has format 99, and this minicnn reads format" in sentence(err, 1, rc)
    assert "update minicnn" in err
    assert not (tmp_path / "net.onnx").exists()


def test_a_folder_without_a_model(call, tmp_path):
    rc, _, err = call("export", tmp_path, "--onnx", tmp_path / "net.onnx")
    assert "holds no best.safetensors" in sentence(err, 1, rc)
