"""minicnn explain and minicnn image: what they print and refuse, as JSON, in 60 columns, and as a picture."""

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from minicnn.cli import console
from tests.program import document, sentence

COMMANDS = [
    ("conv", "mouse", "--filter", "curve"),
    ("conv", "digits:3", "--filter", "vertical", "--cell", "3,4", "-s", "2", "-p", "1"),
    ("unit", "lenet5", "digits:0", "--layer", "features.3", "--unit", "15,6,8"), ("unit", "lenet5", "digits:0"),
    ("pool",), ("pool", "digits:0", "--kind", "l2", "-k", "3", "--cell", "2,3"), ("flip",), ("conv1d", "--t", "1/2"),
    ("softmax", "2,1,-1"), ("step",), ("step", "lenet5", "digits:1", "--lr", "0.01"),
]  # fmt: skip


@pytest.fixture
def explain(minicnn_):
    return lambda *args: minicnn_("explain", *args)


@pytest.mark.parametrize("args", [*(("explain", *args) for args in COMMANDS), ("image", "digits:0", "--bits", "3")],
                         ids=" ".join)  # fmt: skip
def test_each_command(minicnn_, monkeypatch, args):
    rc, out, err = minicnn_(*args, "--json")
    assert (rc, err) == (0, "")
    assert document(out)
    monkeypatch.setattr(console, "out", Console(highlight=False, emoji=False, width=60, force_terminal=True,
                                                color_system=None))  # fmt: skip
    rc, out, err = minicnn_(*args)
    assert (rc, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 60
    assert "\x1b" not in out, "nothing is said by colour"


def test_the_numbers_of_the_notes(explain):
    found = document(explain("conv", "mouse", "--filter", "curve", "--json")[1])
    assert found["cell"]["value"] == 6600
    assert found["elsewhere"]["value"] == 0
    values = [document(explain("conv", line, "--filter", "diagonal", "--cell", "2,2", "--json")[1])["cell"]["value"]
              for line in ("backslash", "slash")]  # fmt: skip
    assert values == [2, -2]
    assert document(explain("conv1d", "--t", "0.5", "--json")[1])["value"] == 0.125
    maps = [kind["map"] for kind in document(explain("pool", "--json")[1])["kinds"]]
    assert maps[:2] == [[[6, 8], [3, 4]], [[3.25, 5.25], [2, 2]]]


def test_a_file_and_a_filter_of_ones_own(explain, tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "ramp.png")
    (tmp_path / "f.csv").write_text("1,-1\n")
    found = document(explain("conv", "ramp.png", "--filter", "f.csv", "--cell", "7,6", "--bias", "0.5", "--json")[1])
    assert found["map"] == [[-0.5] * 7] * 8
    assert found["cell"]["window"] == [[[62, 63]]]


def test_a_trained_net(explain, trained, pictures):
    rc, out, err = explain("unit", trained, pictures[0], "--layer", "classifier.5", "--unit", "4", "--class", "4",
                           "--json")
    assert (rc, err) == (0, "")
    found = document(out)
    assert found["gradient"] == 1
    assert found["value"] == found["score"]
    rc, out, err = explain("step", trained, pictures[0], "--label", "0", "--lr", "1e-3", "--json")
    assert (rc, err) == (0, "")
    found = document(out)
    assert found["loss_after"] < found["loss_before"]
    (weight,) = found["weights"]
    assert weight["gradient"] == pytest.approx(weight["difference"], rel=1e-4)


NET = '''
from minicnn import nn, ops

class Net(nn.Module):
    def __init__(self, width=4):
        self.conv, self.out = nn.Conv2d(1, width, 3), nn.Linear(width, 5)

    def forward(self, x):
        return self.out(ops.global_avg_pool2d(ops.relu(self.conv(x))))
'''


def test_a_net_of_ones_own_and_weights_from_a_file(explain, tmp_path):
    (tmp_path / "mine.py").write_text(NET)
    w = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3) / 100
    b = np.array([0.5, -0.5], np.float32)
    np.savez(tmp_path / "mine.npz", **{"conv.weight": w, "conv.bias": b, "out.weight": np.eye(5, 2, dtype=np.float32),
                                       "out.bias": np.zeros(5, np.float32)})
    image = np.arange(72, dtype=np.uint8).reshape(9, 8)
    Image.fromarray(image).save(tmp_path / "ramp.png")
    own = ["mine.py::Net", "ramp.png", "--input", "1x9x8", "--set", "width=2", "--weights", "mine.npz",
           "--preprocess", "none"]  # fmt: skip
    rc, out, err = explain("unit", *own, "--layer", "conv", "--unit", "1,3,4", "--json")
    assert (rc, err) == (0, "")
    x = image.astype(float) / 255
    expected = sum(x[3 + i, 4 + j] * float(w[1, 0, i, j]) for i in range(3) for j in range(3)) - 0.5
    assert document(out)["value"] == pytest.approx(expected, rel=1e-6)
    rc, out, err = explain("step", *own, "--label", "2", "--lr", "0.01", "--json")
    assert (rc, err) == (0, "")
    maps = [max(0.0, sum(float(w[c, 0, i, j]) * x[r + i, s + j] for i in range(3) for j in range(3)) + float(b[c]))
            for c in range(2) for r in range(7) for s in range(6)]  # fmt: skip
    scores = np.array([np.mean(maps[:42]), np.mean(maps[42:]), 0, 0, 0])
    assert document(out)["loss_before"] == pytest.approx(np.log(np.exp(scores).sum()) - scores[2], rel=1e-5)


def test_weights_of_a_net_of_the_zoo_with_class_names(explain, tmp_path):
    from minicnn import models

    state = models.build("lenet5").state_dict()
    state["classifier.5.bias"] = np.arange(10, dtype=np.float32)
    np.savez(tmp_path / "lenet.npz", **state)
    (tmp_path / "names.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    rc, out, _ = explain("unit", "lenet5", "digits:0", "--weights", "lenet.npz", "--labels", "names.txt", "--layer",
                         "classifier.5", "--unit", "3", "--class", "digit 3", "--preprocess", "none", "--json")
    assert rc == 0
    found = document(out)
    assert found["gradient"] == 1                          # the score of "digit 3" is this number
    assert found["bias"] == 3


def test_scores_that_begin_with_a_minus(explain):
    assert document(explain("softmax", "-1,2", "--json")[1])["scores"] == [-1, 2]


def test_a_seed_draws_other_weights(explain):
    first, again, other = (document(explain("unit", "lenet5", "digits:0", "--seed", seed, "--json")[1])["value"]
                           for seed in (0, 0, 1))
    assert first == again != other


def test_a_picture_is_written_only_when_asked_for(minicnn_, tmp_path):
    pytest.importorskip("matplotlib")
    minicnn_("explain", "flip")
    assert list(tmp_path.iterdir()) == []
    rc, out, err = minicnn_("explain", "flip", "--out", "flip.png")
    assert (rc, err) == (0, "")
    assert out.endswith("flip.png: the same as a picture\n")
    with Image.open(tmp_path / "flip.png") as picture:
        assert min(picture.size) > 100
    assert document(minicnn_("image", "digits:0", "--out", "a.png", "--json")[1])["picture"] == "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "flip.png"]


@pytest.mark.parametrize(("args", "code", "said"), [
    (("conv", "moose"), 1, "unknown picture 'moose': did you mean 'mouse'?"),
    (("conv", "no.png"), 1, "there is no file no.png"),
    (("conv", "mouse", "--filter", "curv"), 1, "did you mean 'curve'"),
    (("conv", "mouse", "--cell", "3"), 2, "--cell '3' must be 2 whole numbers from 0 with commas, such as 3,4"),
    (("conv", "mouse", "--cell", "-1,2"), 2, "--cell '-1,2' must be"),
    (("conv", "mouse", "--cell", "99,0"), 1, "0 to 12"),
    (("conv", "mouse", "--out", "x.txt"), 2, "--out x.txt must end in .png, .jpg, .svg or .pdf"),
    (("conv", "mouse", "--out", "nowhere/x.png"), 2, "must be a file in a folder that exists"),
    (("unit", "lenet", "digits:0"), 1, "there is no model file lenet"),
    (("unit", "mine.py::Net", "digits:0"), 2, "--input is missing: mine.py::Net does not define its image size"),
    (("unit", "mine.py::Net", "digits:0", "--input", "4x9x8"), 2, "this net takes 4 channels"),
    (("unit", "mine.py::Net", "digits:0", "--input", "1x9x8", "--labels", "x"), 2, "--labels is for a net of the zoo"),
    (("unit", "lenet5", "digits:0", "--input", "1x9x8"), 2, "--input is for FILE.py::NET"),
    (("unit", "lenet5", "digits:0", "--labels", "x"), 2, "--labels needs --weights"),
    (("unit", "lenet5", "digits:0", "--weights", "no.pth"), 1, "no.pth"),
    (("unit", "lenet5", "digits:0", "--preprocess", "x"), 2, "unknown preprocessing 'x'"),
    (("step", "--weights", "w.npz"), 2, "are for a net"),
    (("unit", "lenet5", "digits:0", "--class", "seven"), 2, "must be a number"),
    (("unit", "lenet5", "digits:0", "--class", "10"), 1, "class (=10) must be from 0 to 9"),
    (("unit", "lenet5", "digits:0", "--layer", "feature.3"), 1, "did you mean 'features.3'"),
    (("unit", "lenet5", "digits:0", "--unit", "1"), 1, "one number for each axis"),
    (("pool", "--kind", "mean"), 1, "unknown pooling 'mean'"), (("conv1d", "--t", "x"), 1, "such as 0.5 or 1/2"),
    (("softmax", "1,b"), 2, "the scores '1,b' must be numbers with commas"), (("softmax", "1"), 1, "from 2 to 1000"),
    (("softmax", "1,2", "--lable", "1"), 2, "unexpected"), (("step", "lenet5"), 2, "the picture is missing"),
    (("step", "--weight", "w"), 2, "are for a net"), (("step", "--lr", "0"), 1, "lr (=0.0) must be above 0"),
    (("step", "lenet5", "digits:0", "--label", "11"), 1, "11"),
])  # fmt: skip
def test_what_is_refused(explain, args, code, said):
    rc, out, err = explain(*args)
    assert out == ""
    assert said in sentence(err, code, rc)


@pytest.mark.parametrize(("args", "code", "said"), [
    (("no.png",), 1, "there is no file no.png"), (("digits:0", "--crop", "1,2"), 2, "must be 4 whole numbers"),
    (("digits:0", "--crop", "27,27,2,1"), 1, "crop: rows (=2) must be from 1 to 1"),
    (("digits:0", "--bits", "9"), 2, "'--bits'"),
    (("digits:0", "--channel", "red"), 1, "is grey"), ((".",), 1, "folder"),
])  # fmt: skip
def test_what_image_refuses(minicnn_, args, code, said):
    rc, _, err = minicnn_("image", *args)
    assert said in sentence(err, code, rc)


def test_a_step_on_a_file_needs_its_label(explain, tmp_path):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "a.png")
    rc, _, err = explain("step", "lenet5", "a.png")
    assert sentence(err, 2, rc) == "--label is missing: the loss needs the right class of a.png"


def test_names_cannot_command_the_terminal(minicnn_, tmp_path):
    name = "a\x1b[31m[red].png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / name)
    for args in (("image", name), ("explain", "conv", name, "--filter", "vertical")):
        rc, out, _ = minicnn_(*args)
        assert rc == 0
        assert "\x1b" not in out
        assert "[red].png" in out
