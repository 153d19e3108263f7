"""What every benchmark here does alike: starts competitors, lets them run in turn, and writes down what came out.

Each competitor has a process of its own and waits while another is timed; its threads then sleep. (Two thread pools in
one process disturb each other, and a pool that has just worked spins for some milliseconds: hence `PAUSE`.) They take
turns, round after round, the order reversed each time, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minicnn.bench import machine
from minicnn.bench.timing import Spread

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAUSE = 0.25
"""Seconds between two competitors: an OpenMP thread may spin for 0.2 s before it sleeps."""

THREAD_VARIABLES = ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

NO_TORCH = ("{python} can't import torch: make an environment for it, `python3 -m venv torchenv && "
            "torchenv/bin/pip install numpy torch`, and say --torch-python torchenv/bin/python")


class Competitor:
    """A process that obeys the orders of worker.py."""

    def __init__(self, name: str, module: str, python: str = sys.executable, threads: int = 0):
        self.name = name
        env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
        env |= dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
        self.process = subprocess.Popen([python, "-m", module], cwd=ROOT, env=env, text=True, encoding="utf-8",
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do: str, **order) -> dict:
        """Its answer to one order; the end of this program if it failed."""
        try:
            print(json.dumps({"do": do, **order}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):                      # ValueError: closed on this side
            line = ""
        if not line:
            raise SystemExit(f"error: {self.name} ended without an answer to {do!r}: see what it printed above")
        answer = json.loads(line)
        if "error" in answer and isinstance(answer["error"], str):
            raise SystemExit(f"error: {self.name}, asked to {do}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Let it end."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def ours(threads: int = 0, name: str = "minicnn") -> Competitor:
    """minicnn's process."""
    return Competitor(name, "benchmarks.ours", threads=threads)


def pytorch(python: str, threads: int = 0) -> Competitor:
    """PyTorch's process, or one sentence about how to get it."""
    python = os.path.abspath(python) if os.sep in python else python   # a link into an environment stays a link
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        sys.exit("error: " + NO_TORCH.format(python=python))
    return Competitor("torch", "benchmarks.torch_worker", python, threads)


def race(lanes: dict[Competitor, list[str]], rounds: int, seconds: float, pause: float = PAUSE) -> dict:
    """Time every call of every competitor in turn. → {competitor's name: {call: [seconds, …]}}"""
    taken: dict = {competitor.name: {call: [] for call in calls} for competitor, calls in lanes.items()}
    for turn in range(rounds):
        for competitor, calls in list(lanes.items())[:: -1 if turn % 2 else 1]:
            time.sleep(pause)
            for call in calls:
                taken[competitor.name][call] += competitor.ask("time", call=call, seconds=seconds)["seconds"]
    return taken


def spreads(taken: dict) -> dict:
    """{call: its Spread as a dictionary}"""
    return {call: Spread.of(seconds).as_dict() for call, seconds in taken.items()}


def better(layouts: dict, what: str) -> tuple[str, float]:
    """(the layout with the smaller median, that median) of {"layout/what": spread}."""
    medians = {call.split("/")[0]: spread["median"] for call, spread in layouts.items() if call.endswith(f"/{what}")}
    name = min(medians, key=medians.__getitem__)
    return name, medians[name]


# -------------------------------------------------------------------------------------------------- options and results


def options(doc: str, cases: str = "") -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vs", action="append", default=[], choices=("torch", "textbook"), help="with whom to compare")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PYTHON",
                        help="an interpreter that can import torch and numpy; by default this one")
    parser.add_argument("--threads", type=int, default=0, help="threads of each competitor; by default all cores")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each competitor gets")
    parser.add_argument("--seconds", type=float, default=0.1, help="for one call in one turn")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between two competitors")
    parser.add_argument("--cases", default="", help="only those whose name contains one of these, comma between them")
    parser.add_argument("--out", type=Path, help="the JSON file; by default in benchmarks/results")
    return parser


def selected(names: list[str], wanted: str) -> list[int]:
    """The places of the names that contain one of the wanted words; all if there are none."""
    words = [word.strip().lower() for word in wanted.split(",") if word.strip()]
    places = [i for i, name in enumerate(names) if not words or any(word in name.lower() for word in words)]
    if not places:
        sys.exit(f"error: no case is called like {wanted!r}: there are {', '.join(names)}")
    return places


def command(name: str, argv: list[str]) -> str:
    """The command line that was given, without the paths of this machine."""
    hide, told, before = {"--torch-python": "PYTHON", "--out": "FILE"}, [], ""
    for word in argv:
        option, is_, _ = word.partition("=")
        told.append(f"{option}={hide[option]}" if is_ and option in hide else hide.get(before, word))
        before = word
    return shlex.join(["python", "-m", f"benchmarks.{name}", *told])


def write(name: str, args: argparse.Namespace, argv: list[str], competitors: list[dict], **results) -> Path:
    """Everything that is needed to understand the numbers, and the numbers, as benchmarks/results/NAME.json."""
    path = args.out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": name, "command": command(name, argv), "date": datetime.date.today().isoformat(),
        "machine": machine.describe(), "competitors": competitors,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "threads": args.threads or None}, **results,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {path}")
    return path


@contextlib.contextmanager
def shared_file():
    """A file through which competitors get the same numbers."""
    with tempfile.TemporaryDirectory(prefix="minicnn-bench-") as folder:
        yield str(Path(folder) / "case.npz")


def milliseconds(seconds: float | None) -> str:
    """For a line on the terminal."""
    return "     —" if seconds is None else f"{1000 * seconds:8.2f} ms"
