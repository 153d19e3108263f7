"""Runs that begin together: each has a folder of its own, and a folder has one process."""

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from minicnn import data, models
from minicnn import lock as run_lock
from minicnn.io import model_file
from minicnn.lock import NAME, Lock
from minicnn.train import Config, Run
from minicnn.train import folder as run_folder
from minicnn.train.transfer import transfer
from tests.program import caller
from tests.train.pair_test import pairs
from tests.train.tiny import TINY
from tests.work import NEVER

HOLD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from minicnn.lock import Lock
    held = Lock(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.readline()
""")

RACE = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from minicnn.train import Config, folder
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, "\\n"):
        where, at = line.split()
        while time.monotonic() < float(at):
            pass
        try:
            _, held = folder.claim(Config(), Path(where))
            print("claimed", flush=True)
        except RuntimeError as refusal:
            print(refusal, flush=True)
""")

CLAIM = textwrap.dedent("""
    import sys
    from minicnn.train import Config, folder
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(20):
        print(folder.claim(Config(model=sys.argv[1]))[0], flush=True)
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


def test_of_two_processes_that_claim_a_folder_at_one_instant_one_gets_it(tmp_path):
    started = [process(RACE) for _ in range(2)]
    for n in range(50):
        at = time.monotonic() + 0.005
        for one in started:
            print(tmp_path / str(n), at, file=one.stdin, flush=True)
        said = sorted((one.stdout.readline() for one in started), key="claimed\n".__ne__)
        assert said[0] == "claimed\n"
        assert said[1].startswith(f"{tmp_path / str(n)} is in use by "), said
    for one in started:
        end(one)


@pytest.mark.parametrize("where", [None, "run"])
def test_of_twenty_threads_each_gets_a_folder_of_its_own_or_is_refused(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    at, found, refused, kept = threading.Barrier(20), [], [], []

    def claim():
        at.wait()
        try:
            folder, held = run_folder.claim(Config(model="lenet5"), where and tmp_path / where)
            found.append(folder)
            kept.append(held)
        except RuntimeError as refusal:
            refused.append(str(refusal))

    threads = [threading.Thread(target=claim) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if where is None:
        assert sorted(map(str, found)) == sorted(f"runs/digits-lenet5-{n}" for n in range(1, 21))
    else:
        assert found == [tmp_path / where]
        assert len(set(refused)) == 1
        assert refused[0].startswith(f"{tmp_path / where} is in use by another thread of this process: wait for it, ")
        assert len(refused) == 19
    for held in kept:
        held.release()


@pytest.mark.slow
def test_fifty_pairs_of_runs_share_no_folder(tmp_path):
    """`python -m tests.train.pair_test`"""
    done = pairs(50, tmp_path)
    assert done["free: two folders"] == 14
    assert done["out: one is refused"] == 12


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


@pytest.mark.usefixtures("tiny")
def test_a_run_holds_its_folder_until_its_results_are_written(tmp_path):
    """Otherwise another process could begin a run there, and `test` would report the other's model."""
    run = Run(config(), tmp_path)
    with run.lock:
        run.train()
        assert (tmp_path / NAME).exists()
        run.test()
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()
    other = process(HOLD, tmp_path)
    with pytest.raises(RuntimeError, match="is in use by process "):
        run.test()
    end(other)


@pytest.mark.usefixtures("tiny")
def test_the_program_holds_its_folder_until_the_last_picture(tmp_path, monkeypatch, capsys):
    held = []
    monkeypatch.setattr("minicnn.cli.run_report._draw", lambda run, result: held.append(run.lock.is_current()) or [])
    rc, _, _ = caller(monkeypatch, capsys)("train", "digits", "--epochs", 1, "--limit-batches", 1, "--out", tmp_path)
    assert (rc, held) == (0, [True])
    assert not (tmp_path / NAME).exists()


@pytest.mark.usefixtures("tiny")
def test_transfer_claims_its_folder_before_it_computes_and_gives_it_back_on_an_error(tmp_path, monkeypatch):
    options = {"num_classes": 10, "in_channels": 1}
    about = model_file.Description.of("lenet5", options, TINY.classes, TINY.preprocessing)
    model_file.save(tmp_path / "body.safetensors", models.build("lenet5", **options), about)
    settings = config(model="lenet5", weights=str(tmp_path / "body.safetensors"), validation=0.0)
    folder = tmp_path / "run"
    folder.mkdir()
    other = process(HOLD, folder)
    with pytest.raises(RuntimeError, match=r"run is in use by process "):
        transfer(settings, folder, on_batch=lambda *now: pytest.fail("computed"))
    end(other)

    def broken(*args):
        assert (folder / NAME).exists()
        raise ValueError("a broken picture")

    with pytest.raises(ValueError, match="a broken picture"):
        transfer(settings, folder, on_batch=broken)
    assert not folder.exists()
    assert transfer(settings, folder).folder == folder


def test_a_folder_that_was_refused_is_not_kept(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(FileExistsError) as caught:
        run_folder.claim(Config(), tmp_path)
    assert not (tmp_path / NAME).exists()
    end(process(HOLD, tmp_path))
    del caught                                             # the frames in it keep what nobody gives back


def test_a_default_folder_that_somebody_uses_is_passed_over(tmp_path, monkeypatch):
    """Somebody gave that name with --out, between its making and its locking."""
    monkeypatch.chdir(tmp_path)
    real, taken = run_folder.Lock, []

    def late(folder):
        if not taken:
            taken.append(process(HOLD, folder))
        return real(folder)

    monkeypatch.setattr(run_folder, "Lock", late)
    folder, held = run_folder.claim(Config(model="lenet5"))
    assert folder.as_posix() == "runs/digits-lenet5-2"
    held.release()
    end(taken[0])


# ------------------------------------------------------------------------------------------------------ one lock itself


def test_a_lock_is_taken_twice_by_one_thread_and_released_once(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.release()
    assert (tmp_path / NAME).exists(), "it is the second's"
    second.release()
    assert not (tmp_path / NAME).exists()
    end(process(HOLD, tmp_path))
    first.release()


def test_nested_blocks_release_at_the_outermost_end(tmp_path):
    lock = Lock(tmp_path)
    with lock:
        with lock:
            pass
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()
    with lock:
        assert (tmp_path / NAME).exists()


def test_a_lock_that_nobody_has_any_more_is_released(tmp_path):
    lock = Lock(tmp_path)
    del lock
    assert not (tmp_path / NAME).exists()


def test_a_folder_that_was_removed_and_made_again_is_another_one(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    old = Lock(folder)
    (folder / NAME).unlink()
    folder.rmdir()
    folder.mkdir()
    other = process(HOLD, folder)
    old.release()
    assert (folder / NAME).read_text().startswith(f"process {other.pid} on "), "the other's file stays"
    end(other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_does_not_hold_what_its_parent_holds(tmp_path):
    lock = Lock(tmp_path)
    child = os.fork()
    if not child:
        try:
            Lock(tmp_path)
            os._exit(1)
        except RuntimeError:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.is_current()
    lock.release()


class WindowsLocks:
    """msvcrt's locks, as its documentation says: one byte of an open file, refused with EACCES."""

    LK_NBLCK = 2

    def __init__(self):
        self.taken = {}

    def locking(self, handle, mode, count):
        assert (mode, count) == (self.LK_NBLCK, 1)
        place = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        if self.taken.get(place, handle) != handle:
            raise PermissionError(errno.EACCES, "Permission denied")
        assert place[1] >= 2**20, "what is locked can't be read"
        self.taken[place] = handle


def test_windows_locks_a_byte_and_removes_only_a_closed_file(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "fcntl", None)
    monkeypatch.setattr(run_lock, "msvcrt", WindowsLocks())
    closed, close, unlink = [], os.close, os.unlink
    monkeypatch.setattr(os, "close", lambda handle: (closed.append(handle), close(handle)))
    monkeypatch.setattr(type(tmp_path), "unlink", lambda self: (closed.append("removed"), unlink(self)))
    lock = Lock(tmp_path)
    assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")
    refusal = []

    def another():
        run_lock._HELD.clear()                                   # as in another process
        try:
            Lock(tmp_path)
        except RuntimeError as problem:
            refusal.append(str(problem))

    thread = threading.Thread(target=another)
    thread.start()
    thread.join()
    assert refusal[0].startswith(f"{tmp_path} is in use by process {os.getpid()} on ")
    handle = lock.handle
    closed.clear()
    lock.release()
    assert closed == [handle, "removed"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def refuse(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    with pytest.warns(RuntimeWarning) as told:
        lock = Lock(tmp_path)
    assert str(told[0].message) == (f"{tmp_path} can't be locked ({os.strerror(number)}): start no second process in "
                                    "it, nothing would stop that one")
    lock.release()
    monkeypatch.setattr(run_lock, "fcntl", None)
    monkeypatch.setattr(run_lock, "msvcrt", None)
    with pytest.warns(RuntimeWarning, match="this system has no locks of files"):
        Lock(tmp_path)
