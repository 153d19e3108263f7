"""Jobs side by side: one worker process for each core, with one thread each, because small nets gain most from that."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from typing import Any

from threadpoolctl import threadpool_limits

from minicnn.claims import files, training
from minicnn.cpu.threads import _cores, set_num_threads

POLL = 0.2
"""Seconds between two looks whether the user wants to stop."""


@dataclass(frozen=True)
class Job:
    """One training. `claim` is a claim's name, or its file."""

    claim: str
    size: str
    arm: str
    rate: float
    seed: int
    pilot: bool
    device: str = "cpu"
    data: str = ""

    @property
    def key(self) -> str:
        """The name of its record."""
        return f"{'pilot-' if self.pilot else ''}{self.arm}-{self.rate:g}-{self.seed}"


def work(job: Job) -> tuple[dict[str, Any], float]:
    """Do a job. → (record, CPU seconds)"""
    started = time.process_time()
    plan = files.load(job.claim).plan(job.size)
    record = training.run(plan, plan.arm(job.arm), job.rate, job.seed, job.pilot, job.device, job.data)
    return record, time.process_time() - started


def finished(jobs: list[Job], workers: int = 0, stop: Callable[[], bool] = lambda: False
             ) -> Iterator[tuple[Job, dict[str, Any], float]]:  # fmt: skip
    """(job, record, CPU seconds) of each job, in the order in which they end. KeyboardInterrupt where `stop()` is true.

    workers: 0: one for each core, on a GPU one;   -1: none, all jobs run in this process.
    """
    if workers == -1:
        for job in jobs:
            if stop():
                raise KeyboardInterrupt
            yield job, *work(job)
        return
    count = workers or (_cores() if all(job.device == "cpu" for job in jobs) else 1)
    if not jobs:
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(count, len(jobs)), multiprocessing.get_context("spawn"), _begin)
    try:
        waiting: dict[Future[tuple[dict[str, Any], float]], Job] = {pool.submit(work, job): job for job in jobs}
        while waiting:
            done, _ = wait(waiting, POLL, FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), *future.result()
            if stop():
                raise KeyboardInterrupt
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()                              # nothing is lost but the trainings in progress
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a new worker: one thread; Ctrl-C is for the parent, and the worker ends with it, also after kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_num_threads(1)
    threadpool_limits(1, user_api="blas")                  # before any product: the others' cores are taken
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for_end([sentinel])
    os._exit(1)
