"""Where the time of a training step goes: op by op, forward and backward; now, and at an earlier commit.

    python -m benchmarks.cpu.steps
    python -m benchmarks.cpu.steps --before bae3fff        the last commit with the textbook's convolution

sys.setprofile observes the step from outside: the time from the outermost call of an op, of one of its gradient
functions or of an optimiser, to its return. A new process imports the earlier commit from its own files; the step uses
only names that all commits have.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent.parent
NETS, BATCH = {"resnet20": (3, 32, 32), "lenet5": (1, 28, 28)}, 128
EARLIER = ("add", "multiply", "subtract", "divide", "reshape", "transpose", "getitem", "sum", "mean", "matmul", "power")
"""Ops that earlier commits have in tensor.py."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    from benchmarks import harness
    from minicnn.bench import machine
    from minicnn.cpu import threads

    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("--before", default="", metavar="COMMIT", help="measure this commit, too")
    args = parser.parse_args(argv)
    rows = []
    with contextlib.ExitStack() as stack:
        trees = {"now": ROOT}
        if args.before:
            trees["before"] = stack.enter_context(checkout(args.before))
        for net in [list(NETS)[i] for i in harness.selected(list(NETS), args.cases)]:
            turns: dict = {when: [] for when in trees}
            for turn in range(args.rounds):
                for when in list(trees)[:: -1 if turn % 2 else 1]:
                    turns[when].append(in_new_process(net, trees[when], args.seconds))
            rows.append({"name": net, "batch": BATCH} | {when: typical(t) for when, t in turns.items()})
            harness.show(net, {when: {"median": rows[-1][when]["step"]} for when in trees})
    about = {**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}
    harness.write("cpu.steps", args, argv, [about], cases=rows, summary={}, before=args.before)


@contextlib.contextmanager
def checkout(commit: str):
    """A folder with the files of a commit."""
    done = subprocess.run(["git", "archive", commit, "minicnn"], cwd=ROOT, capture_output=True)
    if done.returncode:
        sys.exit(f"error: git has no files of {commit!r} ({done.stderr.decode().strip()}): "
                 "name a commit, in a clone with its history")
    with tempfile.TemporaryDirectory(prefix="minicnn-before-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def in_new_process(net: str, tree: Path, seconds: float) -> dict:
    """`observe` in a process that imports the minicnn of `tree`."""
    done = subprocess.run([sys.executable, __file__, net, str(seconds)], cwd=tree, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tree)})  # fmt: skip
    if done.returncode:
        sys.exit(f"error: the step of {net} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def typical(turns: list[dict]) -> dict:
    """Medians over the turns: {"step": seconds, "ops": {name: {"forward": seconds, "backward": seconds}}}"""
    names = dict.fromkeys(name for turn in turns for name in turn["ops"])
    ops = {name: {way: median(turn["ops"].get(name, {}).get(way, 0.0) for turn in turns)
                  for way in ("forward", "backward")} for name in names}  # fmt: skip
    return {"step": median(turn["step"] for turn in turns), "ops": ops}


# --------------------------------------------------------------------------- in the new process: minicnn of any commit


def observe(net: str, seconds: float) -> dict:
    """The seconds of a step, and of each op in it, forward and backward: means over as many steps as fit."""
    import numpy as np

    minicnn, models, optim, softmax = map(
        importlib.import_module, ("minicnn", "minicnn.models", "minicnn.optim", "minicnn.ops.softmax"))
    minicnn.seed(0)
    rng, model = np.random.default_rng(0), models.build(net).train()
    x, labels = rng.standard_normal((BATCH, *NETS[net]), np.float32), rng.integers(0, 10, BATCH)
    optimizer = optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step():
        optimizer.zero_grad()
        softmax.cross_entropy(model(minicnn.Tensor(x)), labels).backward()
        optimizer.step()

    for _ in range(3):
        step()
    start, steps = time.perf_counter(), 0
    while steps < 3 or time.perf_counter() - start < seconds:
        step()
        steps += 1
    whole, profile = (time.perf_counter() - start) / steps, Profile()
    for _ in range(steps):
        sys.setprofile(profile)
        step()
        sys.setprofile(None)
    return {"step": whole, "ops": {name: {way: s / steps for way, s in ways.items()}
                                   for name, ways in profile.seconds.items()}}  # fmt: skip


class Profile:
    """A function for sys.setprofile: adds up the time between the outermost call of an op and its return."""

    def __init__(self):
        self.seconds: dict = defaultdict(lambda: {"forward": 0.0, "backward": 0.0})
        self.frame, self.op, self.began, self.ops = None, ("", ""), 0.0, {}

    def __call__(self, frame, event, argument):
        """One event of the interpreter."""
        if event == "return" and frame is self.frame:
            name, way = self.op
            self.seconds[name][way] += time.perf_counter() - self.began
            self.frame = None
        elif event == "call" and self.frame is None:
            code = frame.f_code
            if code not in self.ops:
                self.ops[code] = _op(code)
            if self.ops[code]:
                self.frame, self.op, self.began = frame, self.ops[code], time.perf_counter()


def _op(code):
    """("conv2d", "backward") for a gradient function of conv2d; None for code that belongs to no op."""
    parts = Path(code.co_filename).parts
    name, _, rest = code.co_qualname.partition(".")
    if parts[-2:-1] == ("optim",) and not name.startswith("_") and ".step" in code.co_qualname:
        return ("optimiser", "forward")
    if (parts[-2:-1] == ("ops",) and parts[-1] != "methods.py") or (parts[-1] == "tensor.py" and name in EARLIER):
        return (name, "backward" if rest else "forward")
    return None


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in NETS:
        print(json.dumps(observe(sys.argv[1], float(sys.argv[2]))))
    else:
        main()
