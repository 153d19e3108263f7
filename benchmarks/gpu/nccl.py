"""An all-reduce between the GPUs of several ranks, by NCCL and through the hosts' memory, by its size.

    mpiexec -n 2 python -m benchmarks.gpu.nccl [--out FILE]

The time includes the host's wait for the sum, as at the end of a training step. *Bus bandwidth* is that of NVIDIA's
nccl-tests: 2·(k − 1)/k · bytes / time, what each GPU must send at least, so that it can be compared with its link.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from minicnn import devices, ranks
from minicnn.gpu import nccl

BYTES = tuple(4**k for k in range(6, 15))
"""4 KiB to 256 MiB."""
HOST_BYTES = 2**26
"""Larger arrays are not sent through the hosts: it takes seconds."""


def main(argv: list[str] | None = None) -> None:
    """One rank; rank 0 prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--device", default="cuda:0", help="or emulated, to try everything out")
    parser.add_argument("--tiny", action="store_true", help="the two smallest sizes, to try everything out")
    args = parser.parse_args(argv)
    with ranks.joined(60) as team:
        gpu = devices.get(args.device)
        by_nccl, way = nccl.sums(gpu, team)
        if by_nccl is None or team.size == 1:
            raise RuntimeError(f"gradients of {team.size} rank(s) are added up {way}: start two ranks, with two GPUs "
                               "and NCCL")  # fmt: skip
        rows = [row(gpu, by_nccl, team, size) for size in (BYTES[:2] if args.tiny else BYTES)]
        if team.rank == 0:
            show(rows, team.size)
            if args.out:
                found = {"ranks": team.size, "device": args.device, "allreduce": rows}
                args.out.write_text(json.dumps(found, indent=1) + "\n")


def row(gpu, by_nccl: nccl.Nccl, team: ranks.Alone, size: int) -> dict:
    """The best times of an all-reduce of `size` bytes, in seconds."""
    array = gpu.xp.zeros(size // 4, np.float32)

    def on_gpus():
        by_nccl.start_sum(array).wait()

    def on_hosts():
        gpu.asarray(team.sum(gpu.to_numpy(array)))
        gpu.synchronize()

    found = {"bytes": size, "nccl": best(on_gpus, team, size)}
    if size <= HOST_BYTES:
        found["hosts"] = best(on_hosts, team, size)
    found["bus_bandwidth"] = 2 * (team.size - 1) / team.size * size / found["nccl"]
    return found


def best(work, team: ranks.Alone, size: int) -> float:
    """The shortest of some times of work(), which all ranks begin together."""
    times = []
    for _ in range(50 if size < 2**22 else 10):
        team.sum(np.zeros(1, np.float32))
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def show(rows: list[dict], size: int) -> None:
    """A Markdown table."""
    print(f"All-reduce between {size} GPUs, best times, with the host's wait\n")
    print("| bytes | NCCL, µs | through the hosts, µs | NCCL's bus bandwidth, GB/s |\n| ---: | ---: | ---: | ---: |")
    for of in rows:
        hosts = f"{1e6 * of['hosts']:.1f}" if "hosts" in of else ""
        print(f"| {of['bytes']:,} | {1e6 * of['nccl']:.1f} | {hosts} | {of['bus_bandwidth'] / 1e9:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
