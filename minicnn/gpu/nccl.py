"""Sums over the GPUs of several ranks by NVIDIA's NCCL: gradients are not copied to the hosts.

An all-reduce of NCCL is a kernel. It runs on a stream of its own, beside the kernels of `backward`, and two events say
what comes first:

    compute stream   … the bucket is full | record ready       | backward of the layers before …
    our stream                              wait for ready     | all-reduce | record done
    host                                                         more launches …      | finish: until done

Each rank needs a GPU of its own (launcher.own_gpu). A rank that is gone leaves the kernels of the others waiting: they
occupy their GPUs, and not the hosts, whose watchdog (ranks.py) then aborts. NCCL itself reports a network that breaks.
NVIDIA, "NCCL user guide", §"Collective operations", §"Fault tolerance".
"""

from __future__ import annotations

import os
import platform
import time
import zlib
from typing import Any

import numpy as np

from minicnn.device import Array
from minicnn.gpu import detect
from minicnn.ranks import Alone, Pending

PAUSE = 5e-5
"""Seconds between two looks at an event."""
NOT_READY = 600
"""cudaErrorNotReady: an event that is still to come."""
HOSTS = "through the hosts' memory, by MPI"
"""How sums are made where NCCL makes none."""


class Nccl:
    """All ranks of `team`, each with its GPU.   Every rank makes one at the same time.

    RuntimeError where NCCL can't connect them.
    """

    def __init__(self, gpu: Any, team: Alone):
        self.gpu, self.team, self.nccl = gpu, team, detect.nccl(gpu.xp)
        self.stream = gpu.xp.cuda.Stream(non_blocking=True)
        identity = team.broadcast_bytes(self.nccl.get_unique_id() if team.rank == 0 else b"")
        try:
            with team.waiting():
                self.comm = self.nccl.NcclCommunicator(team.size, identity, team.rank)
        except RuntimeError as problem:
            raise RuntimeError(f"NCCL can't connect the GPUs of the ranks ({problem}): NCCL_DEBUG=WARN says more, and "
                               "with MINICNN_NCCL=0 they send their gradients through the hosts") from None  # fmt: skip
        team.at_abort.append(self.comm.abort)              # its kernels would go on waiting for the others

    def start_sum(self, array: Array) -> Pending:
        """Begin to replace the array by the sum over the ranks; nobody may touch it until the result's `wait` returns.

        What the compute stream has been told so far comes first; what it is told now goes on meanwhile.
        """
        kind = {"float32": self.nccl.NCCL_FLOAT32, "float64": self.nccl.NCCL_FLOAT64}[array.dtype.name]
        ready, done = (self.gpu.xp.cuda.Event(disable_timing=True) for _ in range(2))
        ready.record()
        self.stream.wait_event(ready)
        place = array.data.ptr
        self.comm.allReduce(place, place, array.size, kind, self.nccl.NCCL_SUM, self.stream.ptr)
        done.record(self.stream)
        return _Sum(self, done, array)


class _Sum(Pending):
    def __init__(self, of: Nccl, done: Any, array: Array) -> None:
        self.of, self.done, self.array = of, done, array

    def wait(self) -> None:
        """The host looks again and again, not to miss an error: a stream that waits would wait for ever."""
        with self.of.team.waiting():
            while status := self.of.gpu.xp.cuda.runtime.eventQuery(self.done.ptr):
                if status != NOT_READY:
                    self.done.synchronize()                # raises CUDA's error
                self.of.comm.check_async_error()
                time.sleep(PAUSE)


def sums(device: Any, team: Alone) -> tuple[Nccl | None, str]:
    """(NCCL's sums, "by NCCL") where each rank has a GPU of its own with NCCL; else (None, how and why).

    All ranks call it, with the device of their parameters, and get the same. RuntimeError where some compute on a GPU
    and others do not: their weights would drift apart.
    """
    own = np.array([device.name != "cpu", *_identity(device)], np.int64)
    on_gpu, usable, place = team.gather(own).T
    if not on_gpu.any():
        return None, HOSTS
    if not on_gpu.all():
        without = ", ".join(map(str, np.flatnonzero(on_gpu == 0)))
        raise RuntimeError(f"some ranks compute on a GPU, and these on the CPU: {without}. Start as many ranks as "
                           "there are GPUs, or give --device cpu")  # fmt: skip
    if not usable.all():
        return None, (f"{HOSTS}, because rank {int(usable.argmin())} has no NCCL (pip install nvidia-nccl-cu13, for "
                      "CUDA 12 nvidia-nccl-cu12) or MINICNN_NCCL=0 switches it off")  # fmt: skip
    if len(set(place.tolist())) < team.size:
        return None, f"{HOSTS}, because {team.size} ranks share {len(set(place.tolist()))} GPU(s)"
    return Nccl(device, team), "by NCCL"


def _identity(device: Any) -> tuple[int, int]:
    """(1 if NCCL can be used, a number for the GPU that no other GPU has); (0, 0) on the CPU."""
    if device.name == "cpu":
        return 0, 0
    place = f"{platform.node()} {device.xp.cuda.Device().pci_bus_id}"
    usable = os.environ.get("MINICNN_NCCL", "1") != "0" and detect.nccl(device.xp).available
    return int(usable), zlib.crc32(place.encode())
