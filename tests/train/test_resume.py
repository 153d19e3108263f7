"""Nothing is lost: a stopped run resumes bit for bit, and saved files survive every failure."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from minicnn import atomic, data, rng
from minicnn.data import splits
from minicnn.train import Config, Run, Stopped, checkpoint
from minicnn.train.checkpoint import KEY
from minicnn.train.stop import Request, on_signals
from tests.thinned import thinned
from tests.train.fuzz_runs import run as fuzz
from tests.train.kill_test import MINICNN, kill
from tests.train.tiny import TINY, folder_of_pictures

STEPS = 7  # an epoch of 100 images in batches of 16


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """`data.load` gives 120 images to learn from and 40 to test on."""
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def config(**changes):
    return Config(**{"epochs": 3, "batch_size": 16, "validation": 0.2, **changes})


class PowerFailureError(Exception):
    pass


def train_until(run, step):
    """Train, and be gone right after a step."""
    def on_step(now, loss):
        if now == step:
            raise PowerFailureError

    with pytest.raises(PowerFailureError):
        run.train(on_step)


def outcome(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(folder / name).read_bytes() for name in ("best.safetensors", "last.safetensors")], [
        {k: v for k, v in r.items() if k != "seconds"} for r in records]  # fmt: skip


WAYS = {
    "adam": {},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.02, "schedule": "onecycle"},
    "everything": {"optimizer": "sgd", "lr": 0.02, "augment": "pad-crop:1 flip cutout:4 mixup:0.3", "ema": 0.8,
                   "clip": 1.0, "accumulate": 3, "class_weights": "balanced", "label_smoothing": 0.1,
                   "model": "squeezenet1_1",
                   "options": {"width": 0.125, "dropout": 0.4}, "gradient_flow": True, "workers": 1},
    "running statistics": {"model": "mobilenet_v1", "options": {"width": 0.125}, "optimizer": "sgd", "lr": 0.05},
}  # fmt: skip


@pytest.mark.parametrize("way", thinned(WAYS, lambda way: way != "sgd"))                       # which "everything" has
def test_a_run_that_was_interrupted_three_times_ends_as_one_that_was_not(tmp_path, way):
    settings = config(**WAYS[way], checkpoint_steps=2)
    whole = Run(settings, tmp_path / "whole")
    whole.train()
    run = Run(settings, tmp_path / "run")
    each = whole.state.steps_per_epoch
    for step in (1, each + 1, 3 * each - 1):
        train_until(run, step)
        rng.seed(12345)                                          # whatever else is going on
        np.random.default_rng(0).random(3)
        run = Run.resume(tmp_path / "run")
        assert run.state.schedule.t in (step, step + 1, each * (step // each)), "at most two steps are done again"
    assert len(run.train()) == 3
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert run.test().confusion.tolist() == whole.test().confusion.tolist()


def test_resuming_before_the_first_checkpoint_begins_anew_and_after_the_end_does_nothing(tmp_path):
    Run(config(epochs=1), tmp_path / "whole").train()
    run = Run(config(epochs=1), tmp_path / "run")
    train_until(run, 2)
    assert not (tmp_path / "run" / checkpoint.NAME).exists()
    run = Run.resume(tmp_path / "run")
    assert run.state.schedule.t == 0
    run.train()
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    steps = []
    again = Run.resume(tmp_path / "run")
    assert again.finished
    assert again.train(lambda *step: steps.append(step)) == run.metrics
    assert not steps


def test_a_run_on_files_goes_on_from_another_folder(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(data.registry, "load", lambda name: pytest.fail("a folder is no dataset by name"))
    folder_of_pictures(tmp_path / "shapes", rng, per_class=10)
    settings = config(dataset="shapes", model="squeezenet1_1", options={"width": 0.125}, size=32, batch_size=4,
                      epochs=2, augment="random-resized:0.6 flip jitter:0.2", checkpoint_steps=1)
    monkeypatch.chdir(tmp_path)
    whole = Run(settings, tmp_path / "whole")
    assert settings.dataset == "shapes", "the caller's own stays as it was"
    whole.train()
    train_until(Run(settings, tmp_path / "run"), 2)
    monkeypatch.chdir("/")
    run = Run.resume(tmp_path / "run")
    run.train()
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    (tmp_path / "shapes" / "discs" / "07.png").rename(tmp_path / "shapes" / "discs" / "x.png")
    with pytest.raises(ValueError, match=r"last\.ckpt: .*shapes has changed since the run started: restore "):
        Run.resume(tmp_path / "run")


# --------------------------------------------------------------------------------------------------- asked to stop


@pytest.mark.parametrize("when", ["in an epoch", "while evaluating", "at the end of an epoch"])
def test_being_asked_to_stop(tmp_path, when, monkeypatch):
    settings = config(ema=0.9, gradient_flow=True)               # the gradients of the last step are asked for later
    Run(settings, tmp_path / "whole").train()
    run, asked = Run(settings, tmp_path / "run"), Request()
    evaluate = run.evaluate

    def during(batches):
        if when == "while evaluating" and len(run.metrics) == 1:
            asked.signal = signal.SIGTERM
        return evaluate(batches)

    monkeypatch.setattr(run, "evaluate", during)

    def on_step(step, loss):
        if when == "in an epoch" and step == 9:
            asked.signal = signal.SIGTERM

    def on_epoch(record):
        if when == "at the end of an epoch" and record["epoch"] == 2:
            asked.signal = signal.SIGTERM

    with pytest.raises(Stopped) as stopped:
        run.train(on_step, on_epoch, asked)
    done = 10 if when == "in an epoch" else 14
    assert str(stopped.value) == (f"stopped after step {done} of 21, and saved: continue with `minicnn train "
                                  f"--resume {tmp_path / 'run'}`")
    assert stopped.value.code == 143
    again = Run.resume(tmp_path / "run")
    assert (again.state.schedule.t, len(again.metrics)) == (done, 2 if when == "at the end of an epoch" else 1)
    again.train()
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_signals_are_noted_once_and_then_obeyed():
    before = signal.getsignal(signal.SIGTERM)
    with on_signals() as asked:
        assert not asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked
        assert asked.code == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (Request().code, Stopped("stopped").code) == (130, 130), "as after Ctrl-C"


@pytest.mark.slow
def test_kill_9(tmp_path):
    """A short version of `python -m tests.train.kill_test 200`."""
    done = kill(6, tmp_path, seed=1, names=("adam", "noise"))
    assert done["killed"] >= 6
    assert done["ended"] >= 1


def test_kill_9_in_the_middle_of_saving(tmp_path, rng):
    """The last file that was written or the next one, whatever the moment; what is half done is swept away later."""
    script = ("import sys; from pathlib import Path; from minicnn import atomic\n"
              "for n in range(256):\n"
              "    content = bytes([n]) * 20_000_000\n"
              "    print('begun', n, flush=True)\n"
              "    atomic.write(Path(sys.argv[1]), content)\n"
              "    print('done', n, flush=True)\n")
    path = tmp_path / "file"
    for wait in rng.uniform(0, 0.05, 5):                           # a moment within a file that is being written
        with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as process:
            said = [process.stdout.readline() for _ in range(3)]
            assert said == ["begun 0\n", "done 0\n", "begun 1\n"]
            time.sleep(wait)
            process.kill()
            said += process.stdout.readlines()
        content = path.read_bytes()
        assert len(content) == 20_000_000
        assert content == content[:1] * 20_000_000
        done = int(next(line for line in reversed(said) if line.startswith("done ")).split()[1])
        assert content[0] in ((done, done + 1) if said[-1].startswith("begun") else (done,))
    atomic.sweep(tmp_path, ["file"])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -------------------------------------------------------------------------------------- where nothing can be written


@pytest.mark.parametrize("works", [True, False])
def test_macos_flushes_the_drive_too(tmp_path, monkeypatch, works):
    """F_FULLFSYNC, as fcntl(2) of macOS says; fsync where the file system lacks it."""
    done = []

    class MacOS:
        F_FULLFSYNC = 51

        @staticmethod
        def fcntl(handle, command):
            done.append(command)
            if not works:
                raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(atomic, "fcntl", MacOS)
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync"))
    atomic.write(tmp_path / "file", b"content")
    assert done[: 1 + (not works)] == [51, "fsync"][: 1 + (not works)]
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only"),
                                              (errno.EACCES, "Permission denied"), (errno.EDQUOT, "quota exceeded")])
def test_where_nothing_can_be_written_the_last_checkpoint_stays(tmp_path, monkeypatch, number, text):
    Run(config(), tmp_path / "whole").train()
    folder = tmp_path / "run"
    run, real = Run(config(checkpoint_steps=3), folder), os.fsync

    def full(handle):
        if run.state.schedule.t >= 11:
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as error:
        run.train()
    assert re.fullmatch(r".*last\.ckpt can't be written \(.*\), [\d,]+ bytes: free some space or allow writing, "
                        r"then continue with `minicnn train --resume .*run`; the previous checkpoint is intact",
                        str(error.value))
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(folder.glob(".*.part"))
    monkeypatch.setattr(os, "fsync", real)
    again = Run.resume(folder)
    assert again.state.schedule.t == 9
    again.train()
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_model_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run, real = Run(config(), tmp_path), os.replace

    def refuse(source, target):
        if Path(target).name == "best.safetensors" and len(run.metrics) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    kept = []
    with pytest.raises(OSError, match="No space left on device"):
        run.train(on_epoch=lambda record: kept.append((tmp_path / "best.safetensors").read_bytes()))
    assert (tmp_path / "best.safetensors").read_bytes() == kept[0]


# ----------------------------------------------------------------------------------------------- checkpoints of others


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that is not finished."""
    run = Run(config(checkpoint_steps=2), tmp_path / "run")
    train_until(run, 9)
    return tmp_path / "run"


def changed(folder, change=lambda values: None, arrays=lambda arrays: None):
    """Write the checkpoint again with changes, and with the checksum of the changed content."""
    with safe_open(folder / "last.ckpt", "numpy") as file:
        values = json.loads(file.metadata()[KEY])
        del values["checksum"]
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(values)
    arrays(held)
    values["checksum"] = checkpoint.checksum(held, values)
    (folder / "last.ckpt").write_bytes(safetensors.numpy.save(held, {KEY: json.dumps(values)}))


def drop(name):
    return lambda values: values.pop(name)


def put(name, value):
    return lambda values: values.update({name: value})


REFUSED = {
    "newer": (put("format", 3), "has format 3, and this minicnn reads format 2: update minicnn"),
    "no format": (drop("format"), "its metadata can't be read ('format')"),
    "another net": (lambda v: v["config"].update(model="resnet20"),
                    "it does not belong to the config.json in its folder: model is 'resnet20', not 'lenet5'"),
    "another rate": (lambda v: v["config"].update(lr=1.0),
                     "it does not belong to the config.json in its folder: lr is 1.0, not 0.002"),
    "no config": (drop("config"), "its entry 'config' must be of type dict, not null"),
    "other pictures": (put("pictures", "abc"), "digits has changed since the run started"),
    "progress": (put("progress", [1]), "its entry 'progress' must be of type dict, not [1]"),
    "progress is text": (lambda v: v["progress"].update(batches="1"),
                         "its entry 'batches' must be of type int, not \"1\""),
    "progress is endless": (lambda v: v["progress"].update(loss=float("inf")),
                            "its entry 'loss' must be a finite number, not inf"),
    "too far": (lambda v: v["progress"].update(batches=99, images=999),
                "it contradicts itself: step 8 is not batch 99 of epoch 2"),
    "step": (put("step", 3), "it contradicts itself: step 3 is not batch 1 of epoch 2, where 7 steps are an epoch"),
    "below 0": (lambda v: v["progress"].update(batches=-1), "it contradicts itself: Progress(batches=-1, images="),
    "no images": (lambda v: v["progress"].update(images=0), "it contradicts itself: Progress(batches=1, images=0"),
    "epochs": (lambda v: v["metrics"][0].update(epoch=2), "it contradicts itself: Progress("),
    "a number without end": (lambda v: v.update(step=10**4200), "it contradicts itself: step 1000"),
    "metrics": (put("metrics", [{}]), "its entry 'epoch' must be of type int, not null"),
    "metrics are numbers": (put("metrics", [3]), "its entry 'epoch' must be of type int, not int"),
    "random": (put("random", {"seed": 1, "draws": 0, "generator": {"bit_generator": "MT19937"}}),
               "the state of the random numbers can't be read ("),
    "random counts": (lambda v: v["random"].update(draws=-1), "the state of the random numbers counts (0, -1)"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_checkpoint_that_does_not_belong_here(stopped, what):
    change, text = REFUSED[what]
    changed(stopped, change)
    before = {p.name: p.read_bytes() for p in stopped.iterdir()}
    with pytest.raises(ValueError) as error:
        Run.resume(stopped)
    assert text in str(error.value)
    assert str(error.value).startswith(f"{stopped / 'last.ckpt'}")
    assert "\n" not in str(error.value)
    assert {p.name: p.read_bytes() for p in stopped.iterdir()} == before


@pytest.mark.parametrize(("arrays", "text"), [
    (lambda a: a.pop("model.features.0.weight"), "missing: features.0.weight"),
    (lambda a: a.update({"model.features.0.weight": np.zeros((6, 1, 3, 3), np.float32)}),
     "features.0.weight is (6, 1, 3, 3), must be (6, 1, 5, 5)"),
    (lambda a: a.update({"optimizer.0.0": np.zeros(3, np.float32)}),
     "the optimiser's array 0.0 has shape (3,), but its parameter (6, 1, 5, 5)"),
    (lambda a: a.pop("optimizer.0.steps"), "the optimiser's state has step counts and arrays"),
])  # fmt: skip
def test_a_checkpoint_with_other_arrays(stopped, arrays, text):
    changed(stopped, arrays=arrays)
    with pytest.raises(ValueError) as error:
        Run.resume(stopped)
    assert text in str(error.value)


@pytest.mark.parametrize(("content", "text"), [
    (b"", "is not a complete checkpoint ("), (b"\x00" * 40, "is not a complete checkpoint ("),
    (safetensors.numpy.save({"w": np.zeros(2)}),
     f"is not a checkpoint of a training run: its metadata has no entry '{KEY}'"),
    (safetensors.numpy.save({"w": np.zeros(2)}, {KEY: "{"}), "its metadata can't be read ("),
    (safetensors.numpy.save({"w": np.zeros(2)}, {KEY: "[]"}), "its metadata can't be read ("),
    (safetensors.numpy.save({"w": np.zeros(2)}, {KEY: "1" * 5000}), "its metadata can't be read ("),
    (safetensors.numpy.save({"w": np.zeros(2)}, {KEY: "[" * 100_000}), "its metadata can't be read ("),
])  # fmt: skip
def test_a_checkpoint_that_is_none(stopped, content, text):
    (stopped / "last.ckpt").write_bytes(content)
    with pytest.raises(ValueError) as error:
        Run.resume(stopped)
    assert text in str(error.value)


@pytest.mark.parametrize("cut", [0.01, 0.3, 0.9, 0.9999])
def test_a_checkpoint_that_was_cut_short_by_others(stopped, cut):
    content = (stopped / "last.ckpt").read_bytes()
    (stopped / "last.ckpt").write_bytes(content[: int(cut * len(content))])
    with pytest.raises(ValueError, match=r"last\.ckpt is not a complete checkpoint \(.*\): restore it from a copy"):
        Run.resume(stopped)


@pytest.mark.parametrize(("content", "text"), [
    ("{", "can't be read ("), ("[]", "settings must be names and values, not of type list"),
    ('{"lrr": 1}', "unknown setting 'lrr': did you mean 'lr'?"),
    ('{"lr": "big"}', "lr must be a value of type float, not 'big'"),
    ('{"epochs": 2.0}', "epochs must be a value of type int, not 2.0"),
    ('{"epochs": true}', "epochs must be a value of type int, not True"),
    ('{"model": "lenet6"}', "unknown model 'lenet6'"),
    ('{"epochs": 0}', "epochs (=0) must be at least 1"),
])  # fmt: skip
def test_a_config_that_makes_no_sense(stopped, content, text):
    (stopped / "config.json").write_text(content)
    with pytest.raises(ValueError) as error:
        Run.resume(stopped)
    assert str(error.value).startswith(f"{stopped / 'config.json'}")
    assert text in str(error.value)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^.*none holds no run to resume, because it has no config\.json: "):
        Run.resume(tmp_path / "none")


def test_the_program_is_the_one_that_is_tested():
    assert MINICNN[0] == sys.executable


def test_damaged_runs_go_on_or_are_refused_in_a_sentence():
    read, kinds, _ = fuzz(300, seed=1)
    assert read >= 20
    assert sum(kinds.values()) >= 150


# --------------------------------------------------------------------------------------- changed bytes and pictures


def test_every_flipped_bit_of_a_checkpoint_is_noticed(stopped):
    """In the arrays as in the metadata; a bit of the header's padding or of a key's name may be refused otherwise."""
    path, draws = stopped / "last.ckpt", np.random.default_rng(0)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*draws.integers(header, len(whole), 30), *draws.integers(8, header, 30)]
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(content)
        with pytest.raises(ValueError) as error:
            Run.resume(stopped)
        assert str(error.value).startswith(str(path))
        if place >= header:
            assert "is damaged: its checksum does not match its content; restore it from a copy" in str(error.value)
    path.write_bytes(whole)
    assert Run.resume(stopped).state.schedule.t == 8


def test_a_checkpoint_of_format_1_goes_on(stopped, tmp_path):
    """It has no checksum, and knows the pictures by their names and labels."""
    def earlier(values):
        values.update(format=1, pictures=Run.resume(stopped).splits.names_fingerprint)

    changed(stopped, earlier)
    with safe_open(stopped / "last.ckpt", "numpy") as file:
        values = json.loads(file.metadata()[KEY])
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del values["checksum"]
    (stopped / "last.ckpt").write_bytes(safetensors.numpy.save(held, {KEY: json.dumps(values)}))
    run = Run.resume(stopped)
    run.train()
    Run(config(checkpoint_steps=2), tmp_path / "whole").train()
    assert outcome(stopped) == outcome(tmp_path / "whole")
    values["format"] = 2
    (stopped / "last.ckpt").write_bytes(safetensors.numpy.save(held, {KEY: json.dumps(values)}))
    with pytest.raises(ValueError, match="is damaged: its checksum does not match its content"):
        Run.resume(stopped)


def test_changed_pictures_under_their_old_names_are_refused(tmp_path, monkeypatch, rng):
    monkeypatch.undo()
    folder = folder_of_pictures(tmp_path / "shapes", rng, per_class=6)
    settings = config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.125}, size=32, batch_size=4,
                      checkpoint_steps=1)
    train_until(Run(settings, tmp_path / "run"), 1)
    path = tmp_path / "shapes" / Run.resume(tmp_path / "run").splits.train.names[0]
    kept, times = path.read_bytes(), os.stat(path)
    content = bytearray(kept)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match=r"last\.ckpt: .*shapes has changed since the run started: restore "):
        Run.resume(tmp_path / "run")
    path.write_bytes(kept)
    assert Run.resume(tmp_path / "run").state.schedule.t == 1


def test_files_that_are_hashed_in_part_are_compared_by_their_times_and_that_is_said(tmp_path, monkeypatch, rng):
    monkeypatch.undo()
    monkeypatch.setattr(splits, "HASHED", 24 * 128)              # 64 bytes of each end of 24 files
    folder = folder_of_pictures(tmp_path / "shapes", rng, per_class=12)
    settings = config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.125}, size=32, batch_size=4,
                      checkpoint_steps=1)
    train_until(Run(settings, tmp_path / "run"), 1)
    run = Run.resume(tmp_path / "run")
    assert run.doubt == ""
    path = tmp_path / "shapes" / run.splits.train.names[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    before = os.stat(path)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert re.fullmatch(r"the files of .*shapes have other times than when the run started; their names, sizes, .*",
                        Run.resume(tmp_path / "run").doubt)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"last\.ckpt: .*shapes has changed since the run started: restore "):
        Run.resume(tmp_path / "run")


def test_twenty_flipped_bits_in_each_kind_of_array_are_noticed(stopped):
    """Weights, running averages and steps of the optimiser: whichever tensor holds the bit."""
    path, draws = stopped / "last.ckpt", np.random.default_rng(1)
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:begin])
    kinds = {"model.": [], "optimizer.": []}
    for name, entry in header.items():
        for kind in kinds:
            if name.startswith(kind):
                kinds[kind].append(entry["data_offsets"])
    for kind, places in kinds.items():
        assert len(places) >= 10, kind
        for _ in range(20):
            first, end = places[draws.integers(len(places))]
            content = bytearray(whole)
            content[begin + draws.integers(first, end)] ^= 1 << int(draws.integers(8))
            path.write_bytes(content)
            with pytest.raises(ValueError, match="is damaged: its checksum does not match its content"):
                checkpoint.load(path)
