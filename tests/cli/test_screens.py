"""What people see: the first screen, terminals of 80 and 60 columns, plurals, and foreign names."""

import re
import shlex

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from minicnn.cli import app, console
from tests.program import document, sentence
from tests.train.tiny import TINY

LATIN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def sample(tmp_path_factory):
    """A test digit as a picture file."""
    path = tmp_path_factory.mktemp("pictures") / "sample.png"
    Image.fromarray(TINY.test.images[0, 0]).save(path)
    return path


@pytest.fixture
def terminal(monkeypatch):
    """Make stdout a terminal of that many columns."""
    def make(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(console, "out", Console(highlight=False, emoji=False, width=width, force_terminal=True,
                                                    color_system=None))  # fmt: skip
    return make


def test_the_program_alone_prints_the_first_screen(minicnn_):
    rc, out, err = minicnn_()
    assert (rc, err) == (0, "")
    assert all(panel in out for panel in (app.TRAIN, app.LOOK, app.CHECK, app.MEASURE, app.DATA))
    for group in ("bench", "data"):
        rc, out, err = minicnn_(group)
        assert (rc in (0, 2), err) == (True, ""), "help, and no empty error; the code is click's, 0 before 8.2"
        assert "--help" in out


@pytest.mark.parametrize("verb", app.VERBS)
def test_each_verb_has_examples_that_it_understands(minicnn_, verb):
    out = LATIN.sub("", minicnn_(verb, "--help")[1])
    assert "Examples:" in out
    for example in app.VERBS[verb].examples:
        words = shlex.split(example.rpartition("minicnn ")[2])
        assert words[0] == verb
        command = app.load(verb)
        if hasattr(command, "commands") and len(words) > 1:
            _, command, rest = command.resolve_command(command.make_context(verb, words[1:]), words[1:])
            words = [verb, *rest]
        command.make_context(verb, words[1:], resilient_parsing=False)


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("args", [
    (), ("summary", "lenet5:1998"), ("summary", "resnet18", "--depth", "1"), ("models",), ("cite", "lenet5"),
    ("devices",),
    ("compare", "alexnet", "lenet5"), ("diff", "lenet5", "lenet5:1998"), ("shape", "224", "-k", "11", "-s", "4"),
    ("datasets",), ("course", "list"), ("compare", "--ilsvrc"), ("compare", "--stacks"),
    ("compare", "--stages", "lenet5"), ("compare", "--side-by-side", "lenet5", "resnet20"),
], ids=lambda args: " ".join(args) if isinstance(args, tuple) else None)  # fmt: skip
def test_nothing_is_wider_than_the_terminal(minicnn_, terminal, args, width):
    terminal(width)
    rc, out, err = minicnn_(*args)
    assert (rc, err) == (0, "")
    words = [line for line in out.splitlines() if len(line.rstrip()) > width and " " in line.strip()]
    assert words == []


def test_bars_fit_a_narrow_terminal(terminal):
    terminal(60)
    for name in ("a", "a class with quite a long name, much longer than that"):
        for line in console.bars([name, "b"], [1.0, 0.0]):
            assert len(line) <= 60
            assert line.endswith(" %")


def test_plurals():
    assert console.count(1, "thread") == "1 thread"
    assert console.count(1000, "class", "classes") == "1,000 classes"


def test_foreign_names_cannot_command_the_terminal(minicnn_, trained, tmp_path):
    name = "a\x1b[31m[red]b\u202e.png"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / name)
    rc, out, _ = minicnn_("predict", trained, tmp_path / name)
    assert rc == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "a\\x1b[31m[red]b\\u202e.png: " in out


# ------------------------------------------------------------------------------------------------------ where models go


OWN = """
from minicnn.nn import Conv2d, Module, ReLU, Sequential

class Net(Module):
    def __init__(self, width=4):
        self.conv = Conv2d(3, width, 3)
        self.act = ReLU()
    def forward(self, x):
        return self.act(self.conv(x))

def build(width: int):
    return Net(width)

net = Net(2)
number = 3
def wrong():
    return 3
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path / "mine.py"


@pytest.mark.parametrize(("name", "options", "width"), [
    ("Net", (), 4), ("Net", ("--set", "width=7"), 7), ("build", ("--set", "width=5"), 5), ("net", (), 2)])
def test_a_net_of_ones_own(minicnn_, own, name, options, width):
    report = document(minicnn_("summary", f"{own}::{name}", "--input", "3x8x9", *options, "--json")[1])
    assert report["totals"]["parameters"] == width * 28
    assert report["layers"][0]["output"] == [width, 6, 7]
    out = minicnn_("diff", f"{own}::{name}", f"{own}::Net", "--input", "3x8x9", *options * (name != "net"))[0]
    assert out == 0 or name == "net"


@pytest.mark.parametrize(("target", "options", "code", "words"), [
    ("mine.py::Net", (), 2, "--input is missing: "),
    ("mine.py::None", ("--input", "3x8x8"), 2, "has no net 'None'"),
    ("mine.py::number", ("--input", "3x8x8"), 2, "is 3, not a net: name a Module, a class or a function"),
    ("mine.py::wrong", ("--input", "3x8x8"), 2, "returns int, not a net"),
    ("mine.py::build", ("--input", "3x8x8"), 1, "can't be built: TypeError: build() missing 1 required positional"),
    ("mine.py::Net", ("--input", "3x8x8", "--set", "wdth=1"), 2, "unknown option of mine.py::Net 'wdth': did you mean"),
    ("mine.py::net", ("--input", "3x8x8", "--set", "width=1"), 2, "is a net already, so --set can't change it"),
    ("mine.py::Net", ("--input", "1x8x8"), 1, "mine.py::Net does not take images of 1×8×8 ("),
    ("none.py::Net", ("--input", "3x8x8"), 2, "there is no file none.py: FILE.py::NET names a Python file and a net"),
    ("lenet5", ("--set", "clases=7"), 2, "unknown option of model lenet5 'clases'"),
    ("lenet5", ("--set", "7"), 2, "--set '7' must be KEY=VALUE, such as --set num_classes=10"),
    ("lenet5", ("--set", "num_classes=7", "--set", "num_classes=8"), 2, "--set num_classes is given twice"),
    ("lenet5:1998", ("--set", "variant=caffe"), 2, "leave one of them out"),
    ("none/best.safetensors", (), 1, "there is no model file none/best.safetensors"),
])  # fmt: skip
def test_what_names_no_net(minicnn_, own, monkeypatch, target, options, code, words):
    monkeypatch.chdir(own.parent)
    rc, out, err = minicnn_("summary", target, *options)
    assert words in sentence(err, code, rc)
    assert out == ""


def test_a_run_and_a_model_file_have_a_summary(minicnn_, trained):
    zoo = document(minicnn_("summary", "lenet5", "--json")[1])
    for place in (trained, trained / "best.safetensors"):
        report = document(minicnn_("summary", place, "--json")[1])
        assert (report["layers"], report["totals"]) == (zoo["layers"], zoo["totals"])
    rc, _, err = minicnn_("summary", trained, "--set", "num_classes=3")
    assert "--set is for a net that is built now" in sentence(err, 2, rc)


@pytest.mark.usefixtures("undrawn")
def test_every_verb_that_names_a_net_takes_variant_and_options(minicnn_, tmp_path):
    """60,000 parameters of 1998 (LeCun et al. 1998, §II.B); 1,331,592 of half MobileNet (Howard 2017)."""
    for name in (("lenet5:1998",), ("lenet5", "--set", "variant=1998")):
        assert document(minicnn_("summary", *name, "--json")[1])["totals"]["parameters"] == 60_000
        assert document(minicnn_("compare", *name, "--json")[1])[0]["parameters"] == 60_000
        assert [row["variant"] for row in document(minicnn_("cite", *name, "--json")[1])["counts"]] == ["1998"]
        assert document(minicnn_("bench", "model", *name, "--batch", 1, "--seconds", 0.001, "--json")[1])[
            "parameters"] == 60_000
        assert document(minicnn_("train", "digits", "--model", *name, "--epochs", 1, "--limit-batches", 1, "--out",
                                 tmp_path / str(len(name)), "--json")[1])["config"]["options"] == (
            {"variant": "1998"} if len(name) > 1 else {})
    (row,) = document(minicnn_("cite", "mobilenet_v1", "--set", "width=0.5", "--json")[1])["counts"]
    assert row["parameters"] == 1_331_592
    assert document(minicnn_("summary", "zfnet:wide", "--json")[1])["totals"]["parameters"] == 107_627_624
    assert "lenet5:1998" in minicnn_("diff", "lenet5:1998", "lenet5")[1]
    rc, _, err = minicnn_("summary", "lenet5", "--variant", "1998")
    assert sentence(err, 2, rc) == ("No such option: --variant: a variant is part of the net's name, such as "
                                    "lenet5:1998, or --set variant=1998")


@pytest.mark.usefixtures("undrawn")
def test_a_year_in_a_settings_file_is_a_variant(minicnn_, tmp_path):
    (tmp_path / "run.toml").write_text('model = "lenet5"\nepochs = 1\nlimit_batches = 1\n[options]\nvariant = 1998\n')
    rc, _, err = minicnn_("train", "--config", tmp_path / "run.toml", "--out", tmp_path / "run", "--json")
    assert (rc, err) == (0, "")
    assert document(minicnn_("summary", tmp_path / "run", "--json")[1])["totals"]["parameters"] == 60_000


def test_values_of_set():
    from minicnn.cli.model_name import of_zoo, parse

    assert parse(["a=1", "b=0.5", "c=true", 'd="x y"', "e=[1, 2]", "f=word", "g=1998-01-01", "h=", "i=x=y"]) == {
        "a": 1, "b": 0.5, "c": True, "d": "x y", "e": [1, 2], "f": "word", "g": "1998-01-01", "h": "", "i": "x=y"}
    assert of_zoo("lenet5", ["variant=1998"]) == of_zoo("lenet5:1998") == ("lenet5", {"variant": "1998"})


# -------------------------------------------------------------------------------------------------------------- predict


def test_predict_reads_folders_and_standard_input(minicnn_, trained, sample, tmp_path, monkeypatch):
    import io
    import sys

    content = sample.read_bytes()
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(content)}))
    rc, out, err = minicnn_("predict", trained, tmp_path / "in", "-", sample, "--json")
    assert rc == 0
    assert err == (f"{tmp_path / 'in'}: left out: 1 .txt, which are not PNG, JPEG, BMP, GIF, WEBP, TIFF: convert those "
                   "that are pictures\n")  # fmt: skip
    answers = document(out)
    assert [a["image"] for a in answers] == [str(tmp_path / "in" / "a.png"), str(tmp_path / "in" / "deep" / "b.png"),
                                             "-", str(sample)]
    assert all(a["classes"] == answers[0]["classes"] for a in answers)


def test_one_bad_picture_does_not_cost_the_others(minicnn_, trained, sample, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rc, out, err = minicnn_("predict", trained, tmp_path / "bad.png", sample)
    assert "bad.png" in sentence(err, 1, rc)
    assert f"{sample}: " in out
    (tmp_path / "empty").mkdir()
    rc, _, err = minicnn_("predict", trained, tmp_path / "empty")
    assert "empty holds no pictures" in sentence(err, 1, rc)


def test_pictures_go_into_the_run_folder_or_where_asked(minicnn_, trained, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rc, _, err = minicnn_("visualize", trained / "best.safetensors", sample)
    assert sentence(err, 2, rc).startswith("--out is missing: ")
    rc, _, err = minicnn_("visualize", trained, sample, "--what", "filters")
    assert (rc, err) == (0, "")
    assert (trained / "sample-filters.png").is_file()
    (trained / "sample-filters.png").unlink()
    assert minicnn_("compare", "alexnet", "vgg16")[0] == 0
    assert "try a tenth of that" in minicnn_("train", "digits", "--find-lr")[1]
    assert list(tmp_path.iterdir()) == []
    rc, out, err = minicnn_("train", "digits", "--find-lr", "--out", tmp_path / "lr.txt")
    assert "lr.txt must end in .png" in sentence(err, 2, rc)
    assert out == ""
    assert minicnn_("train", "digits", "--find-lr", "--out", tmp_path / "lr.png")[1].endswith("lr.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["lr.png"]
