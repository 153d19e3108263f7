"""Experiments from file to result: the same bytes after kill -9, the file's hash, the folder's lock, planted truths."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minicnn.claims import files
from minicnn.claims.engine import Experiment, Setup, cpu_seconds, folder_of
from minicnn.claims.workers import finished
from minicnn.lock import Lock
from tests.claims import planted
from tests.work import NEVER

HERE = Setup(workers=-1)                                   # every training in this process
RUN = """
import os, signal, sys
from pathlib import Path
from minicnn.claims.engine import Experiment, Setup

def on_job(done, total, what):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Experiment(sys.argv[1], Setup(workers=-1), Path(sys.argv[2])).run(on_job)
"""


def contents(folder):
    """The bytes of all files but the times."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "times.jsonl"}  # fmt: skip


def test_an_experiment_leaves_records_and_a_result(tmp_path):
    path = planted.write(tmp_path, "RATES", seeds=2)
    experiment = Experiment(str(path), HERE, tmp_path / "runs")
    told = []
    result = experiment.run(lambda done, total, what: told.append((done, total)))
    assert experiment.folder == tmp_path / "runs" / f"rates-{files.digest(str(path))[:8]}-small"
    assert json.loads((experiment.folder / "result.json").read_bytes()) == json.loads(json.dumps(result))
    assert (experiment.folder / "claim.py").read_bytes() == path.read_bytes()
    names = {file.stem for file in (experiment.folder / "records").iterdir()}
    pilots = {name for name in names if name.startswith("pilot-")}
    # two rates, and one or two more, because the larger was better; pilots and experiment share no seed
    assert {f"pilot-second-{rate}-1900" for rate in ("0.004", "0.012", "0.036", "0.108")} <= pilots
    assert {name.rpartition("-")[2] for name in names - pilots} == {"1000", "1001"}
    assert result["arms"]["second"] | {"values": 0, "tried": 0} == {
        "rate": 0.108, "at_edge": True, "diverged": 0, "reached": 2, "values": 0, "tried": 0}  # fmt: skip
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1] == len(names)
    assert cpu_seconds(experiment.folder) > 0
    # again: nothing is computed, and the bytes are the same
    before, times = contents(experiment.folder), (experiment.folder / "times.jsonl").read_bytes()
    Experiment(str(path), HERE, tmp_path / "runs").run()
    assert contents(experiment.folder) == before
    assert (experiment.folder / "times.jsonl").read_bytes() == times


def test_the_number_of_the_rules_belongs_to_the_hash(monkeypatch):
    """Results of other rules lie in another folder, so they are not taken for those of these."""
    before = files.digest("vanishing"), folder_of("vanishing", HERE)
    monkeypatch.setattr(files, "RULES", files.RULES + 1)
    assert files.digest("vanishing") != before[0]
    assert folder_of("vanishing", HERE) != before[1]


def test_kill_9_and_the_same_command_again_give_the_same_bytes(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=3)
    whole = Experiment(str(path), HERE, tmp_path / "whole")
    whole.run()
    killed = subprocess.run([sys.executable, "-c", RUN, str(path), str(tmp_path / "killed"), "3"], timeout=NEVER)
    assert killed.returncode == -9
    again = Experiment(str(path), HERE, tmp_path / "killed")
    records = list((again.folder / "records").glob("*.json"))
    assert len(records) == 3
    assert not (again.folder / "result.json").exists()
    (again.folder / "records" / ".first-0.02-1002.json.x.part").write_text("{half")        # killed while it wrote
    again.run()
    assert contents(again.folder) == contents(whole.folder)


def test_a_damaged_record_is_computed_again(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    experiment = Experiment(str(path), HERE, tmp_path)
    experiment.run()
    before = contents(experiment.folder)
    (experiment.folder / "records" / "first-0.02-1001.json").write_text('{"arm": "fir')
    Experiment(str(path), HERE, tmp_path).run()
    assert contents(experiment.folder) == before


def test_worker_processes_give_the_bytes_of_this_process(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    alone, workers = (Experiment(str(path), Setup(workers=count), tmp_path / str(count)) for count in (-1, 2))
    assert alone.run()["verdict"] == workers.run()["verdict"]
    ours, theirs = contents(alone.folder), contents(workers.folder)
    assert ours == theirs
    assert cpu_seconds(workers.folder) > 0


def test_changing_the_rule_changes_the_hash_and_the_folder(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    before, where = files.digest(str(path)), folder_of(str(path), HERE)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert files.digest(str(path)) == before, "another system's line ends are no change"
    path.write_text(path.read_text().replace("at_least=0.1", "at_least=0.2"))
    assert files.digest(str(path)) != before
    assert folder_of(str(path), HERE) != where
    assert folder_of("dropout", Setup(series=2)).name == f"dropout-{files.digest('dropout')[:8]}-small-series2"


def test_more_seeds_use_the_records_that_are_there(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    Experiment(str(path), HERE, tmp_path).run()
    told = []
    result = Experiment(str(path), Setup(workers=-1, seeds=3), tmp_path).run(lambda *a: told.append(a))
    times = (folder_of(str(path), HERE, tmp_path) / "times.jsonl").read_text().splitlines()
    assert (len(told), len(times), result["seeds"], result["planned_seeds"]) == (6, 6, [1000, 1001, 1002], 2)


def test_a_stop_request_ends_it_and_keeps_what_is_done(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    experiment = Experiment(str(path), HERE, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(stop=lambda: experiment.jobs_done == 2)
    assert len(list((experiment.folder / "records").iterdir())) == 2
    assert Experiment(str(path), HERE, tmp_path).run()["verdict"]


def test_two_processes_do_not_share_a_folder(tmp_path):
    path = planted.write(tmp_path, "TRUE", seeds=2)
    experiment = Experiment(str(path), HERE, tmp_path)
    experiment.folder.mkdir(parents=True)
    code = ("import sys; from pathlib import Path; from minicnn.lock import Lock\n"
            "lock = Lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code, str(experiment.folder)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RuntimeError, match="is in use by process"):
            experiment.run()
        other.communicate()
    Lock(experiment.folder).release()


def test_wrong_setups_and_files_are_one_sentence(tmp_path):
    for more, sentence in (({"seeds": 1}, "must be from 2 to 900"), ({"seeds": 901}, "must be from 2 to 900"),
                           ({"series": 0}, "must be at least 1")):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            Setup(**more)
    with pytest.raises(ValueError, match="unknown size 'tiny'"):
        Experiment("dropout", Setup(size="tiny"))
    with pytest.raises(ValueError, match="unknown claim 'dropuot': did you mean 'dropout'"):
        files.load("dropuot")
    with pytest.raises(ValueError, match="there is no file"):
        files.load(str(tmp_path / "none.py"))
    for text, sentence in (("x = 1", "defines no CLAIM"), ("1/0", "can't be run: ZeroDivisionError")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            files.load(str(tmp_path / "bad.py"))


def test_no_jobs_start_no_process():
    assert list(finished([])) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the workers are found in Linux's /proc")
def test_the_program_killed_with_its_workers_at_work_ends_with_the_same_bytes(tmp_path):
    """kill -9 of `minicnn claim` after every second record; its workers end by themselves, and the lock is free."""
    path = planted.write(tmp_path, "RATES", seeds=3)
    whole = Experiment(str(path), HERE, tmp_path / "whole")
    whole.run()
    count = len(list((whole.folder / "records").iterdir()))
    killed = Experiment(str(path), HERE, tmp_path / "killed")
    command = [sys.executable, "-c", "from minicnn.cli.app import main; main()", "claim", str(path),
               "--workers", "2", "--out", str(tmp_path / "killed")]  # fmt: skip
    for stop_at in range(2, count, 4):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while len(list((killed.folder / "records").glob("*.json"))) < stop_at and process.poll() is None:
                time.sleep(0.01)
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert workers, "it came to its end before it could be killed"
            process.kill()
        deadline = time.monotonic() + NEVER
        while any(_running(pid) for pid in workers):
            assert time.monotonic() < deadline, "a worker outlived the program"
            time.sleep(0.05)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=NEVER)
    ours = contents(killed.folder)
    assert ours.pop("picture.png")
    assert ours == contents(whole.folder)


def _running(pid: str) -> bool:
    """Whether there is such a process, and it is not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -------------------------------------------------------------------------------------------------------------- planted


def verdicts(where: Path, kind: str, runs: int, **more) -> list[str]:
    """The verdicts of as many experiments, each with seeds of its own."""
    path = planted.write(where, kind, **more)
    return [Experiment(str(path), Setup(workers=-1, series=series), where).run()["verdict"]
            for series in range(1, runs + 1)]  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), [("TRUE", "holds"), ("SAME", "this size cannot tell")])
def test_planted_claims_get_their_verdict(tmp_path, kind, expected):
    assert verdicts(tmp_path, kind, 2) == [expected] * 2


@pytest.mark.slow
def test_a_true_claim_holds_in_20_of_20(tmp_path):
    assert verdicts(tmp_path, "TRUE", 20) == ["holds"] * 20


@pytest.mark.slow
def test_identical_arms_with_the_same_seeds_cannot_tell_in_20_of_20(tmp_path):
    assert verdicts(tmp_path, "SAME", 20) == ["this size cannot tell"] * 20


@pytest.mark.slow
def test_identical_arms_with_seeds_of_their_own_cannot_tell_in_at_least_19_of_20(tmp_path):
    """At a level of 95 % one of 20 may be wrong. The threshold, 0.1 points, is small beside the seeds' noise."""
    assert verdicts(tmp_path, "FALSE", 20).count("this size cannot tell") >= 19
