"""minicnn eval and predict, on a run folder that the program itself made."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from minicnn import data
from minicnn.data import Dataset, Splits
from tests.program import document, sentence
from tests.train.tiny import TINY


def test_eval(minicnn_, trained):
    rc, out, err = minicnn_("eval", trained, "--json")
    assert (rc, err) == (0, "")
    report = document(out)
    stored = json.loads((trained / "test.json").read_text())
    assert (report["data"], report["split"], report["images"]) == ("digits", "test", 40)
    assert report["classes"] == list("0123456789")
    for key in ("accuracy", "confusion"):
        assert report[key] == stored[key], key
    assert report["loss"] == pytest.approx(stored["loss"], rel=1e-6), "by a plan, which rounds in another order"
    rc, out, err = minicnn_("eval", trained / "best.safetensors", "--split", "train")     # the file itself will do too
    assert (rc, err) == (0, "")
    assert re.match(r"^digits, train: \d+\.\d\d % right \(\d+ of 120 images\), loss ", out)


def test_eval_on_another_dataset_that_does_not_fit(minicnn_, trained, monkeypatch):
    images = np.zeros((4, 3, 32, 32), np.uint8)
    other = Dataset(images, np.arange(4))
    monkeypatch.setattr(data.registry, "load", lambda name: Splits.of_arrays(
        "mnist", other, other, tuple("abcd"), (0.5,) * 3, (0.5,) * 3))
    rc, _, err = minicnn_("eval", trained, "--data", "mnist")
    assert sentence(err, 1, rc) == ("mnist has 4 classes of (3, 32, 32) images, but the model takes (1, 28, 28) and "
                                    "has 10 classes: choose another --data")


def test_predict_for_people(minicnn_, trained, pictures):
    rc, out, err = minicnn_("predict", trained, *pictures, "--top", 3)
    assert (rc, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 3 * 4
    for i, path in enumerate(pictures):
        heading, *bars = lines[4 * i : 4 * i + 4]
        assert heading.startswith(f"{path}: ")
        shares = [float(bar.split()[-2]) for bar in bars]
        assert shares == sorted(shares, reverse=True)
        assert bars[0].split()[0] == heading[-1], "the first bar is the answer"
        assert abs(len(re.findall("█", bars[0])) - shares[0] * 0.4) < 1


def test_predict_for_programs_is_the_models_softmax(minicnn_, trained, pictures):
    from minicnn import Tensor
    from minicnn.io import model_file

    rc, out, err = minicnn_("predict", trained, *pictures, "--json", "--top", 10)
    assert (rc, err) == (0, "")
    answers = document(out)
    assert [a["image"] for a in answers] == [str(p) for p in pictures]
    model, about = model_file.load(trained / "best.safetensors")
    for answer, i in zip(answers, (0, 3, 6)):
        x = (TINY.test.images[i : i + 1].astype(np.float32) / 255 - about.mean[0]) / about.std[0]
        z = model(Tensor(x.astype(np.float32))).data[0].astype(float)
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        assert [c["class"] for c in answer["classes"]] == [str(k) for k in np.argsort(-p)]
        shares = [c["probability"] for c in answer["classes"]]
        np.testing.assert_allclose(shares, np.sort(p)[::-1], rtol=1e-3, atol=1e-7)


def test_predict_inverts_when_asked_and_suggests_it(minicnn_, trained, pictures, tmp_path):
    white = tmp_path / "ink.png"
    Image.fromarray(255 - TINY.test.images[0, 0]).save(white)
    rc, out, _ = minicnn_("predict", trained, white)
    assert rc == 0
    assert "The edge of the picture is bright, but this model expects bright digits on black: try --invert" in out
    plain = document(minicnn_("predict", trained, pictures[0], "--json")[1])
    inverted = document(minicnn_("predict", trained, white, "--invert", "--json")[1])
    assert inverted[0]["classes"] == plain[0]["classes"]
    assert "try --invert" not in minicnn_("predict", trained, white, "--invert")[1]
    assert "try --invert" not in minicnn_("predict", trained, pictures[0])[1]


@pytest.mark.parametrize("as_json", [False, True])
def test_an_image_that_cannot_be_read(minicnn_, trained, tmp_path, as_json):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk" * 30)
    rc, out, err = minicnn_("predict", trained, bad, *["--json"] * as_json)
    assert str(bad) in sentence(err, 1, rc)
    assert out == ""
    rc, _, err = minicnn_("predict", trained, tmp_path / "none.png")
    assert sentence(err, 1, rc) == f"there is no file {tmp_path / 'none.png'}: check the name and the folder"
