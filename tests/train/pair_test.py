"""Pairs of runs that begin at the same moment: a folder belongs to one of them, the other is refused in one sentence.

    python -m tests.train.pair_test 50

Two processes stay alive and begin each run at one instant of the machine's clock. The pairs take turns: no --out, the
same --out, the same --out with --overwrite, two resumes of one stopped run, and the same for `transfer`. Each run has
a seed of its own, so a folder with files of both, or a report about the other's model, is noticed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SHORT = ("--epochs", "1", "--limit-batches", "2", "--batch-size", "16", "--validation", "0.2", "--json")
TRANSFER = ("transfer", "digits", "--model", "lenet5", "--weights", "body.safetensors", *SHORT)


def worker() -> None:
    """Read {"args": …, "at": …} from each line, run the program at that instant, and print [code, stdout, stderr]."""
    from minicnn import data
    from minicnn.cli import run_report
    from minicnn.cli.app import main
    from tests.train.tiny import TINY

    data.registry.load = lambda name: TINY
    run_report._draw = lambda run, result: []
    answer = sys.stdout
    print("ready", file=answer, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        sys.argv = ["minicnn", *job["args"]]
        out, err, code = io.StringIO(), io.StringIO(), None
        while time.monotonic() < job["at"]:
            pass
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code
        print(json.dumps([code, out.getvalue(), err.getvalue()]), file=answer, flush=True)


def start(folder: Path) -> subprocess.Popen:
    """A worker in that folder."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); " \
             "from tests.train.pair_test import worker; worker()"  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            cwd=folder)  # fmt: skip


def together(workers: list[subprocess.Popen], *commands: tuple[str, ...]) -> list[tuple]:
    """Run the commands at the same moment. → [(code, stdout, stderr), …]"""
    at = time.monotonic() + 0.02
    for one, args in zip(workers, commands):
        print(json.dumps({"args": args, "at": at}), file=one.stdin, flush=True)
    return [tuple(json.loads(one.stdout.readline())) for one in workers]


def owner(answer: tuple, where: Path) -> tuple[Path, int]:
    """(folder, seed) of a run that ended well, whose folder holds what it reported."""
    report = json.loads(answer[1])
    folder, seed = where / report["folder"], report["config"]["seed"]
    assert json.loads((folder / "config.json").read_text())["seed"] == seed, f"{folder} was taken by another run"
    tested = json.loads((folder / "test.json").read_text())
    assert tested["confusion"] == report["test"]["confusion"], f"{folder} holds another's results"
    assert not list(folder.glob("*.lock")), f"{folder} is still locked"
    assert not list(folder.glob(".*.part")), f"{folder} has half a file"
    return folder, seed


def refused(answer: tuple) -> str:
    """Why, in a word; AssertionError where it is not one sentence."""
    code, out, err = answer
    assert (code, out) == (1, ""), answer
    assert err.startswith("error: ") and err.count("\n") == 1, err  # noqa: PT018 - one thing
    return "in use" if " is in use by " in err else "kept" if "already holds a run, which is kept" in err else err


def pair(workers: list[subprocess.Popen], where: Path, number: int) -> str:
    """One pair. → what came of it"""
    seeds = 2 * number, 2 * number + 1
    verb = ("train", "digits", *SHORT) if number % 2 == 0 else TRANSFER
    kind = ("free", "out", "overwrite", "resume")[number // 2 % 4]
    name = f"run-{number}"
    if kind == "resume":
        ended = together(workers[:1], ("train", "digits", *SHORT, "--seed", str(seeds[0]), "--out", name))
        assert ended[0][0] == 0, ended
        (where / name / "last.ckpt").unlink()  # as if it had been killed before its first checkpoint
        answers = together(workers, ("train", "--resume", name, "--json"), ("train", "--resume", name, "--json"))
    else:
        more = {"free": (), "out": ("--out", name), "overwrite": ("--out", name, "--overwrite")}[kind]
        answers = together(workers, *((*verb, "--seed", str(seed), *more) for seed in seeds))
    good = [answer for answer in answers if answer[0] == 0]
    reasons = [refused(answer) for answer in answers if answer[0] != 0]
    if kind == "free":
        assert not reasons, reasons
        (a, _), (b, _) = (owner(answer, where) for answer in good)
        assert a != b, f"both runs are in {a}"
        return "free: two folders"
    assert good, answers
    if len(good) == 2:  # the second began after the first had ended, or resumed what was finished
        assert kind in ("overwrite", "resume"), answers
        if kind == "resume":
            for answer in good:
                owner(answer, where)
        return f"{kind}: one after the other"
    assert reasons[0] in (("in use",) if kind in ("overwrite", "resume") else ("in use", "kept")), reasons
    owner(good[0], where)
    return f"{kind}: one is refused"


def pairs(count: int, where: Path) -> Counter:
    """Start that many pairs. → {what came of them: how often}. AssertionError where two runs share a folder."""
    from minicnn import models
    from minicnn.io import model_file
    from tests.train.tiny import TINY

    body = models.build("lenet5", num_classes=10)
    about = model_file.Description.of("lenet5", {"num_classes": 10}, TINY.classes, TINY.preprocessing)
    model_file.save(where / "body.safetensors", body, about)
    workers = [start(where) for _ in range(2)]
    try:
        for one in workers:
            assert one.stdout.readline() == "ready\n"
        return Counter(pair(workers, where, number) for number in range(count))
    finally:
        for one in workers:
            one.communicate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=50)
    with tempfile.TemporaryDirectory(prefix="minicnn-pairs-") as folder:
        for outcome, times in sorted(pairs(parser.parse_args().count, Path(folder)).items()):
            print(f"{times:3} × {outcome}")
