"""Weights of other programs: pretrained ones if the cache has them, and new ones if PyTorch is installed."""

import os
from pathlib import Path

import numpy as np
import pytest

from minicnn import Tensor, models, nn, no_grad
from minicnn.io import model_file
from minicnn.io.weights import load_into, load_weights
from minicnn.nn import Sequential
from tests.program import caller, document

HOME = Path(os.environ.get("MINICNN_HOME") or "~/.cache/minicnn").expanduser()
"""weights/: squeezenet1_1-imagenet.npz (Caffe's SqueezeNet 1.1), mobilenetv2-features.pt, imagenet-labels.json;
photos/: chelsea.png, coffee.png, imagenet_NN_LABEL.jpg."""


def cached(name):
    path = HOME / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: it is downloaded by hand, for it is not ours to ship")
    return path


# ------------------------------------------------------------------------------------------------------ SqueezeNet 1.1


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """The model file that `minicnn import` makes of the weights."""
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet.safetensors"
    weights, labels = cached("weights/squeezenet1_1-imagenet.npz"), cached("weights/imagenet-labels.json")
    with pytest.MonkeyPatch.context() as patch:
        from minicnn.cli.app import main

        patch.setattr("sys.argv", ["minicnn", "import", "squeezenet1_1", str(weights), "--preprocess", "caffe",
                                   "--labels", str(labels), "--out", str(path)])  # fmt: skip
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
    return path


@pytest.fixture
def predicted(squeezenet, monkeypatch, capsys):
    """What `minicnn predict --json` says of pictures: a list of (classes' numbers, names, probabilities), each."""
    def predict(*pictures):
        rc, out, err = caller(monkeypatch, capsys)("predict", squeezenet, *pictures, "--json")
        assert (rc, err) == (0, "")
        return [tuple(zip(*(c.values() for c in answer["classes"]))) for answer in document(out)]

    return predict


def test_a_cat_and_a_cup(predicted):
    cat, cup = predicted(cached("photos/chelsea.png"), cached("photos/coffee.png"))
    assert cat[0][0] in {281, 282, 285}, "tabby, tiger cat, Egyptian cat"
    assert (cup[0][0], cup[1][0]) == (967, "espresso")
    for _, _, shares in (cat, cup):
        assert list(shares) == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-6


def test_twenty_photos(predicted):
    cached("photos/chelsea.png")
    photos = sorted((HOME / "photos").glob("imagenet_*.jpg"))
    if len(photos) != 20:
        pytest.skip(f"{HOME / 'photos'} holds {len(photos)} of the 20 photos imagenet_NN_LABEL.jpg")
    labels = [int(path.stem.split("_")[2]) for path in photos]
    answers = predicted(*photos)
    assert sum(label == numbers[0] for label, (numbers, *_) in zip(labels, answers)) >= 11
    assert sum(label in numbers for label, (numbers, *_) in zip(labels, answers)) >= 16


def test_its_names_and_shapes_are_those_of_the_file():
    state = load_weights(cached("weights/squeezenet1_1-imagenet.npz"))
    report = load_into(models.build("squeezenet1_1"), cached("weights/squeezenet1_1-imagenet.npz"))
    assert report.ok
    assert sum(array.size for array in state.values()) == 1_235_496


# --------------------------------------------------------------------------------------------------------- MobileNetV2


def test_mobilenet_v2s_features_from_a_pytorch_checkpoint():
    path = cached("weights/mobilenetv2-features.pt")
    net = models.build("mobilenet_v2").features
    assert load_into(net, path).ok, "strictly: every name, every shape"
    state, mine = load_weights(path), net.state_dict()
    theirs = [array for name, array in state.items() if not name.endswith("num_batches_tracked")]
    assert len(theirs) == len(mine), "its blocks number their layers in one row, ours do not; the order is the same"
    assert all(np.array_equal(a, b) for a, b in zip(theirs, mine.values()))
    with no_grad():
        y = net.eval()(Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))).numpy()
    assert y.shape == (1, 1280, 2, 2)
    assert y.min() >= 0
    assert y.max() <= 6, "ReLU6"
    assert np.isfinite(y).all()
    assert (y > 0).mean() > 0.01, "trained running statistics leave something alive"


# ------------------------------------------------------------------------------------------------------ fresh, PyTorch


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}], ids=["bare", "nested"])
def test_a_net_of_pytorchs(tmp_path, options, wrap):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 6, (3, 5), groups=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(6 * 3 * 2, 5)).eval()  # fmt: skip
    with torch.no_grad():
        theirs[1].running_mean.normal_()
        theirs[1].running_var.uniform_(0.5, 2)
        theirs[1].weight.normal_()
        theirs[1].bias.normal_()
    torch.save(wrap(theirs.state_dict()), tmp_path / "net.pt", **options)
    ours = Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 6, (3, 5), groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6 * 3 * 2, 5))  # fmt: skip
    assert load_into(ours.eval(), tmp_path / "net.pt").ok
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad(), no_grad():
        wanted, found = theirs(x).numpy(), ours(Tensor(x.numpy())).numpy()
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


# ---------------------------------------------------------------------------------------------------------------- ONNX


def test_onnxruntime_names_the_same_five_for_every_photo(squeezenet, predicted, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")
    photos = sorted((HOME / "photos").glob("imagenet_*.jpg"))
    if len(photos) != 20:
        pytest.skip(f"{HOME / 'photos'} holds {len(photos)} of the 20 photos imagenet_NN_LABEL.jpg")
    rc, _, err = caller(monkeypatch, capsys)("export", squeezenet, "--onnx", tmp_path / "net.onnx", "--preprocess")
    assert (rc, err) == (0, "")
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    _, about = model_file.load(squeezenet)
    pixels = np.stack([about.preprocessing.read(photo) for photo in photos])
    (logits,) = session.run(None, {"pixels": pixels})
    e = np.exp(logits - logits.max(1, keepdims=True))
    found = e / e.sum(1, keepdims=True)
    for row, (numbers, _, shares) in zip(found, predicted(*photos)):
        assert np.argsort(-row, kind="stable")[:5].tolist() == list(numbers)
        np.testing.assert_allclose(row[list(numbers)], shares, atol=1e-4)
