"""One declaration for each setting: options, help, files and page agree; `--set` names what a net is built with."""

import json
import re
import runpy
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from minicnn import Tensor, data, no_grad
from minicnn.cli.settings import given
from minicnn.io import model_file
from minicnn.ops.softmax import softmax
from minicnn.train import Config, Run, usual
from minicnn.train.config import RESUME_MAY_CHANGE
from minicnn.train.config_files import complete, from_json, from_toml, read
from tests.program import caller, document, sentence
from tests.train.tiny import TINY, folder_of_pictures

PANELS = ("Data", "Model", "Optimisation", "Schedule", "Regularisation", "Saving", "Debugging")


@pytest.fixture
def minicnn_(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def test_every_setting_says_what_it_is():
    for f in fields(Config):
        assert f.metadata["group"] in PANELS
        assert f.metadata["help"].endswith("."), f.name
        assert set(f.metadata["verbs"].split()) <= {"train", "transfer"}
    assert set(RESUME_MAY_CHANGE) == {"checkpoint_steps", "checkpoint_seconds", "device", "workers", "tensorboard",
                                      "gradient_flow"}


@pytest.mark.parametrize("verb", ["train", "transfer"])
def test_the_help_holds_every_option_in_its_panel(minicnn_, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "120")
    rc, out, err = minicnn_(verb, "--help")
    assert (rc, err) == (0, "")
    shown, panel = {}, ""
    for line in out.splitlines():
        if found := re.match(r"╭─ (\w+) ─", line):
            panel = found[1]
        if found := re.match(r"│ \*? *--([\w-]+)", line):
            shown[found[1].replace("-", "_")] = panel
    expected = {"set" if f.name == "options" else f.name: f.metadata["group"] for f in fields(Config)
                if verb in f.metadata["verbs"].split()}  # fmt: skip
    assert {name: panel for name, panel in shown.items() if panel in PANELS} == expected


def test_the_page_lists_the_settings_as_they_are_declared():
    path = Path(__file__).parents[2] / "docs" / "make_settings.py"
    made = runpy.run_path(str(path))
    page = path.with_name("training.md").read_text("utf-8")
    assert page == made["page"](), "python docs/make_settings.py writes the tables anew"
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \| `.*` \|$", page, re.M))
    assert rows["epochs"] == "Passes over the training images."
    assert set(rows) >= {f.name for f in fields(Config)}


def test_values_of_set_are_toml_and_a_bare_word_is_a_string():
    pairs = ["aux=true", "width=0.5", "blocks=3", "variant=1998", "name=relu6", "a = \"b c\"", "l=[1, 2]"]
    assert given({"options": pairs, "lr": None, "milestones": "3, 5"}) == {"milestones": [3, 5], "options": {
        "aux": True, "width": 0.5, "blocks": 3, "variant": "1998", "name": "relu6", "a": "b c", "l": [1, 2]}}
    assert given({"options": ["variant='caffe'"]}) == {"options": {"variant": "caffe"}}


@pytest.mark.parametrize(("args", "text"), [
    (["--set", "width"], "--set 'width' must be KEY=VALUE, such as --set num_classes=10"),
    (["--set", "=3"], "--set '=3' must be KEY=VALUE"),
    (["--set", "aux=true"], "unknown option of model lenet5 'aux'"),
    (["--model", "lenet5:2000"], "unknown variant of model lenet5 '2000'"),
    (["--model", "lenet5:1998", "--set", "variant=caffe"], "model 'lenet5:1998' names one variant and the option va"),
])  # fmt: skip
def test_a_model_that_is_named_wrongly(minicnn_, args, text):
    rc, _, err = minicnn_("train", "digits", "--model", "lenet5", *args)
    assert sentence(err, 2, rc).startswith(text)


@pytest.mark.usefixtures("tiny", "undrawn")
def test_one_net_named_in_all_ways_is_one_run(minicnn_, tmp_path):
    short = ("--epochs", 1, "--batch-size", 40, "--limit-batches", 1, "--json")
    (tmp_path / "a.toml").write_text('model = "lenet5:1998"\n[options]\nrbf = false\n')
    (tmp_path / "b.toml").write_text('model = "lenet5"\noptions = {variant = "1998", rbf = false}\n')
    ways = (["--model", "lenet5:1998", "--set", "rbf=false"], ["--config", tmp_path / "a.toml"],
            ["--model", "lenet5", "--set", "variant=1998", "--set", "rbf=false"], ["--config", tmp_path / "b.toml"])
    found = []
    for n, way in enumerate(ways):
        rc, _, err = minicnn_("train", "digits", *way, *short, "--out", tmp_path / str(n))
        assert (rc, err) == (0, "")
        found.append(model_file.load(tmp_path / str(n) / "best.safetensors"))
    for model, about in found:
        assert (about.model, about.options) == ("lenet5", {"num_classes": 10, "in_channels": 1, "rbf": False,
                                                           "variant": "1998"})
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, found[0][0].state_dict()[name])


# ---------------------------------------------------------------------------------------------------- images too small


@pytest.mark.usefixtures("tiny")
def test_digits_are_given_a_margin_for_the_net_of_1998_and_every_verb_agrees(minicnn_, tmp_path):
    run = tmp_path / "run"
    rc, _, err = minicnn_("train", "digits", "--model", "lenet5:1998", "--epochs", 1, "--batch-size", 40, "--out", run)
    assert (rc, err) == (0, "")
    model, about = model_file.load(run / "best.safetensors")
    assert (about.input, about.margin, about.background) == ([1, 32, 32], [4, 4], [0, 0, 0])
    stored = json.loads((run / "test.json").read_text())
    for more in ([], ["--data", "digits"]):
        evaluated = document(minicnn_("eval", run, "--json", *more)[1])
        assert evaluated["confusion"] == stored["confusion"]
        assert evaluated["loss"] == pytest.approx(stored["loss"], rel=1e-5)
    (answer,) = document(minicnn_("predict", run, run / "sample.png", "--json", "--top", 10)[1])
    x = np.zeros((1, 1, 32, 32), np.float32)
    x[:, :, 2:30, 2:30] = TINY.test.images[:1]
    with no_grad():
        p = softmax(model(Tensor((x / 255 - about.mean[0]) / np.float32(about.std[0])))).numpy()[0]
    found = {c["class"]: c["probability"] for c in answer["classes"]}
    assert [found[str(k)] for k in range(10)] == pytest.approx(p.tolist(), abs=1e-6)
    onnxruntime = pytest.importorskip("onnxruntime")
    rc, _, err = minicnn_("export", run, "--onnx", tmp_path / "net.onnx")
    assert (rc, err) == (0, "")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    assert "then add rows and columns of the colour [0, 0, 0] on all sides to 32x32" in str(
        session.get_modelmeta().custom_metadata_map)
    (logits,) = session.run(None, {"image": ((x / 255 - about.mean[0]) / about.std[0]).astype(np.float32)})
    assert np.exp(logits[0] - logits.max()).argmax() == p.argmax()


@pytest.mark.usefixtures("tiny")
def test_a_net_that_takes_the_images_as_they_are_gets_no_margin(tmp_path):
    settings = Config(model="resnet20", limit_batches=1, epochs=1, batch_size=8, validation=0.2)
    assert Run(settings, tmp_path).splits.preprocessing.shape == (1, 28, 28)


def test_images_that_are_far_too_small_are_told(tmp_path, monkeypatch):
    small = data.Splits.of_arrays("digits", *(data.Dataset(s.images[:, :, 2:-3, 2:-3], s.labels)
                                              for s in (TINY.train, TINY.test)), TINY.classes, TINY.mean, TINY.std)
    monkeypatch.setattr(data.registry, "load", lambda name: small)
    with pytest.raises(ValueError, match=r"^lenet5:1998 does not take the \(1, 23, 23\) images of digits \(.*\); "
                                         r"lenet5:1998 was made for \(1, 32, 32\): choose another model or dataset$"):
        Run(Config(model="lenet5:1998"), tmp_path / "run")


# ------------------------------------------------------------------------------------------------------ the usual model


def test_the_usual_model_depends_on_the_data(tmp_path):
    names = ("digits", "fashion-mnist", "cifar-10", str(tmp_path))
    assert [complete(Config(dataset=n)).model for n in names] == ["lenet5", "lenet5", "resnet20", "resnet20"]
    assert complete(Config(dataset="cifar-10", model="lenet5:caffe")).model == "lenet5:caffe"


@pytest.mark.usefixtures("undrawn")
def test_train_the_doctor_and_what_to_try_next_say_the_same_of_a_folder_of_photos(minicnn_, tmp_path, rng):
    folder = folder_of_pictures(tmp_path / "my shapes", rng)
    command = f"minicnn transfer '{folder}' --model squeezenet1_1 --weights FILE"
    said = ("without --model, training is of resnet20, on colour images of 32 × 32; 8 pictures a class are few for "
            f"that: `{command}` adapts a trained net to them\n")
    short = ("--epochs", 1, "--limit-batches", 1, "--out", tmp_path / "run")
    rc, out, err = minicnn_("train", folder, *short)
    assert (rc, err) == (0, "")
    assert out.startswith(said)
    assert f"  {command} " in out.partition("What to try next:")[2]
    assert "--label-smoothing" not in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"] == "resnet20"
    assert model_file.description(tmp_path / "run" / "best.safetensors").input == [3, 32, 32]
    assert minicnn_("data", "doctor", folder)[1].endswith(f"ready to train; {said}")


@pytest.mark.usefixtures("undrawn")
def test_what_to_try_next_with_pictures_in_a_tar(minicnn_, tmp_path, rng):
    folder = folder_of_pictures(tmp_path / "shapes", rng)
    assert minicnn_("data", "pack", folder, tmp_path / "tars")[0] == 0
    rc, out, err = minicnn_("train", tmp_path / "tars", "--epochs", 1, "--limit-batches", 1, "--out", tmp_path / "run")
    assert (rc, err) == (0, "")
    assert f"  minicnn predict {tmp_path / 'run'} PICTURE " in out
    assert len(out) < 5000, "no picture's bytes"


def test_the_advice_depends_on_how_many_pictures_there_are():
    assert usual.advice("digits", 10, 10) == ""
    few, many = usual.advice("photos", 999, 2), usual.advice("photos", 1000, 2)
    assert few.startswith(many)
    assert "499 pictures a class are few" in few
    assert many == "without --model, training is of resnet20, on colour images of 32 × 32"
    assert not usual.too_few("digits", 10, 10)


# ----------------------------------------------------------------------------------------------------------- old files


def test_settings_of_earlier_runs_are_still_read(tmp_path):
    """A config.json as it was written when a variant was an option and every run named its model."""
    old = {"dataset": "digits", "model": "lenet5", "options": {"variant": "1998"}, "epochs": 2, "lr": 0.002, "seed": 3}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert from_json(tmp_path / "config.json") == Config(model="lenet5", options={"variant": "1998"}, epochs=2, seed=3)
    (tmp_path / "run.toml").write_text('model = "lenet5"\n[options]\nvariant = "1998"\n')
    assert read(from_toml(tmp_path / "run.toml")).options == {"variant": "1998"}
