"""Reading the clock, and the arithmetic on what it said.

The standard library alone: a competitor's process that has nothing of minicnn's installed loads this file by its path,
so that everybody is timed by the same code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


def time_calls(call: Callable, seconds: float = 0.1, least: int = 1, most: int = 50,
               setup: Callable[[], Any] | None = None) -> list[float]:
    """The seconds that each of `least` to `most` calls took; no new one begins after `seconds` in all.

    setup: what is done before each call, outside the clock; the call gets what it returns.
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


@dataclass(frozen=True)
class Spread:
    """What a list of times comes to: half of them lie between the quartiles q1 and q3."""

    median: float
    q1: float
    q3: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75), len(values))

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which a share q of the values lies, between two of them interpolated on a straight line."""
    if not values:
        raise ValueError("no values (=0) have no quantile: give at least one")
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median(values: Sequence[float]) -> float:
    """The value in the middle."""
    return quantile(values, 0.5)


def geometric_mean(values: Sequence[float]) -> float:
    """(Π v)^(1/n): the mean for ratios, where 2 and ½ cancel out."""
    if not values or min(values) <= 0:
        raise ValueError(f"a geometric mean needs positive values, and at least one, not {list(values)}")
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost ≈ a·size^p: the slope of the least-squares line through (log size, log cost)."""
    x, y = [math.log(v) for v in sizes], [math.log(v) for v in costs]
    if len(x) != len(y) or len(set(x)) < 2:
        raise ValueError(f"an exponent needs a cost for each of at least 2 different sizes, "
                         f"not {len(x)} sizes and {len(y)} costs")
    mx, my = math.fsum(x) / len(x), math.fsum(y) / len(y)
    return math.fsum((a - mx) * (b - my) for a, b in zip(x, y)) / math.fsum((a - mx) ** 2 for a in x)


def peak_memory() -> int | None:
    """The most memory that this process ever held at once, in bytes; None where the system does not say."""
    try:
        # Linux's ru_maxrss begins with what the parent held when it forked; VmHWM begins anew with the program.
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
