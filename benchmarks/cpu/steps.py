"""Where the time of a training step goes: primitive by primitive, and Python with everything else.

    python -m benchmarks.cpu.steps

sys.setprofile observes the step from outside: the time from the outermost call of a primitive to its return.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

from benchmarks import harness, ratios
from minicnn import cpu
from minicnn.bench import machine
from minicnn.bench.model import NetRun
from minicnn.bench.timing import time_calls
from minicnn.cpu import path, threads

NETS = ("resnet20", "lenet5")


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.steps", __doc__, argv)
    threads.set_num_threads(args.threads or threads.num_threads())
    rows = []
    for name in harness.selected(NETS, args.cases):
        for own in (name for name in args.path if name != "plan"):
            with path.cpu_path(own):
                run = NetRun(name)
                turns = [observe(run.step, args.seconds) for _ in range(args.rounds)]
            rows.append({"name": name, "path": own, "batch": run.batch, **typical(turns)})
            ratios.show(f"{name}, {own}", {"step": {"median": rows[-1]["step"]}})
    harness.write(args, [{**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}], cases=rows)


def typical(turns: list[dict]) -> dict:
    """Medians over the turns: {"step": seconds, "primitives": {name: seconds}}"""
    names = dict.fromkeys(name for turn in turns for name in turn["primitives"])
    return {"step": median(turn["step"] for turn in turns),
            "primitives": {name: median(turn["primitives"].get(name, 0.0) for turn in turns) for name in names}}


def observe(step, seconds: float) -> dict:
    """The seconds of a step, and of each primitive in it: means over as many steps as fit."""
    for _ in range(3):
        step()                                                     # warms up caches and threads
    taken, profile = time_calls(step, seconds, least=3, most=1000), Profile()
    for _ in taken:
        sys.setprofile(profile)
        step()
        sys.setprofile(None)
    return {"step": fmean(taken), "primitives": {name: s / len(taken) for name, s in profile.seconds.items()}}


class Profile:
    """A function for sys.setprofile: adds up the time between the outermost call of a primitive and its return."""

    def __init__(self):
        self.seconds: dict = defaultdict(float)
        self.frame, self.began, self.names = None, 0.0, {}

    def __call__(self, frame, event, argument):
        """One event of the interpreter."""
        if event == "return" and frame is self.frame:
            self.seconds[self.names[frame.f_code]] += time.perf_counter() - self.began
            self.frame = None
        elif event == "call" and self.frame is None:
            code = frame.f_code
            if code not in self.names:
                self.names[code] = _primitive(code)
            if self.names[code]:
                self.frame, self.began = frame, time.perf_counter()


def _primitive(code) -> str:
    """The name of a primitive of the CPU backend; "" for other code."""
    return code.co_qualname * (code.co_qualname in cpu.__all__ and "cpu" in Path(code.co_filename).parts)


if __name__ == "__main__":
    main()
