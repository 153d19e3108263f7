"""The clock, and the statistics of its times.

Only the standard library: a worker process whose environment does not have minicnn's packages loads this file by its
path, so that the same code times every library.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


def time_calls(call: Callable, seconds: float = 0.1, least: int = 1, most: int = 50,
               setup: Callable[[], Any] | None = None) -> list[float]:
    """The seconds of `least` to `most` calls; none starts once the calls have taken `seconds` together.

    setup: runs before each call and is not timed; the call gets its result.
    """
    taken: list[float] = []
    while len(taken) < least or (len(taken) < most and sum(taken) < seconds):
        if setup is None:
            start = time.perf_counter()
            call()
        else:
            ready = setup()
            start = time.perf_counter()
            call(ready)
        taken.append(time.perf_counter() - start)
    return taken


def medians(calls: dict[Any, Any], seconds: float, rounds: int) -> dict[Any, float]:
    """{name: the median of its times}, from calls that take turns, so that a slow minute affects all of them.

    calls: name → function, or (setup, function of setup's result).   A first round warms up and does not count.
    """
    taken: dict[Any, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, given in calls.items():
            setup, call = given if isinstance(given, tuple) else (None, given)
            found = time_calls(call, seconds if turn else 0, least=2, most=200, setup=setup)
            taken[name] += found if turn else []
    return {name: statistics.median(found) for name, found in taken.items()}


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some times: half of them are between q1 and q3."""

    median: float
    q1: float
    q3: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value; quartiles are interpolated linearly."""
        q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
        return cls(statistics.median(values), q1, q3, len(values))

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost ≈ a·size^p: the slope of the least-squares line through (log size, log cost)."""
    if len(sizes) != len(costs) or len(set(sizes)) < 2:
        raise ValueError(f"an exponent needs a cost for each of at least 2 different sizes, "
                         f"not {len(sizes)} sizes and {len(costs)} costs")
    return statistics.linear_regression([math.log(v) for v in sizes], [math.log(v) for v in costs]).slope


def peak_memory() -> int | None:
    """The peak memory of this process in bytes; None if the system does not report it."""
    try:
        # ru_maxrss on Linux includes the parent's memory at the fork; VmHWM is reset when the program starts
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
        import sys
    except ImportError:                                            # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
