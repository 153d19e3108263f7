"""Runs that begin together: each has a folder of its own, and a folder has one process."""

import subprocess
import sys
import textwrap

import pytest

from minicnn import data
from minicnn.train import Config, Run
from minicnn.train import folder as run_folder
from minicnn.train.lock import NAME, Lock
from tests.train.tiny import TINY
from tests.work import NEVER

HOLD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from minicnn.train.lock import Lock
    Lock(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.readline()
""")

CLAIM = textwrap.dedent("""
    import sys
    from minicnn.train import Config, folder
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(20):
        print(folder.claim(Config(model=sys.argv[1])), flush=True)
""")


def process(script, *args, **more):
    started = subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, **more)
    assert started.stdout.readline() in ("held\n", "ready\n")
    return started


def end(started):
    out, _ = started.communicate("\n", timeout=NEVER)
    assert started.returncode == 0
    return out.split()


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def config(**changes):
    return Config(**{"epochs": 1, "batch_size": 16, "validation": 0.2, **changes})


def test_folders_by_default_are_never_shared(tmp_path):
    """Four processes claim twenty folders each at once, and get eighty."""
    started = [process(CLAIM, "lenet5:1998", cwd=tmp_path) for _ in range(4)]
    for one in started:
        one.stdin.write("\n")
        one.stdin.flush()
    claimed = [name for one in started for name in end(one)]
    assert sorted(claimed) == sorted(f"runs/digits-lenet5-1998-{n}" for n in range(1, 81))


@pytest.mark.usefixtures("tiny")
def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    Run(config(), tmp_path).train()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert NAME not in before, "a run that has ended holds nothing"
    other = process(HOLD, tmp_path)
    for attempt in (lambda: Run.resume(tmp_path), lambda: Run(config(), tmp_path, overwrite=True)):
        with pytest.raises(RuntimeError) as error:
            attempt()
        assert str(error.value).startswith(f"{tmp_path} is in use by process {other.pid} on ")
        assert str(error.value).endswith(": wait for it, stop it, or give another folder with --out")
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert after.pop(NAME).startswith(b"process ")
    assert after == before
    end(other)
    assert Run.resume(tmp_path).finished


@pytest.mark.usefixtures("tiny")
def test_a_lock_of_a_process_that_was_killed_is_no_lock(tmp_path):
    other = process(HOLD, tmp_path)
    other.kill()
    other.communicate()
    assert (tmp_path / NAME).exists(), "kill -9 leaves the file behind"
    run = Run(config(), tmp_path)
    assert (tmp_path / NAME).read_text().startswith("process ")
    run.train()
    assert not (tmp_path / NAME).exists()


@pytest.mark.usefixtures("tiny")
def test_of_two_runs_that_begin_at_once_in_one_folder_one_is_refused(tmp_path, monkeypatch):
    """The second one finds the folder empty, and the first one's files when it takes the lock."""
    look, seen = run_folder.refuse, []

    def refuse(folder, overwrite):
        seen.append(folder)
        look(folder, overwrite)
        if len(seen) == 1:
            (tmp_path / "config.json").write_text("the other's")

    monkeypatch.setattr(run_folder, "refuse", refuse)
    with pytest.raises(FileExistsError, match="already holds a run, which is kept"):
        Run(config(), tmp_path)
    assert (tmp_path / "config.json").read_text() == "the other's"


def test_a_lock_is_taken_twice_by_one_process_and_released_once(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    second.release()
    assert not (tmp_path / NAME).exists()
    end(process(HOLD, tmp_path))
    first.release()
