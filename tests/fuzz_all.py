"""Mutate inputs of every reader, within limits of time and memory: `nice python -m tests.fuzz_all [COUNT [SEED]]`.

100,000 by default, some minutes on one core. Two thirds go to the readers of data (tests/data/fuzz_readers.py), a
third to those of weights (tests/io/fuzz_weights.py). Each mutant must be read, or refused in one sentence, in less than
`SECONDS`, and the process may never take more than `MEMORY` above what it has at the start.
"""

import resource
import sys
import time

from tests.data import fuzz_readers
from tests.io import fuzz_weights

SECONDS, MEMORY, PART = 2.0, 300 * 10**6, 1000


def limit_memory(most):
    """Let the system refuse memory beyond that many bytes more than now; the refusal is a MemoryError, and fails."""
    with open("/proc/self/status", encoding="ascii") as file:
        now = next(int(line.split()[1]) for line in file if line.startswith("VmSize")) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (now + most, resource.RLIM_INFINITY))


def run(count, seed=0, say=lambda line: None):
    """(how many were read, the longest in seconds) of `count` mutants in all."""
    fuzz_readers.run(50), fuzz_weights.run(50)             # imports and caches are not a reader's cost
    limit_memory(MEMORY)
    read, longest, done, begin = 0, 0.0, 0, time.perf_counter()
    while done < count:
        part = min(PART, count - done)
        for fuzzer, share in ((fuzz_readers, part * 2 // 3), (fuzz_weights, part - part * 2 // 3)):
            sound, _, slowest, *_ = fuzzer.run(share, [seed, done])
            assert slowest < SECONDS, f"a mutant of {fuzzer.__name__} took {slowest:.1f} s, seed {[seed, done]}"
            read, longest = read + sound, max(longest, slowest)
        done += part
        seconds = time.perf_counter() - begin
        say(f"{done:,} mutants: {read:,} read, the slowest {longest * 1000:.0f} ms, all {seconds:.0f} s")
    return read, longest


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 0, print)
