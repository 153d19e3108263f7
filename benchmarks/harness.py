"""What all benchmarks share: worker processes that take turns, and the JSON file of results.

Each library runs in its own process and waits while another one is timed; its threads then sleep. (Two thread pools in
one process disturb each other, and threads keep spinning for some milliseconds after their work: PAUSE waits for them.)
The processes take turns, round after round, in reversed order each time: a slow minute of the machine affects all.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.ratios import OWN
from minicnn.bench import machine
from minicnn.bench.timing import Spread
from minicnn.cpu import path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAUSE = 0.25
"""Seconds between two processes: an OpenMP thread may spin for 0.2 s before it sleeps."""
THREAD_VARIABLES = ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PEERS = ("textbook", "torch", "torch.compile", "onnxruntime", "tinygrad")
"""What minicnn can be compared with: im2col with NumPy's own matrix product, and other packages."""
OPTIONAL = ("plan", *PEERS[2:])
"""A peer that fails at a case is left out of it, and the results say why; PyTorch checks minicnn's own results."""


class Worker:
    """A worker process, as the benchmark uses it; worker.py runs in it."""

    def __init__(self, name: str, module: str, *arguments: str, python: str = sys.executable, threads: int = 0,
                 **variables: str):
        self.name = name
        env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES} | variables
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


def minicnn(threads: int = 0, name: str = "minicnn", device: str = "cpu", by: str = "") -> Worker:
    """minicnn's process. by: the implementation of the CPU backend; by default minicnn's own choice"""
    return Worker(name, "minicnn_worker", device, threads=threads, **({"MINICNN_CPU": by} if by else {}))


def pytorch(python: str, *arguments: str, threads: int = 0) -> Worker:
    """PyTorch's process, or an error that says how to install it."""
    if problem := absent("torch", python):
        sys.exit(f"error: {problem}")
    return Worker("torch", "torch_worker", *arguments, python=located(python), threads=threads)


def located(python: str) -> str:
    """The interpreter by a path that holds in another folder, too."""
    return os.path.abspath(python) if os.sep in python else python


@functools.cache
def absent(package: str, python: str) -> str:
    """"" if the interpreter has the package, else a sentence that says how to install it."""
    code = f"import importlib.util; raise SystemExit(not importlib.util.find_spec({package!r}))"
    if subprocess.run([located(python), "-c", code], capture_output=True).returncode == 0:
        return ""
    option = "--torch-python" if package == "torch" else "--peer-python"
    return (f"{python} can't import {package}: create an environment with `python3 -m venv peerenv && "
            f"peerenv/bin/pip install numpy {package}`, and pass {option} peerenv/bin/python")


class Workers(contextlib.AbstractContextManager):
    """The processes of a benchmark by name, each started at its first use, and again after it died."""

    def __init__(self, start: dict):
        self.start, self.running, self.problems = start, {}, {}

    @classmethod
    def on_cpu(cls, args: argparse.Namespace, *able: str) -> Workers:
        """The processes of --path and --peers, those that are `able` to take part; a peer must be installed."""
        own = {name: lambda name=name: minicnn(args.threads, name, by=name if name in path.PATHS else "")
               for name in args.path if name in able}  # fmt: skip
        workers = cls(own)
        for name in (name for name in args.peers if name in able):
            package = name.partition(".")[0]
            asked = args.torch_python if package == "torch" else args.peer_python
            python = next((p for p in (asked, sys.executable) if not absent(package, p)), asked)
            if name == "textbook":
                workers.start[name] = lambda: minicnn(args.threads, "textbook", by="numpy")
            elif absent(package, python):
                workers.problems[name] = absent(package, python)
                print(f"{name} is left out: {workers.problems[name]}", file=sys.stderr, flush=True)
            else:
                module = ("torch_worker", "cpu", *["compile"] * ("." in name)) if package == "torch" else (
                    "peer_worker", name)
                workers.start[name] = lambda name=name, module=module, python=python: Worker(
                    name, *module, python=located(python), threads=args.threads, DEV="CPU", TORCHINDUCTOR_FREEZING="1")
        return workers

    def __getitem__(self, name: str) -> Worker:
        if name not in self.running or self.running[name].process.poll() is not None:
            self.running[name] = self.start[name]()
        return self.running[name]

    def about(self) -> list[dict]:
        """Versions and threads of all."""
        return [self[name].ask("about") | {"name": name} for name in self.start]

    def measure(self, case: str, specs: dict[str, dict], args: argparse.Namespace, **settings) -> tuple[dict, dict]:
        """Prepare one case in some processes, check the results, then time all calls in turn.

        specs: {name of a process: the case as it prepares it}. The first process shares its numbers with the others.
        → ({name: its answer}, {name: {call: spread}})
        """
        specs = {name: spec for name, spec in specs.items() if name in self.start}
        answers = {}
        with tempfile.TemporaryDirectory(prefix="minicnn-bench-") as folder:
            for name, spec in specs.items():
                shared = {"share" if not answers else "compare": f"{folder}/case.npz"} if len(specs) > 1 else {}
                try:
                    answer = self[name].ask("prepare", spec={**spec, **shared})
                    check(case, answer.get("check", {}))
                except SystemExit as problem:
                    if name not in OPTIONAL:
                        raise
                    self.problems[f"{name}, {case}"] = str(problem).removeprefix("error: ")
                    print(problem, file=sys.stderr, flush=True)
                    self.running.pop(name).close()
                    continue
                answers[name] = answer
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


# -------------------------------------------------------------------------------------------------- options and results


def options(module: str, doc: str, argv: list[str] | None, more: dict | None = None, **defaults) -> argparse.Namespace:
    """The command line: the options that all benchmarks share, and `more`, {name: arguments of add_argument}."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=words(OWN), default=["compiled"] * bool(find_spec("numba")) + ["numpy"],
                        help=f"minicnn's implementations, with commas: {', '.join(OWN)}; plan is for inference")
    parser.add_argument("--peers", type=words(PEERS), default=[], help=f"compare with these: {', '.join(PEERS)}")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PYTHON",
                        help="an interpreter that can import torch and numpy; by default this one")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON",
                        help="an interpreter that can import the other peers; by default this one")
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


def words(known: tuple[str, ...]):
    """The type of an option that takes some of the known names, with commas."""
    def split(text: str) -> list[str]:
        found = [word.strip() for word in text.split(",") if word.strip()]
        if unknown := [word for word in found if word not in known]:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}: {', '.join(known)}")
        return found

    return split


def selected(cases, wanted: str, name=str) -> list:
    """The cases whose name contains one of the wanted words; all if there are no words. name(case) → its name"""
    asked = [word.strip().lower() for word in wanted.split(",") if word.strip()]
    found = [case for case in cases if not asked or any(word in name(case).lower() for word in asked)]
    if not found:
        sys.exit(f"error: no case matches --cases {wanted!r}: there are {', '.join(map(name, cases))}")
    return found


def command(args: argparse.Namespace) -> str:
    """The command line, without the paths of this machine."""
    hidden = {args.torch_python: "PYTHON", args.peer_python: "PYTHON", args.out: "FILE",
              getattr(args, "photos", ""): "PHOTOS", "": ""}  # fmt: skip
    told = ["=".join(hidden.get(part, part) for part in word.split("=")) for word in args.argv]
    return shlex.join(["python", "-m", f"benchmarks.{args.module}", *told])


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
