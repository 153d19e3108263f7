"""A GPU's own clock: events that it passes on its way, before and after the work that it was given.

Standard library alone, as worker.py: whoever has events gives them.
"""

from __future__ import annotations

SPAN = 0.002
"""Seconds that lie between two events at least: as many calls as it takes stand between them, one after the other, so
that what is measured is how fast the GPU gets through them, and the host's wait for one of them is not."""


def event_clock(event, elapsed):
    """A clock for worker.serve.

    event: makes one that can be recorded and waited for (`record`, `synchronize`).
    elapsed(a, b): the milliseconds from one to the other.
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
        """As minicnn.bench.timing.time_calls; each value is the mean of the calls between two events."""
        if setup is not None:
            raise ValueError("a GPU's calls have no part that is not timed")
        repeat = max(1, min(200, round(SPAN / max(between(call, 1), 1e-9))))
        taken: list[float] = []
        while len(taken) < least or (len(taken) < most and sum(taken) * repeat < seconds):
            taken.append(between(call, repeat))
        return taken

    return time_calls
