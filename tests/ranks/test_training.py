"""Training on several ranks: what is learned depends on their number in the last digits alone; who fails ends all."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
import safetensors.numpy

from minicnn.data import ImageFolder
from minicnn.data.shards import pack
from tests.ranks.launch import aborted, command, environment, launch
from tests.train.tiny import folder_of_pictures

MEMBER = ("-m", "tests.ranks.member")
NUMPY = {"MINICNN_CPU": "numpy"}                           # numba takes a second to import


def train(size, folder, *more):
    return launch(size, *MEMBER, str(folder), *more, **NUMPY)


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [[record["loss"], record["val_loss"]] for record in map(json.loads, lines)]


def weights(folder):
    return {k: v.tobytes() for k, v in safetensors.numpy.load_file(folder / "last.safetensors").items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "alone"
    ended = train(1, folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "two"
    ended = train(2, folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_the_losses_of_two_ranks_are_those_of_one(alone, two):
    """Float32, five digits."""
    np.testing.assert_allclose(losses(two), losses(alone), rtol=1e-5)
    ours, theirs = (json.loads((folder / "test.json").read_text()) for folder in (two, alone))
    assert ours["images"] == 6 * 33 == np.sum(ours["confusion"])
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in alone.iterdir())


@pytest.mark.slow
def test_the_losses_of_four_ranks_and_the_same_bytes(alone, two, tmp_path):
    for size, of in ((4, alone), (2, two)):
        folder = tmp_path / str(size)
        assert train(size, folder).returncode == 0
        np.testing.assert_allclose(losses(folder), losses(of), rtol=1e-5)
    assert weights(folder) == weights(two)


def interrupted(size, folder, how, *, rank, after, options=()):
    """Send a signal to one rank after some steps. → (exit code, stdout, stderr, seconds until all had ended)"""
    started = subprocess.Popen(command(size, *MEMBER, str(folder), "wait=5", "slow=0.4", options=options), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**NUMPY))  # fmt: skip
    pids, seen = [], []
    for line in started.stdout:
        seen.append(line)
        if line.startswith("PIDS"):
            pids = [int(word) for word in line.split()[1:]]
        if line.startswith("step") and int(line.split()[1]) >= after:
            break
    os.kill(pids[rank], how)
    sent = time.monotonic()
    out, err = started.communicate(timeout=60)
    return started.returncode, "".join([*seen, out]), err, time.monotonic() - sent


def test_a_run_whose_rank_was_killed_goes_on_with_another_number(alone, tmp_path):
    code, out, err, _ = interrupted(2, tmp_path / "r", signal.SIGKILL, rank=1, after=1)
    assert code != 0
    assert "EXIT CODE: 9" in out or "waited 5 s" in err, "the sentence of mpiexec, or ours"
    ended = train(1, tmp_path / "r", "resume")
    assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(losses(tmp_path / "r"), losses(alone), rtol=1e-5)


def test_sigterm_to_one_rank_saves_on_all_and_the_same_ranks_end_with_the_same_bytes(two, tmp_path):
    code, out, err, _ = interrupted(2, tmp_path / "r", signal.SIGTERM, rank=1, after=1)
    assert code == 128 + signal.SIGTERM, err
    assert err.count("and saved: continue with `minicnn train --resume") == 1
    assert "step 5" not in out
    ended = train(2, tmp_path / "r", "resume")
    assert ended.returncode == 0, ended.stderr
    assert weights(tmp_path / "r") == weights(two)


def test_an_error_of_one_rank_ends_all(tmp_path):
    ended = train(2, tmp_path / "r", "raise=1")
    assert aborted(ended, 1)
    assert "error: rank 1 on " in ended.stderr
    assert "the disk of this rank is full" in ended.stderr


def cli(size, *words, cwd):
    return launch(size, "-m", "minicnn", "train", "digits", *words, cwd=cwd, **NUMPY)


@pytest.mark.slow
def test_the_program_speaks_once(two, tmp_path):
    ended = cli(2, "--limit-batches", "2", "--epochs", "1", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("epoch  1/1") == 1
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["digits-lenet5-1"]


@pytest.mark.slow
def test_a_folder_with_a_run_is_refused_once(two, tmp_path):
    ended = cli(2, "--out", str(two), cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("already holds a run, which is kept") == 1


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_with_one_sentence(tmp_path):
    ended = cli(2, "--optimizer", "sgd", "--lr", "1e30", "--warmup", "0", "--limit-batches", "4", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("error: the loss is") == 1
    assert "try a smaller learning rate than" in ended.stderr


READING = """
import sys
from pathlib import Path
import minicnn.data.shards, minicnn.data.folder
from minicnn import ranks
from minicnn.train import Config, Run
with ranks.joined(60) as team:
    def unread(*of):
        raise AssertionError("this rank reads the index")
    if team.rank:
        minicnn.data.shards.read_tar = minicnn.data.folder.ImageFolder.__init__ = unread
    for name in ("pictures", "shards"):
        run = Run(Config(dataset=sys.argv[1] + "/" + name, model="resnet20", epochs=1, batch_size=5, limit_batches=2,
                         validation=0.25, test=0.25, device="cpu", workers=0, augment="flip", optimizer="sgd", lr=0.01,
                         warmup=0.0), f"{sys.argv[1]}/{name}{team.size}", team=team)
        print(name, run.train()[0]["loss"], run.test().loss) if team.rank == 0 else (run.train(), run.test())
"""


@pytest.mark.slow
def test_folders_and_shards_are_listed_by_one_rank_and_give_the_same_losses(tmp_path, rng):
    folder_of_pictures(tmp_path / "pictures", rng, per_class=16)
    list(pack(ImageFolder(tmp_path / "pictures", validation=0.25, test=0.25), tmp_path / "shards", size=9000))
    found = []
    for size in (1, 2):
        ended = launch(size, "-c", READING, str(tmp_path), **NUMPY)
        assert ended.returncode == 0, ended.stderr
        found.append([line.split() for line in ended.stdout.splitlines()])
    assert [row[0] for row in found[0]] == ["pictures", "shards"]
    numbers = np.array([[row[1:] for row in rows] for rows in found], float)
    np.testing.assert_allclose(numbers[1, :, 0], numbers[0, :, 0], rtol=1e-4)
    np.testing.assert_allclose(numbers[1, :, 1], numbers[0, :, 1], rtol=1e-2)  # running statistics of two steps
