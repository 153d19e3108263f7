"""The threads of the compiled kernels: one cheap wake a layer.

A thread that wakes from sleep costs 50 to 80 µs on a virtual machine, as much as a small layer. So a thread that has
finished its part listens for a while, without Python's lock, before it sleeps. The calling thread prepares a layer's
arguments, and its kernel rings the bell when it takes the first item, that is after it has released Python's lock: the
others find the lock free and join in.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import Any

import numpy as np

from minicnn.cpu import threads
from minicnn.cpu.compiled import work as counters

TURNS = 20_000
"""Turns that a thread listens before it sleeps: about half a millisecond."""

MIN_WORK = 1 << 14
"""Values or multiply-adds / 16 below which the calling thread computes alone."""


def run(kernel, items: int, size: float, *args: Any) -> None:
    """kernel(*args, work) on all threads, where work gives out the items 0 … items − 1.

    size: about how many values are read or written, plus a sixteenth of the multiply-adds. A small layer is not worth
    a second thread. A call from another thread of the program meanwhile computes alone.
    """
    if items < 2 or size < MIN_WORK or threads.num_threads() == 1 or not _team.busy.acquire(blocking=False):
        kernel(*args, counters.new(items))
        return
    try:
        _team.run(kernel, items, args)
    finally:
        _team.busy.release()


class _Team:
    def __init__(self):
        self.busy, self.helpers = threading.Lock(), []
        self.bell, self.number, self.task, self.closed = np.zeros(1, np.int64), 0, None, False
        self.address = self.bell.ctypes.data

    def run(self, kernel, items, args):
        wanted = threads.num_threads() - 1
        if len(self.helpers) != wanted:
            self.start(wanted)
        self.number += 1
        work = counters.new(items, self.address, self.number)
        self.task = kernel, args, work
        try:
            for helper in self.helpers:
                if helper.asleep:
                    helper.wake.set()
            kernel(*args, work)
            counters.wait(work)
            if work[counters.FAILED]:
                raise next(helper.problem for helper in self.helpers if helper.problem)
        except BaseException:                                      # also Ctrl-C, which Python raises after the kernel
            self.stop(work)
            raise
        finally:
            self.task = None                                       # its arrays may be freed

    def stop(self, work):
        """Let no thread take another item, and wait until none computes one."""
        counters.close(work)
        while any(helper.work is work for helper in self.helpers):
            time.sleep(1e-4)
        for helper in self.helpers:
            helper.problem = None

    def start(self, count):
        self.close()
        self.closed = False
        threads.limit_blas()
        for _ in range(count):
            helper = _Helper(self)
            helper.start()
            self.helpers.append(helper)

    def close(self):
        self.closed = True
        for helper in self.helpers:
            helper.wake.set()
        for helper in self.helpers:
            helper.join()
        self.helpers = []


class _Helper(threading.Thread):
    def __init__(self, team):
        super().__init__(name="minicnn compiled", daemon=True)
        self.team, self.wake, self.asleep = team, threading.Event(), False
        self.work = self.problem = None

    def run(self):
        heard, team = 0, self.team
        while not team.closed:
            number = counters.listen(team.bell, heard, TURNS)
            if number == heard:
                self.wake.clear()
                self.asleep = True
                if team.bell[0] == heard and not team.closed:
                    self.wake.wait()
                self.asleep = False
                continue
            heard, task = number, team.task
            if task is not None:                                   # the others have not computed it already
                self.compute(*task)
            del task

    def compute(self, kernel, args, work):
        self.work, self.problem = work, None
        try:
            kernel(*args, work)
        except MemoryError:
            self.problem = MemoryError("a thread found no memory for this layer: use a smaller batch or fewer threads")
            work[counters.FAILED] = 1
        except BaseException as problem:
            self.problem = problem
            work[counters.FAILED] = 1
        finally:
            self.work = None


_team = _Team()


def _after_fork():
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _team.close())
