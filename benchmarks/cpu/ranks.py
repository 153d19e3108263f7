"""What several ranks cost: the CPU time of a step on 1, 2, … ranks, and the time of an all-reduce.

    python -m benchmarks.cpu.ranks [--sizes 1,2] [--net resnet20] [--batch 64] [--steps 12] [--rounds 5]

Weak scaling: --batch images on each rank, which has one thread. CPU time (time.process_time) does not count other
processes, so it can be compared on a machine that is not idle. A rank that waits in MPI uses the processor, though, and
on a busy machine it waits for a rank that is not running; so that time has a column of its own. Efficiency is the CPU
time of a step without MPI, divided by that of a rank outside MPI's waits: of one process alone, and of as many
processes side by side, which share the machine's memory as the ranks do and send nothing. The table is Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from minicnn import models, optim, ranks, rng
from minicnn.data.loader import Batch, Whole
from minicnn.ops.softmax import cross_entropy
from minicnn.piece import piece
from minicnn.tensor import Tensor
from minicnn.train.shared import Shared

SIZES = (4, 4096, 61_706 * 4, 269_722 * 4, 2**24)
"""Bytes of the all-reduces: LeNet-5's and ResNet-20's gradients are the third and the fourth."""


def main(argv: list[str] | None = None) -> None:
    """Start the ranks of each size, and print a table of what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1,2")
    parser.add_argument("--net", default="resnet20")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5, help="the sizes take turns: a slow minute affects all of them")
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.member:
        return member(args)
    sizes = [int(size) for size in args.sizes.split(",")]
    cases = [(0, 1), *((0, size) for size in sizes if size > 1), *((size, size) for size in sizes)]
    rounds = [{case: start(*case, args) for case in cases[:: -1 if turn % 2 else 1]} for turn in range(args.rounds)]
    found = {case: {**rounds[-1][case], "cpu": median(r[case]["cpu"] for r in rounds),
                    "wait": median(r[case]["wait"] for r in rounds)} for case in cases}  # fmt: skip

    def efficiency(case: tuple[int, int], processes: int) -> str:
        # of each round: a machine that is slow for a minute is slow for all
        return f"{100 * median(r[0, processes]['cpu'] / r[case]['cpu'] for r in rounds):.1f} %"

    print(f"{args.net}, {args.batch} images a rank, one thread a rank: milliseconds of CPU time a step, median of "
          f"{args.rounds} rounds\n")
    print("| | computing | of one alone | of as many without MPI | in MPI's waits | buckets |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: |")  # fmt: skip
    for (size, count), row in found.items():
        name = f"{count} rank{'s' * (count > 1)}" if size else "no MPI" + f", {count} side by side" * (count > 1)
        print(f"| {name} | {row['cpu']:.1f} | {efficiency((size, count), 1)} | {efficiency((size, count), count)} | "
              f"{row['wait']:.1f} | {row['buckets']} |")  # fmt: skip
    for (size, _), row in found.items():
        if size > 1:
            told = ", ".join(f"{int(n):,} B {us:.1f} µs" for n, us in row["allreduce"].items())
            print(f"\nAll-reduce of {size} ranks, best: {told}")
    return None


def mpiexec() -> str | None:
    """The launcher beside this Python, or that of the PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def start(size: int, count: int, args: argparse.Namespace) -> dict:
    """The measurements of rank 0 of `size` ranks; where size is 0 of one of `count` processes without MPI."""
    launcher = mpiexec()
    if size and launcher is None:
        raise SystemExit('mpiexec is not installed: pip install "minicnn-numpy[mpi]"')
    words = [sys.executable, "-m", "benchmarks.cpu.ranks", "--member", "--net", args.net, "--batch", str(args.batch),
             "--steps", str(args.steps)]  # fmt: skip
    command = [str(launcher), "-n", str(size), *words] if size else words
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "MINICNN_NUM_THREADS": "1"}) for _ in range(1 if size else count)]
    told = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit(f"error: {' '.join(command)} failed")
    return json.loads(told[0].splitlines()[-1])


def member(args: argparse.Namespace) -> None:
    """One rank: its steps on fixed random images; rank 0 prints."""
    with ranks.joined(300) as team:
        rng.seed(0)
        shape = models.input_shape(args.net)
        net = models.build(args.net, num_classes=10).train()
        optimizer, shared = optim.SGD(net.parameters(), 0.01, momentum=0.9), Shared(net, team)
        draws, whole = np.random.default_rng(team.rank), args.batch * team.size
        images = Tensor(draws.standard_normal((args.batch, *shape)).astype(np.float32))
        labels = draws.integers(0, 10, whole)
        own = piece(whole, *team.part)
        batch = Batch(images, labels[own.rows], None, None, Whole(own, labels) if team.size > 1 else None)
        waited = _count_waits(team)
        cpu, waits = [], []
        for _ in range(args.steps):
            before, waited[0] = time.process_time(), 0.0
            optimizer.zero_grad()
            with shared.step(batch):
                shared.backward(cross_entropy(net(batch.images), batch.labels))
            optimizer.step()
            cpu.append(time.process_time() - before - waited[0])
            waits.append(waited[0])
        told = {"cpu": 1e3 * median(cpu[2:]), "wait": 1e3 * median(waits[2:]), "buckets": len(shared.buckets),
                "allreduce": {n: 1e6 * _best(team, n) for n in SIZES} if team.size > 1 else {}}  # fmt: skip
        if team.rank == 0:
            print(json.dumps(told), flush=True)


def _count_waits(team: ranks.Alone) -> list[float]:
    """[the CPU time that this rank spends in MPI's waits from now on]"""
    spent = [0.0]
    if isinstance(team, ranks.Mpi):
        waiting = ranks.Mpi.waiting

        @contextlib.contextmanager
        def counted(self: ranks.Mpi) -> Iterator[None]:
            before = time.process_time()
            with waiting(self):
                yield
            spent[0] += time.process_time() - before

        ranks.Mpi.waiting = counted  # type: ignore[method-assign]
    return spent


def _best(team: ranks.Alone, size: int) -> float:
    """The best time of an all-reduce of `size` bytes, in seconds."""
    array, times = np.zeros(max(1, size // 4), np.float32), []
    for _ in range(200 if size < 2**20 else 30):
        team.sum(np.zeros(1, np.float32))                  # all begin together
        began = time.perf_counter()
        team.sum(array)
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
