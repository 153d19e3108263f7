"""What all benchmarks share: worker processes that take turns, and the JSON file of results.

Each library runs in its own process and waits while another one is timed; its threads then sleep. (Two thread pools in
one process disturb each other, and threads keep spinning for some milliseconds after their work: PAUSE waits for them.)
The processes take turns, round after round, in reversed order each time: a slow minute of the machine affects all.
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
from statistics import geometric_mean

from minicnn.bench import machine
from minicnn.bench.timing import Spread

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAUSE = 0.25
"""Seconds between two processes: an OpenMP thread may spin for 0.2 s before it sleeps."""
THREAD_VARIABLES = ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A worker process, as the benchmark uses it; worker.py runs in it."""

    def __init__(self, name: str, module: str, *arguments: str, python: str = sys.executable, threads: int = 0):
        self.name = name
        env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
        env |= dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
        self.process = subprocess.Popen([python, "-m", f"benchmarks.{module}", *arguments], cwd=ROOT, env=env,
                                        text=True, encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, do: str, **request) -> dict:
        """The response to one request; SystemExit if it failed."""
        try:
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):                      # ValueError: the pipe is closed on this side
            line = ""
        if not line:
            raise SystemExit(f"error: {self.name} ended without an answer to {do!r}: its output above says why")
        answer = json.loads(line)
        if "failed" in answer:
            raise SystemExit(f"error: {self.name} failed to {do}: {answer['failed']}")
        return answer

    def close(self) -> None:
        """End the process at once: after an error it may not read its input any more."""
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()


def minicnn(threads: int = 0, name: str = "minicnn", device: str = "cpu") -> Worker:
    """minicnn's process."""
    return Worker(name, "minicnn_worker", device, threads=threads)


def pytorch(python: str, *arguments: str, threads: int = 0) -> Worker:
    """PyTorch's process, or an error that says how to install it."""
    python = os.path.abspath(python) if os.sep in python else python
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        sys.exit(f"error: {python} can't import torch: create an environment with `python3 -m venv torchenv && "
                 "torchenv/bin/pip install numpy torch`, and pass --torch-python torchenv/bin/python")
    return Worker("torch", "torch_worker", *arguments, python=python, threads=threads)


class Workers(contextlib.AbstractContextManager):
    """The processes of a benchmark by name, each started at its first use, and again after it died."""

    def __init__(self, start: dict):
        self.start, self.running = start, {}

    @classmethod
    def on_cpu(cls, args: argparse.Namespace) -> Workers:
        """minicnn, and the competitors of --vs."""
        start = {"minicnn": lambda: minicnn(args.threads),
                 "torch": lambda: pytorch(args.torch_python, threads=args.threads),
                 "textbook": lambda: minicnn(args.threads, "textbook")}  # fmt: skip
        return cls({name: start[name] for name in start if name in ("minicnn", *args.vs)})

    def __getitem__(self, name: str) -> Worker:
        if name not in self.running or self.running[name].process.poll() is not None:
            self.running[name] = self.start[name]()
        return self.running[name]

    def about(self) -> list[dict]:
        """Versions and threads of all."""
        return [self[name].ask("about") | {"name": name} for name in self.start]

    def measure(self, case: str, specs: dict[str, dict], args: argparse.Namespace, **settings) -> tuple[dict, dict]:
        """Prepare one case in some processes, check the results, then time all calls in turn.

        specs: {name of a process: the case as it prepares it}. The first process shares its numbers with PyTorch's.
        → ({name: its answer}, {name: {call: spread}})
        """
        specs = {name: spec for name, spec in specs.items() if name in self.start}
        answers = {}
        with tempfile.TemporaryDirectory(prefix="minicnn-bench-") as folder:
            for name, spec in specs.items():
                shared = {"share" if not answers else "compare": f"{folder}/case.npz"} if "torch" in specs else {}
                answers[name] = self[name].ask("prepare", spec={**spec, **shared})
                check(case, answers[name].get("check", {}))
        lanes = {self[name]: answer["calls"] for name, answer in answers.items()}
        taken = race(lanes, **{"rounds": args.rounds, "seconds": args.seconds, "pause": args.pause, **settings})
        for worker in lanes:
            worker.ask("drop")
        return answers, {name: {call: Spread.of(seconds).as_dict() for call, seconds in calls.items()}
                         for name, calls in taken.items()}  # fmt: skip

    def close(self) -> None:
        """End all processes."""
        while self.running:
            self.running.popitem()[1].close()

    def __exit__(self, *_) -> None:
        self.close()


def check(case: str, errors: dict[str, tuple[float, float]]) -> None:
    """SystemExit if an error is above its limit. errors: {what: (error, limit)}"""
    for what, (error, limit) in errors.items():
        if not error <= limit:
            raise SystemExit(f"error: {case}, {what}: error {error:.1e} is above {limit:.0e}: "
                             "a wrong result is not timed")


def race(lanes: dict[Worker, list[str]], rounds: int, seconds: float, pause: float = PAUSE) -> dict:
    """Time every call of every process in turn. → {name of the process: {call: [seconds, …]}}"""
    taken: dict = {worker.name: {call: [] for call in calls} for worker, calls in lanes.items()}
    for turn in range(rounds):
        for worker, calls in list(lanes.items())[:: -1 if turn % 2 else 1]:
            time.sleep(pause)
            for call in calls:
                taken[worker.name][call] += worker.ask("time", call=call, seconds=seconds)["seconds"]
    return taken


def better(layouts: dict, what: str) -> tuple[str, float]:
    """(the layout with the smaller median, that median) of {"layout/what": spread}."""
    medians = {call.split("/")[0]: spread["median"] for call, spread in layouts.items() if call.endswith(f"/{what}")}
    return min(medians.items(), key=lambda pair: pair[1])


def versus(row: dict, times: dict, torch: dict) -> None:
    """Add PyTorch's better layout and the ratio of the times to a row. times: {call: spread} of minicnn."""
    row["better"] = {what: better(torch, what) for what in times}
    row["vs_torch"] = {what: row["better"][what][1] / spread["median"] for what, spread in times.items()}


def summary(rows: list[dict], *keys: str) -> dict:
    """{key: {what: geometric mean, extremes}} of the ratios {what: ratio} that rows have under these keys."""
    found: dict = {}
    for key in keys:
        for what in sorted({what for row in rows for what in row.get(key, {})}):
            ratios = [row[key][what] for row in rows if what in row.get(key, {})]
            found.setdefault(key, {})[what] = {
                "geometric_mean": geometric_mean(ratios), "worst": min(ratios), "best": max(ratios),
                "cases": len(ratios), "faster": sum(r >= 1 for r in ratios)}  # fmt: skip
    return found


def show(name: str, times: dict, ratios: dict | None = None, extra: str = "") -> None:
    """Print one measured case: medians, and PyTorch's time divided by minicnn's."""
    against = {what: f" (PyTorch ×{ratio:.2f})" for what, ratio in (ratios or {}).items()}
    cells = [f"  {what} {1000 * of['median']:.3f} ms{against.get(what, '')}" for what, of in times.items()]
    print(f"{name:24}{''.join(cells)}{extra}", flush=True)


# -------------------------------------------------------------------------------------------------- options and results


def options(module: str, doc: str, argv: list[str] | None, more: dict | None = None, **defaults) -> argparse.Namespace:
    """The command line: the options that all benchmarks share, and `more`, {name: arguments of add_argument}."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vs", action="append", default=[], choices=("torch", "textbook"), help="compare with it")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PYTHON",
                        help="an interpreter that can import torch and numpy; by default this one")
    parser.add_argument("--threads", type=int, default=0, help="threads of each process; by default all cores")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each process")
    parser.add_argument("--seconds", type=float, default=0.1, help="for one call in one turn")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between two processes")
    parser.add_argument("--cases", default="", help="only cases whose name contains one of these words (with commas)")
    parser.add_argument("--out", default="", help="the JSON file; by default in benchmarks/results")
    for name, arguments in (more or {}).items():
        parser.add_argument(name, **arguments)
    argv = sys.argv[1:] if argv is None else argv
    parser.set_defaults(module=module, argv=argv, **defaults)
    return parser.parse_args(argv)


def selected(cases, wanted: str, name=str) -> list:
    """The cases whose name contains one of the wanted words; all if there are no words. name(case) → its name"""
    words = [word.strip().lower() for word in wanted.split(",") if word.strip()]
    found = [case for case in cases if not words or any(word in name(case).lower() for word in words)]
    if not found:
        sys.exit(f"error: no case matches --cases {wanted!r}: there are {', '.join(map(name, cases))}")
    return found


def command(args: argparse.Namespace) -> str:
    """The command line, without the paths of this machine."""
    hidden = {args.torch_python: "PYTHON", args.out: "FILE", getattr(args, "photos", ""): "PHOTOS", "": ""}
    words = ["=".join(hidden.get(part, part) for part in word.split("=")) for word in args.argv]
    return shlex.join(["python", "-m", f"benchmarks.{args.module}", *words])


def write(args: argparse.Namespace, competitors: list[dict], **results) -> Path:
    """The results, and how they were measured, as a JSON file: cpu/conv.py writes conv.json, all of gpu/ gpu.json."""
    name = args.module.removeprefix("cpu.").partition(".")[0]
    path = Path(args.out or RESULTS / f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": name, "command": command(args), "date": datetime.date.today().isoformat(),
        "machine": machine.describe(), "competitors": competitors,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "threads": args.threads or None}, **results,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written: {path}")
    return path
