"""The amount of work, measured in units that do not depend on the speed or the load of the machine."""

import time

NEVER = 600
"""Seconds that only a process that hangs takes: a test waits so long for one, and then fails."""


def loop():
    """CPU seconds that one fixed loop of plain Python takes here and now: the unit of `loops`."""
    start, memo, total = time.process_time(), {}, 0
    for n in range(100_000):
        memo[n & 255] = (n, total)
        total += len(memo)
    return time.process_time() - start


def loops(seconds):
    """CPU seconds of this process as a number of such loops. A machine half as fast gives the same number."""
    return seconds / min(loop() for _ in range(3))


def too_much(seconds, limit):
    """Whether `seconds` of CPU are more than `limit` loops; what takes a few milliseconds is not measured."""
    return seconds > 0.1 and loops(seconds) > limit
