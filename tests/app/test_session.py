"""The app's answers: those of `minicnn predict` and of the exported ONNX file, and Grad-CAM at its place."""

import base64
import threading

import numpy as np
import pytest
from PIL import Image

import minicnn.app.session as module
from minicnn import Tensor, models, no_grad
from minicnn.app.session import Session
from minicnn.inspect.grad_cam import place
from minicnn.inspect.units import (
    backpropagate_from,
    find_layer,
    gradient_at_layer,
    last_convolution,
    layer_outputs,
    one_hot,
)
from minicnn.io import model_file
from tests.app.conftest import noise, png
from tests.program import caller, document


def array(value):
    return np.frombuffer(base64.b64decode(value["data"]), {"u1": np.uint8, "f4": np.float32}[value["type"]]).reshape(
        value["shape"])


PICTURES = [png(noise(0)), png(noise(1, (300, 200)), "JPEG", quality=80),  # so large that a draft would differ
            png(noise(2, (200, 90)), "WEBP"), png(noise(3)[:, :, 0])]


def test_probabilities_are_those_of_predict_bit_for_bit(viewer, read_only_run, tmp_path, monkeypatch, capsys):
    minicnn_ = caller(monkeypatch, capsys)
    for i, content in enumerate(PICTURES):
        (tmp_path / f"{i}.img").write_bytes(content)
        rc, out, _ = minicnn_("predict", read_only_run, tmp_path / f"{i}.img", "--json")
        assert rc == 0
        status, _, answer = viewer.ask("/api/picture", content=content)
        assert status == 200
        assert answer["top"] == document(out)[0]["classes"]                # floats, to the last bit


def test_the_image_is_pillows_and_onnxruntime_gives_the_same_on_the_same_bytes(viewer, read_only_run):
    onnxruntime = pytest.importorskip("onnxruntime")
    from minicnn.io.onnx import content as onnx

    net, about = model_file.load(read_only_run / "best.safetensors")
    written, _ = onnx(net, about, preprocess=True)
    there = onnxruntime.InferenceSession(written)
    name = there.get_inputs()[0].name
    for content in PICTURES:
        answer = viewer.ask("/api/picture", content=content)[2]
        image = array(answer["image"])
        assert np.array_equal(image, about.preprocessing.read(module.Packed("x", content)))
        logits = there.run(None, {name: image[None]})[0][0].astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        for row in answer["top"]:
            assert row["probability"] == pytest.approx(p[row["index"]], abs=2e-6)
    already = np.random.default_rng(5).integers(0, 256, (28, 28), np.uint8)  # of the net's size: nothing to decode
    seen = Session(*model_file.load(read_only_run / "best.safetensors"))
    box = seen.prepare.box(28, 28)
    expected = np.asarray(Image.fromarray(already).resize((28, 28), Image.Resampling.BILINEAR, box=box))
    assert np.array_equal(seen.picture(png(already))["image"][0], expected)


def test_grad_cam_is_the_papers_sum_for_the_class_asked(viewer):
    answer = viewer.ask("/api/picture", content=PICTURES[0])[2]
    session = viewer.server.session
    x = session.prepare.normalise(array(answer["image"])[None])
    layer = dict(session.model.named_modules())[session.layer]
    A = layer_outputs(session.model, x, {"it": layer})["it"][0]
    maps = {}
    for k in range(2):
        found = viewer.ask("/api/evidence", {"picture": answer["picture"], "k": k})[2]
        dA = gradient_at_layer(session.model, x, layer, k)[1][0]
        expected = np.zeros(A.shape[1:])
        for c in range(len(A)):
            expected += dA[c].mean() * A[c]
        maps[k] = array(found["map"])
        assert np.allclose(maps[k], np.maximum(expected, 0), atol=1e-6 * np.abs(expected).max())
    assert not np.allclose(maps[0], maps[1])


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (1, 28, 28)), ("squeezenet1_1", (3, 64, 48))])
def test_the_map_lies_where_the_numbers_of_the_layer_look(name, shape):
    """Its corners are those of the first and the last receptive field, half a field less a step inwards."""
    net = models.build(name).eval()
    rng = np.random.default_rng(0)
    for p in net.parameters():
        p.data = np.abs(p.numpy())                                         # nothing is off: all of the field counts
    layer = last_convolution(net, shape)
    x = np.abs(rng.standard_normal((1, *shape))).astype(np.float32)
    h, w = layer_outputs(net, x, {"it": find_layer(net, layer)})["it"].shape[2:]
    i, j = h // 2, w // 2
    seen = backpropagate_from(net, x, one_hot(0, i, j), find_layer(net, layer))[0]
    rows, columns = (np.flatnonzero(np.abs(seen).sum((0, a))) for a in (2, 1))
    top, left, height, width = place(net, shape, layer)
    if rows[0] > 0 and rows[-1] < shape[1] - 1:                            # the field is whole within the image
        assert (top + height * (i + 0.5) / h) * shape[1] == pytest.approx((rows[0] + rows[-1] + 1) / 2)
    if columns[0] > 0 and columns[-1] < shape[2] - 1:
        assert (left + width * (j + 0.5) / w) * shape[2] == pytest.approx((columns[0] + columns[-1] + 1) / 2)
    if name == "lenet5":
        assert [round(v * 28, 6) for v in (top, left, height, width)] == [4, 4, 20, 20]
    else:
        assert height * shape[1] == h * 16
    assert place(net, shape, "features") == [0, 0, 1, 1]                   # a block: not known


def test_dark_and_bright_are_swapped_as_by_predict(viewer, read_only_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.png").write_bytes(PICTURES[0])
    _, out, _ = caller(monkeypatch, capsys)("predict", read_only_run, tmp_path / "x.png", "--json", "--invert")
    first = viewer.ask("/api/picture", content=PICTURES[0])[2]
    swapped = viewer.ask("/api/again", {"picture": first["picture"], "swapped": True})[2]
    assert swapped["top"] == document(out)[0]["classes"]
    assert np.array_equal(array(swapped["image"]), 255 - array(first["image"]))
    assert viewer.ask("/api/again", {"picture": first["picture"]})[2]["top"] == first["top"]


def test_pictures_have_names_that_nobody_guesses_and_are_forgotten(viewer, monkeypatch):
    monkeypatch.setattr(module, "PICTURES", 3)
    names = [viewer.ask("/api/picture", content=PICTURES[0])[2]["picture"] for _ in range(4)]
    assert len(set(names)) == 4
    assert all(len(name) >= 16 for name in names)
    assert [viewer.ask("/api/again", {"picture": name})[0] for name in names] == [400, 200, 200, 200]
    assert "no longer known" in viewer.ask("/api/again", {"picture": names[0]})[2]["error"]
    monkeypatch.setattr(module, "PICTURE_BYTES", 10)
    last = viewer.ask("/api/picture", content=PICTURES[1])[2]["picture"]
    assert list(viewer.server.session._pictures) == [last]


def test_30_visitors_at_once_get_their_own_answers(viewer):
    alone = [viewer.ask("/api/picture", content=content)[2]["top"] for content in PICTURES]
    found = {}

    def visit(i):
        found[i] = viewer.ask("/api/picture", content=PICTURES[i % len(PICTURES)])

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i][0] for i in range(30)] == [200] * 30
    assert [found[i][2]["top"] for i in range(30)] == [alone[i % len(PICTURES)] for i in range(30)]
    assert len({found[i][2]["picture"] for i in range(30)}) == 30


def test_one_who_waits_too_long_is_told_so(viewer, monkeypatch):
    monkeypatch.setattr("minicnn.web.site.PATIENCE", 0.05)
    with viewer.server.session.alone():
        status, _, answer = viewer.ask("/api/picture", content=PICTURES[0])
    assert (status, answer["error"]) == (503, "there are too many questions at once: ask again")


def test_another_model_is_used_from_then_on(viewer, read_only_run):
    session = Session(*model_file.load(read_only_run / "best.safetensors"))
    first = session.picture(PICTURES[0])
    other, _ = model_file.load(read_only_run / "last.safetensors")
    for p in other.parameters():
        p.data = p.data * np.float32(1.5)
    session.replace(other)
    again = session.again(first["picture"])
    with no_grad():
        logits = other(Tensor(session.prepare.normalise(first["image"][None]))).numpy()[0].astype(float)
    p = np.exp(logits - logits.max())
    assert again["number"] == first["number"] + 1
    for row in again["top"]:
        assert row["probability"] == pytest.approx(p[row["index"]] / p.sum(), abs=1e-6)
    assert again["top"] != first["top"]
