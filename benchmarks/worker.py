"""A competitor's process: it reads orders as JSON lines and answers each with one. What it computes, its caller gives.

    {"do": "about"}                                             → what it is: versions, threads
    {"do": "prepare", "kind": "conv", "spec": {…}}              → what the kind says, and the names of what can be timed
    {"do": "time", "call": "forward", "seconds": 0.1}           → {"seconds": [0.012, …]}
    {"do": "memory"}                                            → {"bytes": the most that the process ever held}
    {"do": "drop"}                                              → {}: what was prepared is forgotten

Standard library alone (and minicnn's clock, loaded by its path): a competitor may live where minicnn is not installed.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
from pathlib import Path

_path = Path(__file__).parent.parent / "minicnn" / "bench" / "timing.py"
_spec = importlib.util.spec_from_file_location("bench_timing", _path)
timing = importlib.util.module_from_spec(_spec)
sys.modules["bench_timing"] = timing                               # dataclasses look their module up
_spec.loader.exec_module(timing)

WARM_UP = 2


def serve(kinds: dict, about, clock=timing.time_calls) -> None:
    """Answer orders until there are no more.

    kinds: name → function(spec) → (calls, info); calls: name → function, or (setup, function of what setup returns).
    clock: what takes the times; a GPU has its own.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)                                                  # whatever else prints does not disturb the answers
    worker = _Worker(kinds, about, clock)
    for line in sys.stdin:
        try:
            answer = worker.obey(json.loads(line))
        except Exception as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), file=answers, flush=True)


class _Worker:
    def __init__(self, kinds, about, clock):
        self.kinds, self.about, self.clock, self.calls = kinds, about, clock, {}

    def obey(self, order):
        what = order["do"]
        if what == "about":
            return self.about()
        if what == "memory":
            return {"bytes": timing.peak_memory()}
        if what == "drop":
            self.calls = {}
            gc.collect()
            return {}
        if what == "prepare":
            self.calls, info = self.kinds[order["kind"]](order["spec"])
            for name in self.calls:
                self.time(name, 0, WARM_UP)
            return {**info, "calls": list(self.calls)}
        if what == "time":
            self.time(order["call"], order["seconds"] / 3, 1)      # not counted: caches and threads wake up
            return {"seconds": self.time(order["call"], order["seconds"], order.get("least", 1))}
        raise ValueError(f"unknown order {what!r}: the orders stand in benchmarks/worker.py")

    def time(self, name, seconds, least):
        call = self.calls[name]
        setup, call = call if isinstance(call, tuple) else (None, call)
        return self.clock(call, seconds, least, setup=setup)
