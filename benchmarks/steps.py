"""Where the time of a training step goes: op by op, forward and backward; now, and at an earlier commit.

    python -m benchmarks.steps
    python -m benchmarks.steps --before bae3fff        the last commit that convolved as the textbook does

The step's own Python code is watched from outside (sys.setprofile), so any version of minicnn can be measured: the time
from the outermost call of an op, of one of its gradient functions or of an optimiser, to its return.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NETS = ("resnet20", "lenet5")
SPELLED = ("add", "multiply", "subtract", "divide", "reshape", "transpose", "getitem", "sum", "mean", "matmul", "power")
"""Ops that stand beside the engine, in tensor.py."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    from benchmarks import harness

    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("--before", default="", metavar="COMMIT", help="measure this commit too")
    args = parser.parse_args(argv)
    rows = []
    with contextlib.ExitStack() as stack:
        trees = {"now": ROOT}
        if args.before:
            trees["before"] = stack.enter_context(checkout(args.before))
        for net in [NETS[i] for i in harness.selected(list(NETS), args.cases)]:
            turns: dict = {when: [] for when in trees}
            for turn in range(args.rounds):
                for when in list(trees)[:: -1 if turn % 2 else 1]:
                    turns[when].append(in_a_process_of_its_own(net, trees[when], args.seconds))
            row = {"name": net, "batch": turns["now"][0]["batch"]} | {when: typical(t) for when, t in turns.items()}
            rows.append(row)
            print(f"{net}: " + ", ".join(f"{when} {harness.milliseconds(row[when]['step']).strip()}" for when in trees))
    harness.write("steps", args, argv, [about()], cases=rows, summary={}, before=args.before)


def about() -> dict:
    """Versions and threads of what is measured."""
    from minicnn.bench import machine
    from minicnn.cpu import threads

    return {**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}


@contextlib.contextmanager
def checkout(commit: str):
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="minicnn-before-") as folder:
        archive = Path(folder) / "files.tar"
        done = subprocess.run(["git", "archive", "--output", archive, commit, "minicnn"], cwd=ROOT, capture_output=True,
                              text=True)  # fmt: skip
        if done.returncode:
            sys.exit(f"error: git has no files of {commit!r} ({done.stderr.strip()}): "
                     "name a commit, in a clone with its history")
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def in_a_process_of_its_own(net: str, tree: Path, seconds: float) -> dict:
    """What `watched` says of a net of the minicnn in `tree`."""
    done = subprocess.run([sys.executable, __file__, net, str(seconds)], cwd=tree, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tree)})  # fmt: skip
    if done.returncode:
        sys.exit(f"error: the step of {net} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def typical(turns: list[dict]) -> dict:
    """Medians over the turns: {"step": seconds, "ops": {name: {"forward": seconds, "backward": seconds}}}"""
    from minicnn.bench.timing import median

    names = list(dict.fromkeys(name for turn in turns for name in turn["ops"]))
    ops = {name: {way: median([turn["ops"].get(name, {}).get(way, 0.0) for turn in turns])
                  for way in ("forward", "backward")} for name in names}  # fmt: skip
    return {"step": median([turn["step"] for turn in turns]), "ops": ops}


# ------------------------------------------------------------------------ in the process: minicnn may be of any version


def watched(net: str, seconds: float) -> dict:
    """The seconds of a step, and of each op in it, forward and backward: means over as many steps as fit."""
    run = _the_net_runs_as_today()(net)
    for _ in range(3):
        run.step()
    plain, steps = time.perf_counter(), 0
    while steps < 3 or time.perf_counter() - plain < seconds:
        run.step()
        steps += 1
    step = (time.perf_counter() - plain) / steps
    watch = Watch()
    for _ in range(steps):
        sys.setprofile(watch)
        run.step()
        sys.setprofile(None)
    ops = {name: {way: s / steps for way, s in ways.items()} for name, ways in watch.seconds.items()}
    return {"batch": run.batch, "step": step, "ops": ops}


def _the_net_runs_as_today():
    """Today's NetRun on whatever minicnn is imported."""
    spec = importlib.util.spec_from_file_location("net_run", ROOT / "minicnn" / "bench" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NetRun


class Watch:
    """What sys.setprofile calls: adds up the time between the outermost call of an op and its return."""

    def __init__(self):
        self.seconds = collections.defaultdict(lambda: {"forward": 0.0, "backward": 0.0})
        self.frame, self.owner, self.began = None, ("", ""), 0.0
        self.owners: dict = {}

    def __call__(self, frame, event, argument):
        """One event of the interpreter's."""
        if event == "return" and frame is self.frame:
            name, way = self.owner
            self.seconds[name][way] += time.perf_counter() - self.began
            self.frame = None
        elif event == "call" and self.frame is None:
            code = frame.f_code
            if code not in self.owners:
                self.owners[code] = _owner(code)
            if self.owners[code]:
                self.frame, self.owner, self.began = frame, self.owners[code], time.perf_counter()


def _owner(code):
    """("conv2d", "backward") for a gradient function of conv2d; None for code that belongs to no op."""
    parts = Path(code.co_filename).parts
    name, _, rest = code.co_qualname.partition(".")
    if parts[-2:-1] == ("optim",) and not name.startswith("_") and ".step" in code.co_qualname:
        return ("optimiser", "forward")
    if parts[-2:-1] == ("ops",) or (parts[-1] == "tensor.py" and name in SPELLED):
        return (name, "backward" if rest else "forward")
    return None


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in NETS:
        print(json.dumps(watched(sys.argv[1], float(sys.argv[2]))))
    else:
        main()
