"""`install(xp, comm)`: cupy.cuda's streams, events and NCCL for an emulated CuPy, late and strict.

A GPU does the work of a stream some time after the host has asked for it. Here kernels run at once, and a stream that
`Stream` makes does nothing until the host waits for it: as late as a GPU may. Until then nobody may touch the memory of
a sum: its pages are forbidden, and reading or writing them ends the process with SIGSEGV. A sum is refused whose stream
has not been told to wait for all that was written. Before ranks add up, they compare the numbers of their calls, counts
and dtypes: NCCL itself would hang, or add up something else. `xp.cuda.nccl.calls` records every call.

comm: mpi4py's communicator, which adds up; None for one rank.
"""

import ctypes
import mmap
import types

import numpy as np

FLOAT32, FLOAT64, SUM = 7, 8, 0                            # nccl.h: ncclFloat32, ncclFloat64, ncclSum
DTYPES = {FLOAT32: np.float32, FLOAT64: np.float64}
NOT_READY, ILLEGAL_ADDRESS = 600, 700                      # driver_types.h: cudaErrorNotReady, …
IDENTITY = bytes(range(128))
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class CUDARuntimeError(RuntimeError):
    """CuPy's."""


class NcclError(RuntimeError):
    """CuPy's: its text begins with NCCL's name of the error."""


def install(xp, comm=None):
    """Give the emulated CuPy `xp` streams, events and NCCL. → xp.cuda.nccl"""
    calls, streams, events = [], {}, []

    class Event:
        """An event, which is still to come when a stream is asked for it the first time."""

        def __init__(self, *, disable_timing=False):
            self.stream, self.at, self.asked = None, None, False
            self.ptr = 5000 + len(events)
            events.append(self)

        def record(self, stream=None):
            calls.append(("record", "compute" if stream is None else "side"))
            self.stream, self.at = stream, xp.ndarray.writes
            if stream is not None:
                stream.work.append(self)

        def synchronize(self):
            raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    class Stream:
        """A stream beside the compute stream."""

        def __init__(self, *, non_blocking=False):
            assert non_blocking, "a blocking stream waits for the default stream, and the default stream for it"
            self.ptr, self.work, self.before = 1000 + len(streams), [], None
            streams[self.ptr] = self

        def wait_event(self, event):
            calls.append(("wait_event", "side"))
            assert event.stream is None, "an event of the compute stream"
            self.before = event.at

        def run(self, last):
            while last in self.work:
                work = self.work.pop(0)
                if not isinstance(work, Event):
                    work()

    class NcclCommunicator:
        """All ranks, and sums over them."""

        def __init__(self, ndev, commId, rank):
            size, own = (1, 0) if comm is None else (comm.size, comm.rank)
            if type(commId) is not bytes or commId != IDENTITY:
                raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: the id is not that of rank 0")
            assert (type(ndev), ndev, type(rank), rank) == (int, size, int, own)
            calls.append(("NcclCommunicator", ndev, rank))
            self.number, self.ended, self.error = 0, False, None

        def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
            assert all(type(n) is int for n in (sendbuf, recvbuf, count, datatype, op, stream))
            assert not self.ended, "the communicator was aborted"
            assert sendbuf == recvbuf, "this stand-in adds up in place"
            side, number = streams[stream], self.number
            assert side.before is not None, "the stream waits for nothing: the gradients may not be written yet"
            assert side.before == xp.ndarray.writes, "written after the event: the stream does not wait for it"
            calls.append(("allReduce", count, datatype, op))
            self.number += 1
            size = count * np.dtype(DTYPES[datatype]).itemsize
            forbid(sendbuf, size, True)

            def add_up():
                forbid(sendbuf, size, False)
                values = np.frombuffer((ctypes.c_char * size).from_address(sendbuf), DTYPES[datatype])
                if comm is not None:
                    told = comm.allgather((number, count, datatype, op))
                    assert len(set(told)) == 1, f"the ranks make different calls: {told}"
                    comm.Allreduce(values.copy(), values)
                calls.append(("added up", number))

            side.work.append(add_up)
            side.before = None

        def check_async_error(self):
            if self.error:
                raise self.error

        def abort(self):
            calls.append(("abort",))
            self.ended = True

    def event_query(ptr):
        event = events[ptr - 5000]
        if nccl.fault:
            return ILLEGAL_ADDRESS
        if event.asked:
            event.stream.run(event)
        event.asked = True
        return NOT_READY if event in event.stream.work else 0

    nccl = types.SimpleNamespace(
        available=True, calls=calls, fault=False, get_unique_id=lambda: IDENTITY, NcclError=NcclError,
        NcclCommunicator=NcclCommunicator, NCCL_FLOAT32=FLOAT32, NCCL_FLOAT64=FLOAT64, NCCL_SUM=SUM,
    )  # fmt: skip
    xp.cuda.nccl, xp.cuda.Event, xp.cuda.Stream = nccl, Event, Stream
    xp.cuda.runtime = types.SimpleNamespace(eventQuery=event_query)
    return nccl


def forbid(place, size, forbidden):
    """Forbid the pages of an array, or allow them again: they hold nothing else (arrays.guarded)."""
    first = place // mmap.PAGESIZE * mmap.PAGESIZE
    last = -(-(place + size) // mmap.PAGESIZE) * mmap.PAGESIZE
    allowed = 0 if forbidden else mmap.PROT_READ | mmap.PROT_WRITE
    assert _libc.mprotect(first, last - first, allowed) == 0, "mprotect"
