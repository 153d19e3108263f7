"""Who else computes: one process alone, or the ranks that `mpiexec -n 4` or `srun` started.

    with ranks.joined() as team:
        team.rank, team.size                             # 0, 1 in a process of its own

Only this file knows MPI (the package mpi4py), and it looks for mpi4py only if a launcher's environment says that there
are other ranks. What ranks send to each other are NumPy arrays: nothing is pickled. Every rank must send the same
messages in the same order; one that waits for longer than `wait` seconds ends all ranks with a sentence.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minicnn.launcher import launched, own_gpu

Array = Any  # numpy.ndarray

WAIT = 300.0
"""Seconds that a rank waits for the others."""
GONE = 75
"""The exit code of a rank that waited in vain: EX_TEMPFAIL, "try again"."""
LATER = 0.5
"""Seconds by which rank 0 is ahead with a sentence that all ranks have to say."""


class Alone:
    """One process: every method gives back what it gets. The base of `Mpi`."""

    rank, size = 0, 1
    threads = 0
    """How many threads this rank should use, so that the ranks of one machine share its cores; 0: it may decide."""

    def __init__(self) -> None:
        self.at_abort: list[Callable[[], None]] = []
        """What `abort` calls before it ends the ranks, such as to free a GPU that waits for the others."""

    @property
    def part(self) -> tuple[int, int]:
        """(rank, size): what a `Loader` takes, to make this rank's piece of each batch."""
        return self.rank, self.size

    def sum(self, array: Array) -> Array:
        """The sum over the ranks, in place: the same bits on each of them."""
        return array

    def start_sum(self, array: Array) -> Pending:
        """Begin `sum`; nobody may touch the array until the result's `wait` returns."""
        return Pending()

    def gather(self, array: Array) -> Array:
        """(size, …): the arrays of all ranks, in their order, on each of them."""
        return array[None].copy()

    def broadcast(self, array: Array) -> Array:
        """Rank 0's values, in place."""
        return array

    def channel(self) -> Alone:
        """The same ranks for messages of another kind, which never wait for those of this one."""
        return self

    def broadcast_bytes(self, content: bytes = b"") -> bytes:
        """Rank 0's bytes."""
        size = self.broadcast(np.array([len(content)], np.int64))
        array = np.frombuffer(content, np.uint8).copy() if self.rank == 0 else np.empty(int(size[0]), np.uint8)
        return self.broadcast(array).tobytes()

    def in_step(self, what: str, arrays: Iterable[Array]) -> None:
        """RuntimeError on all ranks unless their arrays hold the same bits."""
        if self.size == 1:
            return
        crc = 0
        for array in arrays:
            crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
        seen = [f"{n:08x}" for n in self.gather(np.array([crc], np.int64))[:, 0].tolist()]
        if len(set(seen)) > 1:
            raise RuntimeError(f"the ranks hold different {what}: their checksums, in the order of the ranks, are "
                               f"{', '.join(seen)}; all ranks need the same minicnn, NumPy and data")

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Around any other wait for the ranks: within the block the watchdog looks at the time."""
        return contextlib.nullcontext()

    def abort(self, sentence: str, code: int = 1) -> None:
        """Say the sentence on stderr, with rank and host, and end all ranks now."""
        self._say(sentence)
        os._exit(code)

    def _say(self, sentence: str) -> None:
        stream = sys.__stderr__                            # not sys.stderr, which all but rank 0 silence
        if stream is not None:
            stream.write(f"error: rank {self.rank} on {platform.node()}: {sentence}\n")
            stream.flush()


class Pending:
    """A sum that is on its way."""

    def poke(self) -> None:
        """Let it go on: most MPI libraries do nothing between two calls."""

    def wait(self) -> None:
        """Return when it is done."""


class Mpi(Alone):
    """The ranks of an MPI job.   limit: seconds after which a rank that waits for the others ends all; 0: never"""

    def __init__(self, mpi: Any, comm: Any, limit: float) -> None:
        super().__init__()
        self.mpi, self.comm = mpi, comm
        self.rank, self.size = comm.rank, comm.size
        self.waits: dict[int, float] = {}
        """By thread: since when it waits."""
        if limit:
            threading.Thread(target=self._watch, args=(limit,), name="minicnn-ranks", daemon=True).start()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Within the block the watchdog looks at the time; also for messages of other channels."""
        me = threading.get_ident()
        self.waits[me] = time.monotonic()
        try:
            yield
        finally:
            self.waits.pop(me, None)

    def sum(self, array: Array) -> Array:
        """The sum over the ranks, in place: the same bits on each of them."""
        with self.waiting():
            self.comm.Allreduce(self.mpi.IN_PLACE, array, self.mpi.SUM)
        return array

    def start_sum(self, array: Array) -> Pending:
        """Begin `sum`; nobody may touch the array until the result's `wait` returns."""
        return _Sum(self, self.comm.Iallreduce(self.mpi.IN_PLACE, array, self.mpi.SUM))

    def gather(self, array: Array) -> Array:
        """(size, …): the arrays of all ranks, in their order, on each of them."""
        everybodys = np.empty((self.size, *array.shape), array.dtype)
        with self.waiting():
            self.comm.Allgather(np.ascontiguousarray(array), everybodys)
        return everybodys

    def broadcast(self, array: Array) -> Array:
        """Rank 0's values, in place."""
        with self.waiting():
            flat = array.reshape(-1)                       # pieces, because MPI counts with 32 bits
            for start in range(0, flat.size, 2**27):
                self.comm.Bcast(flat[start : start + 2**27], 0)
        return array

    def channel(self) -> Mpi:
        """The same ranks for messages of another kind, which never wait for those of this one."""
        with self.waiting():
            comm = self.comm.Dup()
        other = Mpi(self.mpi, comm, 0)
        other.waits, other.threads, other.at_abort = self.waits, self.threads, self.at_abort
        return other

    def abort(self, sentence: str, code: int = 1) -> None:
        """Say the sentence on stderr, with rank and host, and end all ranks now."""
        self._say(sentence)
        if hasattr(signal, "alarm"):                       # where the network is gone, Abort hangs, and holds the GIL:
            signal.alarm(2)                                # the system then ends this process
        for free in self.at_abort:
            with contextlib.suppress(Exception):
                free()
        self.comm.Abort(code)

    def _watch(self, limit: float) -> None:
        while True:
            time.sleep(min(1.0, limit / 4))
            since = min(list(self.waits.values()), default=None)
            if since is not None and time.monotonic() - since > limit:
                self.abort(f"waited {limit:g} s for the other ranks: one of them is gone or stuck, and all ranks end "
                           "here. `minicnn train --resume` with the run's folder goes on from the last checkpoint, "
                           "with any number of ranks; if nothing was wrong but a slow disk, give a larger --rank-wait",
                           GONE)  # fmt: skip


class _Sum(Pending):
    def __init__(self, ranks: Mpi, request: Any) -> None:
        self.ranks, self.request = ranks, request

    def poke(self) -> None:
        self.request.Test()

    def wait(self) -> None:
        with self.ranks.waiting():
            self.request.Wait()


# ------------------------------------------------------------------------------------------------------------- joining


def join(wait: float = WAIT) -> Alone:
    """The ranks that a launcher started, after `wait` seconds of waiting for each other at most; or `Alone`.

    RuntimeError, one sentence, where there are other ranks and MPI can't reach them.
    """
    told = launched()
    if told <= 1:
        return Alone()
    try:
        from mpi4py import MPI  # connects to the others
    except (ImportError, RuntimeError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise RuntimeError(f"a launcher started {told} ranks, and they can't talk to each other, because mpi4py is not "
                           f"usable ({reason}): pip install \"minicnn-numpy[mpi]\"; on a cluster load its MPI module "
                           "and pip install mpi4py") from None  # fmt: skip
    if MPI.COMM_WORLD.size != told and MPI.COMM_WORLD.size == 1:
        raise RuntimeError(f"a launcher started {told} ranks, but MPI sees only one ({_library(MPI)}): use the mpiexec "
                           "that belongs to it, or with srun the option --mpi that it needs (srun --mpi=list)")
    team = Mpi(MPI, MPI.COMM_WORLD.Dup(), wait)            # a communicator of our own: nobody else's messages
    here = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks of this machine
    team.threads = _threads(here)
    own_gpu(here.rank)
    here.Free()
    return team


def _library(mpi: Any) -> str:
    return " ".join(mpi.Get_library_version().split())[:40]


def _threads(here: Any) -> int:
    """The ranks of one machine share its cores, unless the launcher has given each its own."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    mine = np.array([zlib.crc32(repr(cores).encode())], np.int64)
    everybodys = np.empty((here.size, 1), np.int64)
    here.Allgather(mine, everybodys)
    sharing = int((everybodys == mine).sum())
    return max(1, len(cores) // sharing)


@contextlib.contextmanager
def joined(wait: float = WAIT) -> Iterator[Alone]:
    """`with joined() as team:` the ranks; an error in the block of one of them ends all, with its rank and host.

    The others would wait for it. An error that all ranks have agreed on has an attribute `of_all_ranks` and passes.
    """
    team = join(wait)
    try:
        yield team
    except BaseException as problem:
        if team.size == 1 or getattr(problem, "of_all_ranks", False) or isinstance(problem, SystemExit):
            raise
        if team.rank:
            time.sleep(LATER)
        if os.environ.get("MINICNN_DEBUG"):
            import traceback

            traceback.print_exc(file=sys.__stderr__)
        said = "stopped" if isinstance(problem, KeyboardInterrupt) else " ".join(str(problem).split())
        team.abort(said or type(problem).__name__, 130 if isinstance(problem, KeyboardInterrupt) else 1)
