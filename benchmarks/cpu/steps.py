"""Where the time of a training step goes: op by op, forward and backward.

    python -m benchmarks.cpu.steps

sys.setprofile observes the step from outside: the time from the outermost call of an op, of one of its gradient
functions or of an optimiser, to its return.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

from benchmarks import harness, ratios
from minicnn.bench import machine
from minicnn.bench.model import NetRun
from minicnn.bench.timing import time_calls
from minicnn.cpu import path, threads

NETS = ("resnet20", "lenet5")
WAYS = ("forward", "backward")


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.steps", __doc__, argv)
    if args.threads:
        threads.set_num_threads(args.threads)
    rows = []
    for name in harness.selected(NETS, args.cases):
        for own in (name for name in args.path if name != "plan"):
            with path.cpu_path(own):
                run = NetRun(name)
                turns = [observe(run.step, args.seconds) for _ in range(args.rounds)]
            rows.append({"name": name, "path": own, "batch": run.batch, **typical(turns)})
            ratios.show(f"{name}, {own}", {"step": {"median": rows[-1]["step"]}})
    about = {**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}
    harness.write(args, [about], cases=rows)


def typical(turns: list[dict]) -> dict:
    """Medians over the turns: {"step": seconds, "ops": {name: {"forward": seconds, "backward": seconds}}}"""
    names = dict.fromkeys(name for turn in turns for name in turn["ops"])
    ops = {name: {way: median(turn["ops"].get(name, {}).get(way, 0.0) for turn in turns) for way in WAYS}
           for name in names}  # fmt: skip
    return {"step": median(turn["step"] for turn in turns), "ops": ops}


def observe(step, seconds: float) -> dict:
    """The seconds of a step, and of each op in it, forward and backward: means over as many steps as fit."""
    for _ in range(3):
        step()                                                     # warms up caches and threads
    taken, profile = time_calls(step, seconds, least=3, most=1000), Profile()
    for _ in taken:
        sys.setprofile(profile)
        step()
        sys.setprofile(None)
    ops = {name: {way: s / len(taken) for way, s in ways.items()} for name, ways in profile.seconds.items()}
    return {"step": fmean(taken), "ops": ops}


class Profile:
    """A function for sys.setprofile: adds up the time between the outermost call of an op and its return."""

    def __init__(self):
        self.seconds: dict = defaultdict(lambda: dict.fromkeys(WAYS, 0.0))
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
    path = Path(code.co_filename)
    name, _, rest = code.co_qualname.partition(".")
    if path.parent.name == "optim" and not name.startswith("_") and ".step" in code.co_qualname:
        return ("optimiser", "forward")
    if path.parent.name == "ops" and path.name != "methods.py":
        return (name, "backward" if rest else "forward")
    return None


if __name__ == "__main__":
    main()
