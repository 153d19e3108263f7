"""A worker process: it reads requests as JSON lines and answers each with one line.

    {"do": "about"}                                             → versions, threads
    {"do": "prepare", "spec": {"kind": "conv", …}}              → facts about the case, and the names of its calls
    {"do": "time", "call": "forward", "seconds": 0.1}           → {"seconds": [0.012, …]}
    {"do": "memory"}                                            → {"bytes": the peak of this process}
    {"do": "drop"}                                              → {}: forget what was prepared

Only the standard library (and minicnn's clock, loaded by its path): PyTorch's environment may not have minicnn.
"""

import gc
import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "minicnn" / "bench"))
import timing

WARM_UP = 2
SPAN = 0.002
"""Seconds between two events of a GPU: long enough that the GPU's speed is measured, not the delay of one launch."""


def serve(kinds: dict, about, clock=timing.time_calls) -> None:
    """Answer requests until the input ends.

    kinds: name → function(spec) → (calls, info); calls: name → function, or (setup, function of setup's result).
    clock: timing.time_calls, or event_clock(…) on a GPU.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)                                                  # other output goes to stderr, not into the answers
    calls: dict = {}

    def measure(name, seconds, least):
        setup, call = calls[name] if isinstance(calls[name], tuple) else (None, calls[name])
        return clock(call, seconds, least, setup=setup)

    def answer(request):
        match request["do"]:
            case "about":
                return about()
            case "memory":
                return {"bytes": timing.peak_memory()}
            case "drop":
                calls.clear()
                gc.collect()
                return {}
            case "prepare":
                calls.clear()
                made, info = kinds[request["spec"]["kind"]](request["spec"])
                calls.update(made)
                for name in calls:
                    measure(name, 0, WARM_UP)
                return {**info, "calls": list(calls)}
            case "time":
                measure(request["call"], request["seconds"] / 3, 1)          # warms up caches and threads
                return {"seconds": measure(request["call"], request["seconds"], 1)}
            case unknown:
                raise ValueError(f"unknown request {unknown!r}: benchmarks/worker.py lists them")

    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as problem:
            found = {"failed": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(found), file=answers, flush=True)


def event_clock(event, elapsed):
    """A clock that reads a GPU's own events, recorded before and after a group of calls.

    event() → an event with `record` and `synchronize`.   elapsed(a, b) → the milliseconds between two events
    """

    def between(call, repeat):
        start, end = event(), event()
        start.record()
        for _ in range(repeat):
            call()
        end.record()
        end.synchronize()
        return elapsed(start, end) / 1000 / repeat

    def time_calls(call, seconds, least=1, most=50, setup=None):
        """As minicnn.bench.timing.time_calls; each value is the mean over the calls between two events."""
        if setup is not None:
            raise ValueError("the clock of a GPU does not support a setup")
        repeat = max(1, min(200, round(SPAN / max(between(call, 1), 1e-9))))
        taken: list[float] = []
        while len(taken) < least or (len(taken) < most and sum(taken) * repeat < seconds):
            taken.append(between(call, repeat))
        return taken

    return time_calls
