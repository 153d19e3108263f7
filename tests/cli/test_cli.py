"""The command line: what each verb prints, leaves behind and answers to mistakes, in this process and in real ones."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import data
from minicnn.cli import app as program
from minicnn.cli import console
from minicnn.cli.app import main
from minicnn.cpu import threads
from minicnn.train import Run
from tests.program import SCRIPT, document, process, sentence
from tests.train.tiny import DIGITS, TINY
from tests.work import NEVER

VERBS = [" ".join(filter(None, (name, part))) for name in program.VERBS
         for part in getattr(program.load(name), "commands", [""])]


# --------------------------------------------------------------------------------------------------------------- train


def test_train_for_people(minicnn_, tmp_path):
    folder = tmp_path / "run [draft]"                            # brackets are markup to rich
    rc, out, err = minicnn_("train", "digits", "--epochs", 2, "--batch-size", 16, "--out", folder)
    assert (rc, err) == (0, "")
    assert ("lenet5 (61,706 parameters) on digits: 110 images to train, 10 to validate, 40 to test, 10 classes"
            in out.splitlines())
    lines = re.findall(r"^epoch +(\d)/2   loss \d+\.\d{4}   training +[\d.]+ %   validation +[\d.]+ %   +[\d.]+ s"
                       r"(?:  best)?$", out, re.MULTILINE)
    assert lines == ["1", "2"]
    assert re.search(r"^digits, test: \d+\.\d\d % right \(\d+ of 40 images\), loss \d+\.\d{4}$", out, re.MULTILINE)
    table = re.search(r"^truth \\ prediction +0 +1 +2 +3 +4 +5 +6 +7 +8 +9 *\n((?:\d .*\n){10})", out, re.MULTILINE)
    confusion = [[0 if n == "·" else int(n) for n in row.split()[1:]] for row in table[1].splitlines()]
    assert confusion == json.loads((folder / "test.json").read_text())["confusion"]
    assert "most common mistakes: " in out
    assert len(re.findall(r"^ +\d  [█▏▎▍▌▋▊▉ ]{40}  +\d+\.\d\d %$", out, re.MULTILINE)) == 10
    assert "What to try next:" in out
    assert f"  minicnn predict '{folder}' '{folder}/sample.png'   " in out, "ready to be pasted into a shell"
    assert f"In {folder}: best.safetensors (the model), metrics.jsonl, curves.png, confusion.png, filters.png" in out
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.safetensors", "config.json", "confusion.png", "curves.png", "env.json", "filters.png", "last.ckpt",
        "last.safetensors", "metrics.jsonl", "sample.png", "test.json"]  # fmt: skip
    for name in ("curves.png", "confusion.png", "filters.png", "sample.png"):
        with Image.open(folder / name) as picture:
            picture.load()
    assert np.array_equal(np.asarray(Image.open(folder / "sample.png")), TINY.test.images[0, 0])


def test_a_fast_dev_run_tests_a_few_batches_and_names_nothing_that_is_deleted(minicnn_):
    rc, out, err = minicnn_("train", "digits", "--batch-size", 4, "--fast-dev-run")
    assert (rc, err) == (0, "")
    assert out.startswith("lenet5 (61,706 parameters) on digits: 12 images to train, 10 to validate, 12 to test, ")
    assert "What to try next" not in out
    assert "\nIn " not in out
    assert out.endswith("its temporary folder was deleted.\n")


def test_what_to_try_next_keeps_the_options_of_the_net(minicnn_, tmp_path):
    out = minicnn_("train", "digits", "--set", "variant=1998", "--set", "rbf=false", "--epochs", 1,
                   "--limit-batches", 1, "--out", tmp_path / "run")[1]
    assert re.search(r"minicnn summary lenet5 --set variant=1998 --set rbf=false  ", out)


def test_train_for_programs(minicnn_, tmp_path):
    folder = tmp_path / "run"
    rc, out, err = minicnn_(
        "train", "--epochs", 2, "--batch-size", 40, "--optimizer", "sgd", "--lr", 0.01, "--momentum", 0.5,
        "--weight-decay", 0.001, "--schedule", "multistep", "--milestones", "1", "--gamma", 0.5, "--class-weights",
        "balanced", "--clip", 2, "--accumulate", 2, "--ema", 0.5, "--tensorboard", "--gradient-flow", "--patience", 4,
        "--workers", 1, "--checkpoint-steps", 2, "--checkpoint-seconds", 9, "--warmup", 0, "--label-smoothing", 0.1,
        "--augment", "flip",
        "--validation", 0.25, "--seed", 3, "--device", "cpu", "--out", folder, "--json")  # fmt: skip
    assert (rc, err) == (0, "")
    report = document(out)
    assert set(report) == {"folder", "config", "epochs", "seconds", "test"}
    assert report["folder"] == str(folder)
    assert report["config"] == {
        "dataset": "digits", "model": "lenet5", "options": {}, "epochs": 2, "batch_size": 40, "optimizer": "sgd",
        "lr": 0.01, "momentum": 0.5, "weight_decay": 0.001, "schedule": "multistep", "milestones": [1], "gamma": 0.5,
        "warmup": 0.0, "label_smoothing": 0.1, "augment": "flip", "validation": 0.25, "test": 0.15, "fit": "crop",
        "size": 0, "class_weights": "balanced", "clip": 2.0, "accumulate": 2, "ema": 0.5, "tensorboard": True,
        "gradient_flow": True, "patience": 4, "overfit_batches": 0, "limit_batches": 0, "workers": 1, "weights": "",
        "unfreeze": "", "body_rate": 0.1, "layer_decay": 0.8, "seed": 3, "device": "cpu", "checkpoint_steps": 2,
        "checkpoint_seconds": 9.0}  # fmt: skip
    assert report["config"] == json.loads((folder / "config.json").read_text()), "every option arrives"
    assert [e["epoch"] for e in report["epochs"]] == [1, 2]
    confusion = report["test"]["confusion"]
    assert sum(map(sum, confusion)) == 40
    assert report["test"]["accuracy"] == sum(confusion[k][k] for k in range(10)) / 40


@pytest.mark.usefixtures("undrawn")
def test_the_default_folder_is_a_free_one(minicnn_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in (1, 2):
        rc, out, _ = minicnn_("train", "--epochs", 1, "--json")
        assert rc == 0
        assert document(out)["folder"] == f"runs/digits-lenet5-{n}"


@pytest.mark.usefixtures("undrawn")
def test_same_seed_same_run(minicnn_, tmp_path):
    weights = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        assert minicnn_("train", "--epochs", 1, "--seed", seed, "--out", tmp_path / name)[0] == 0
        weights.append((tmp_path / name / "last.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_is_there_needs_overwrite(minicnn_, tmp_path):
    folder = tmp_path / "run"
    assert minicnn_("train", "--epochs", 1, "--out", folder)[0] == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    rc, out, err = minicnn_("train", "--epochs", 2, "--out", folder)
    assert sentence(err, 1, rc) == (f"{folder} already holds a run, which is kept: give another folder, or "
                                    f"--overwrite to replace it; `minicnn train --resume {folder}` continues a "
                                    "stopped run")
    assert out == ""
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert minicnn_("train", "--epochs", 2, "--out", folder, "--overwrite")[0] == 0
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_loss_that_explodes_is_one_sentence(minicnn_, tmp_path):
    rc, _, err = minicnn_("train", "--lr", "1e6", "--epochs", 4, "--out", tmp_path / "run")
    assert re.match(r"^the (validation )?loss is (nan|inf) .*: try a smaller learning rate than ", sentence(err, 1, rc))


def interrupt(monkeypatch, at, number=signal.SIGINT, times=1):
    """A signal to this process after step `at`, once or more often."""
    real = Run.train

    def stopped(self, on_step=lambda step, loss: None, on_epoch=lambda record: None, asked=None):
        def stop(step, loss):
            on_step(step, loss)
            for _ in range(times if step == at else 0):
                os.kill(os.getpid(), number)

        return real(self, stop, on_epoch, asked)

    monkeypatch.setattr(Run, "train", stopped)


@pytest.mark.parametrize(("as_json", "number", "code"), [(False, signal.SIGINT, 130), (True, signal.SIGTERM, 143)])
@pytest.mark.usefixtures("undrawn")
def test_a_signal_saves_and_says_how_to_go_on(minicnn_, monkeypatch, tmp_path, as_json, number, code):
    whole, folder, handler = tmp_path / "whole", tmp_path / "run", signal.getsignal(number)
    assert minicnn_("train", "--epochs", 5, "--out", whole)[0] == 0
    with monkeypatch.context() as patch:
        interrupt(patch, at=9, number=number)                    # 110 images in batches of 32: 4 steps an epoch
        rc, out, err = minicnn_("train", "--epochs", 5, "--out", folder, *["--json"] * as_json)
    assert (rc, err) == (code, "stopped after step 10 of 20, and saved: continue with `minicnn train "
                               f"--resume {folder}`\n")
    assert signal.getsignal(number) == handler
    assert out == "" or not as_json
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert minicnn_("eval", folder)[0] == 0, "what there is can be used"
    rc, out, err = minicnn_("train", "--resume", folder, *["--json"] * as_json)
    assert (rc, err) == (0, "")
    assert "continues after step 10\n" in out or as_json
    for name in ("best.safetensors", "last.safetensors", "test.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_second_signal_stops_at_once_and_what_was_saved_stays(minicnn_, monkeypatch, tmp_path):
    folder = tmp_path / "run"
    interrupt(monkeypatch, at=9, times=2)
    rc, _, err = minicnn_("train", "--epochs", 5, "--out", folder)
    assert sentence(err, 130, rc) == "stopped"
    monkeypatch.undo()
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)
    run = Run.resume(folder)
    assert (len(run.metrics), run.state.schedule.t) == (2, 8), "the last whole epoch"


def test_without_matplotlib_everything_but_the_pictures(minicnn_, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    rc, out, err = minicnn_("train", "--epochs", 1, "--out", tmp_path / "run")
    assert (rc, err) == (0, "no pictures: pictures need matplotlib: install it with `pip install matplotlib`\n")
    assert f"In {tmp_path / 'run'}: best.safetensors (the model), metrics.jsonl\n" in out
    assert not (tmp_path / "run" / "curves.png").exists()
    rc, out, err = minicnn_("gradcheck", "relu", "--sweep", "--json", "--out", tmp_path / "s.png")
    assert rc == 0
    assert document(out)["picture"] is None
    assert err.startswith("no picture: ")


# ---------------------------------------------------------------------------------------------------- summary, devices


def test_summary(minicnn_):
    rc, out, err = minicnn_("summary", "lenet5")
    assert (rc, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert {"Conv2d", "16×10×10", "2,416", "240,000"} <= set(rows["features.3"])
    assert {"61,706", "416,520"} <= set(rows["total"])
    assert "833,040" in out, "FLOPs are twice the MACs"


def test_summary_as_json_and_with_options(minicnn_):
    report = document(minicnn_("summary", "lenet5", "--json")[1])
    assert report["model"] == "lenet5"
    totals = {"parameters": 61_706, "buffers": 0, "macs": 416_520, "flops": 833_040}
    assert report["totals"].items() >= totals.items()
    assert len(report["layers"]) == 12
    report = document(minicnn_("summary", "lenet5", "--json", "--input", "3x28x28", "--set", "num_classes=7")[1])
    assert report["input"] == [3, 28, 28]
    assert report["totals"]["parameters"] == 61_706 + 2 * 6 * 25 - 3 * 85


def test_summary_of_an_input_that_does_not_fit(minicnn_):
    rc, _, err = minicnn_("summary", "lenet5", "--input", "1x32x32")
    text = sentence(err, 1, rc)
    assert text.startswith("lenet5 does not take images of 1×32×32 (")
    assert text.endswith("); it was made for --input 1x28x28")


def test_devices(minicnn_):
    report = document(minicnn_("devices", "--json")[1])
    gpu = report["gpu"]["usable"]                                  # tests/gpu/test_devices.py tries both
    assert report["available"] == ["cpu", *["cuda:0"] * gpu]
    assert report["auto"] == ("cuda:0" if gpu else "cpu")
    assert report["cpu"]["numpy"] == np.__version__
    assert report["cpu"]["minicnn"] == minicnn.__version__
    rc, out, err = minicnn_("devices")
    assert (rc, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["cpu", "cuda:0" if gpu else "gpu", "auto", "using"]
    assert report["gpu"]["name" if gpu else "why_not"] in out


@pytest.mark.parametrize(("variable", "value", "rule"), [
    ("MINICNN_CONV", "fft", "MINICNN_CONV: unknown convolution algorithm 'fft'"),
    ("MINICNN_TF32", "yes", "MINICNN_TF32 (='yes') must be 1"),
    ("MINICNN_NUM_THREADS", "20000", "MINICNN_NUM_THREADS (='20000') must be an integer from 1 to 256"),
])  # fmt: skip
def test_devices_refuses_a_wrong_environment_variable(minicnn_, monkeypatch, variable, value, rule):
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.setenv(variable, value)
    rc, _, err = minicnn_("devices")
    assert sentence(err, 1, rc).startswith(rule)


def test_version(minicnn_):
    assert minicnn_("--version") == (0, f"{minicnn.__version__}\n", "")


@pytest.mark.parametrize(("found", "says"), [
    ("caffe", "caffe"), ([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], "imagenet"), ([[0.485], [0.229]], "imagenet"),
    ([[0.5, 0.5, 0.5], [0.25, 0.2, 0.25]], "body.onnx (mean 0.5 0.5 0.5, std 0.25 0.2 0.25)"),
])
def test_transfer_says_how_the_body_saw_its_pictures(found, says):
    from minicnn.cli.transfer import _normalisation

    assert _normalisation({"normalisation": found, "weights": "somewhere/body.onnx"}) == says


# ----------------------------------------------------------------------------------------------------- usage, failures


@pytest.mark.parametrize(("args", "text"), [
    (["trian"], "No such command 'trian'"),
    (["train", "--epoch", "3"], "No such option: --epoch"),
    (["train", "--model", "lenet6"], "unknown model 'lenet6': did you mean 'lenet5'? Known: "),
    (["train", "digit"], "unknown dataset 'digit': did you mean 'digits'? Known: cifar-10, cifar-100, digits, "
                         "fashion-mnist, mnist"),
    (["train", "--device", "gpu"], "unknown device 'gpu': did you mean 'cpu'? Known: auto, cpu"),
    (["train", "--device", "cuda:0"], "device 'cuda:0' is not usable: "),
    (["train", "--optimizer", "sdg"], "unknown optimizer 'sdg': did you mean 'sgd'? Known: adam, adamw, sgd"),
    (["train", "--schedule", "cosin"], "unknown schedule 'cosin': did you mean 'cosine'? Known: constant, cosine, "),
    (["train", "--epochs", "0"], "epochs (=0) must be at least 1"),
    (["train", "--epochs", "two"], "Invalid value for '--epochs'"),
    (["train", "--batch-size", "-4"], "batch_size (=-4) must be at least 1"),
    (["train", "--lr", "nan"], "lr (=nan) must be a number above 0"),
    (["train", "--lr", "0"], "lr (=0.0) must be a number above 0"),
    (["train", "--momentum", "-1"], "momentum (=-1.0) must be a number of at least 0"),
    (["train", "--weight-decay", "-1"], "weight_decay (=-1.0) must be a number of at least 0"),
    (["train", "--warmup", "-1"], "warmup (=-1.0) must be a number of at least 0"),
    (["train", "--label-smoothing", "2"], "label_smoothing (=2.0) must be at least 0 and below 1"),
    (["train", "--validation", "1"], "validation (=1.0) must be between 0 and 1"),
    (["train", "--size", "-1"], "size (=-1) must be at least 0"),
    (["train", "--augment", "flop"], "unknown augmentation 'flop': did you mean 'flip'?"),
    (["train", "--schedule", "multistep", "--milestones", "3,x"], "--milestones '3,x' must be epochs with commas"),
    (["train", "--schedule", "multistep", "--milestones", "3,20"], "milestones (=[3, 20]) must be epochs from 1 to 19"),
    (["train", "--resume", "runs/x", "--lr", "1"], "--resume uses the settings in runs/x/config.json: leave "),
    (["transfer", "digits", "--weights", "none.npz"], "--model is missing, and none.npz does not name its net"),
    (["transfer", "digits", "--weights", "x", "--model", "lenet"], "unknown model 'lenet': did you mean 'lenet5'?"),
    (["transfer", "digit", "--weights", "x", "--model", "lenet5"], "unknown dataset 'digit': did you mean 'digits'?"),
    (["transfer", "digits", "--weights", "x", "--model", "lenet5", "--preprocess", "imagnet"],
     "unknown preprocessing 'imagnet': did you mean 'imagenet'?"),
    (["train", "--seed", "-1"], "seed (=-1) must be at least 0"),
    (["summary", "lenet"], "unknown model 'lenet': did you mean 'lenet5'?"),
    (["summary"], "Missing argument"),
    (["summary", "lenet5", "--input", "28x28"], "--input '28x28' must be channels x height x width, such as "),
    (["summary", "lenet5", "--input", "1x0x28"], "--input '1x0x28' must be channels x height x width"),
    (["train", "--model", "mine.py::Net"], "model 'mine.py::Net' is a file: a run takes a net of the zoo by name"),
    (["transfer", "digits", "--model", "lenet5"], "--weights is missing: name a file with the body's weights, such as"),
    (["summary", "mine.py"], "mine.py is a Python file: name the net in it, mine.py::NET"),
    (["lab", "mine.py"], "mine.py is a Python file: name the net in it, mine.py::NET"),
    (["gradcheck", "mine.py"], "mine.py is a Python file: name the function in it, mine.py::FUNCTION"),
    (["gradcheck", "conv2dd"], "unknown op 'conv2dd': did you mean 'conv2d'?"),
    (["gradcheck", "relu", "--seeds", "0"], "Invalid value for '--seeds'"),
    (["predict"], "Missing argument"),
    (["devices", "extra"], "unexpected extra argument"),
], ids=" ".join)  # fmt: skip
def test_a_wrong_command_line_exits_2_with_a_sentence(minicnn_, args, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rc, out, err = minicnn_(*args)
    assert text in sentence(err, 2, rc)
    assert out == ""
    assert not list(tmp_path.iterdir()), "and leaves nothing behind"


@pytest.mark.parametrize(("args", "text"), [
    (["--split", "tset"], "unknown split 'tset': did you mean 'test'?"),
    (["--data", "minst"], "unknown dataset 'minst': did you mean 'mnist'?"),
    (["--device", "gpu"], "unknown device 'gpu': did you mean 'cpu'?"),
])  # fmt: skip
def test_a_wrong_option_of_eval(minicnn_, trained, args, text):
    rc, _, err = minicnn_("eval", trained, *args)
    assert text in sentence(err, 2, rc)


def test_a_wrong_option_of_predict(minicnn_, trained, pictures):
    rc, _, err = minicnn_("predict", trained, pictures[0], "--device", "cuda:1")
    assert "device 'cuda:1' is not usable: " in sentence(err, 2, rc)
    assert minicnn_("predict", trained, pictures[0], "--top", 0)[0] == 2


@pytest.mark.parametrize("verb", [["eval"], ["predict", "x.png"]])
def test_runs_that_are_not_there_or_broken(minicnn_, tmp_path, trained, verb):
    verb, *rest = verb
    rc, _, err = minicnn_(verb, tmp_path / "none", *rest)
    assert sentence(err, 1, rc) == f"there is no model file {tmp_path / 'none'}: train one with `minicnn train digits`"
    (tmp_path / "empty").mkdir()
    rc, _, err = minicnn_(verb, tmp_path / "empty", *rest)
    assert sentence(err, 1, rc) == (f"{tmp_path / 'empty'} holds no best.safetensors, so no trained model: train one "
                                    f"with `minicnn train digits --out {tmp_path / 'empty'}`")
    whole = (trained / "best.safetensors").read_bytes()
    for name, content in (("cut", whole[:1000]), ("junk", b"junk" * 99)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        rc, _, err = minicnn_(verb, path, *rest)
        assert sentence(err, 1, rc).startswith(f"{path} is not a readable model file: it")


def test_a_dataset_whose_files_are_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["minicnn", "train", "mnist", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert "the dataset 'mnist' needs " in sentence(capsys.readouterr().err, 1, exit_.value.code)
    assert not (tmp_path / "run").exists()


def test_a_full_disk(minicnn_, monkeypatch, tmp_path):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    rc, _, err = minicnn_("train", "--epochs", 1, "--out", tmp_path / "run")
    assert "No space left on device" in sentence(err, 1, rc)


@pytest.mark.parametrize("problem", [MemoryError("can't allocate 2 TiB"), KeyboardInterrupt(), RuntimeError("odd")])
def test_failures_in_the_middle_of_a_verb(minicnn_, monkeypatch, tmp_path, problem):
    def fail(*args, **kwargs):
        raise problem

    monkeypatch.setattr(Run, "train", fail)
    rc, _, err = minicnn_("train", "--out", tmp_path / "run")
    code, text = (130, "stopped") if isinstance(problem, KeyboardInterrupt) else (1, str(problem))
    assert sentence(err, code, rc) == text


def test_debug_shows_where_a_failure_came_from(monkeypatch, tmp_path):
    monkeypatch.setenv("MINICNN_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["minicnn", "eval", str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError):
        main()


# ---------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize(("flag", "verb"), [("--help", VERBS[0]), *(("-h", verb) for verb in VERBS)])
def test_help_mentions_every_option(minicnn_, verb, flag):
    name, *part = verb.split()
    command = program.load(name)
    command = command.commands[part[0]] if part else command
    rc, out, err = minicnn_(*verb.split(), flag)
    assert (rc, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    assert options
    for name in options:
        assert name in plain, f"minicnn {verb} --help does not mention {name}"
    assert " ".join(command.help.split())[:40] in " ".join(plain.split())


def test_help_lists_the_verbs(minicnn_):
    rc, out, _ = minicnn_("--help")
    assert rc == 0
    assert all(re.search(rf"^│ {verb.split()[0]} ", out, re.MULTILINE) for verb in VERBS)


def test_a_probability_as_a_bar():
    lines = list(console.bars(["a", "long", "z"], [1.0, 0.5, 0.003125], width=4))
    assert lines == ["     a  ████  100.00 %", "  long  ██     50.00 %", "     z          0.31 %"]
    assert "▍" in next(iter(console.bars(["x"], [3 / 8], width=1)))


# ------------------------------------------------------------------------------------------ real processes, real pipes


@pytest.mark.slow
def test_a_real_training(tmp_path):
    """One pass over the 5000 digits; chance would be 10 % of the 1000 unseen ones."""
    done = process("train", "digits", "--epochs", 1, "--out", tmp_path / "run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = document(done.stdout)
    assert sum(map(sum, report["test"]["confusion"])) == 1000
    assert report["test"]["accuracy"] > 0.6
    Image.fromarray(DIGITS.test.images[0, 0]).save(tmp_path / "first.png")
    done = process("predict", tmp_path / "run", tmp_path / "first.png", "--json")
    assert done.returncode == 0
    assert len(document(done.stdout)[0]["classes"]) == 5


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_a_real_ctrl_c(tmp_path):
    if not SCRIPT.exists():
        pytest.skip(f"minicnn is not installed beside {sys.executable}")
    command = [SCRIPT, "train", "digits", "--epochs", "500", "--out", tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            lines = []
            while not (lines and lines[-1].startswith("epoch  ")):
                lines.append(running.stdout.readline())
                assert lines[-1], running.stderr.read()
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=NEVER)
        finally:
            running.kill()
    progress, stopped = r"(step: .* of 70,500\n)*", r"stopped after step \d+ of 70,500, and saved"   # progress: if slow
    assert re.fullmatch(rf"{progress}{stopped}: continue with `minicnn train --resume .*run`\n", err)
    assert running.returncode == 130


def test_a_real_failure_and_a_pipe_in_an_old_encoding(tmp_path):
    done = process("eval", tmp_path / "none")
    assert done.returncode == 1
    assert done.stdout == ""
    assert sentence(done.stderr, 1, done.returncode).startswith("there is no model file")
    done = process("summary", "lenet5", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "16?10?10" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise on Windows")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_reader_that_has_seen_enough(as_json):
    """`minicnn summary lenet5 | head -1`"""
    if not SCRIPT.exists():
        pytest.skip(f"minicnn is not installed beside {sys.executable}")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [SCRIPT, "summary", "lenet5", *["--json"] * as_json]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=NEVER)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
