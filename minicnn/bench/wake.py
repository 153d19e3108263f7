"""What it costs to give a part of a compiled kernel's work to another thread, by the size of the work."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from minicnn.bench.timing import medians
from minicnn.cpu import threads

SIZES = tuple(2**k for k in range(8, 21, 2))
"""Values that the kernel reads and writes."""
ASLEEP = 0.005
"""Seconds after which the other threads no longer listen."""


def by_size(seconds: float = 0.01, rounds: int = 3) -> list[dict[str, float]]:
    """The median seconds of a small kernel for each size: {"size": …, "alone": …, "listening": …, "asleep": …}

    alone: on the calling thread.   listening: on all threads, whose last kernel was a moment ago.   asleep: on all
    threads, which first have to wake up.
    """
    from minicnn.cpu.compiled import kernel, team
    from minicnn.cpu.compiled.work import first, following

    @kernel.numba.njit(**kernel.OPTIONS)
    def doubled(x, y, size, work):
        item = first(work)
        while item >= 0:
            for i in range(item * size, min((item + 1) * size, len(x))):
                y[i] = x[i] + x[i]
            item = following(work)

    rows, n = [], threads.num_threads()
    for size in SIZES:
        x = np.ones(size, np.float32)
        arguments = x, np.empty_like(x), -(-size // n)
        alone, shared = (partial(team.run, doubled, n, least, *arguments) for least in (0, float("inf")))
        again = partial(_after, shared)
        rows.append({"size": size, **medians({"alone": alone, "listening": (shared, again),
                                              "asleep": (partial(time.sleep, ASLEEP), again)}, seconds, rounds)})
    return rows


def _after(call, _):
    """The call, without the result of what came before it."""
    call()
