"""How fast the pictures of batches are read from tars that are not in memory, told in advance and not.

    python -m benchmarks.shards [--folder DISK]

It writes 8 files of 48 MiB, and reads 4 batches of 256 pictures of 110 kB in a random order (ImageNet's are about as
large), one after the other, as one worker does. Before each turn the files' pages are dropped from memory. "Told":
`Shards.announce` names the pictures of a batch first, so that the system fetches them together. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.markdown import table
from minicnn.data.shards import Shards

FILES, BYTES, PICTURE, BATCH, BATCHES, ROUNDS = 8, 48 << 20, 110_000, 256, 4, 3


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="a folder on the disk to measure")
    args = parser.parse_args(argv)
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = [Path(folder) / f"{n}.tar" for n in range(FILES)]
        for path in paths:
            path.write_bytes(draws.bytes(BYTES))
        os.sync()
        starts = range(0, BYTES - PICTURE, PICTURE)
        places = np.array([(n, start, PICTURE) for n in range(FILES) for start in starts], np.int64)
        names, labels = tuple(map(str, range(len(places)))), np.zeros(len(places), np.int64)
        shards = Shards(tuple(paths), names, places, labels)
        found: dict[str, list[float]] = {"not told": [], "told": []}
        for _ in range(ROUNDS):
            for how, rates in found.items():
                forget(paths)
                rates.append(rate(shards, draws.permutation(len(places))[: BATCH * BATCHES], how == "told"))
    print(table(["pictures a second", *(f"{n}. turn" for n in range(1, ROUNDS + 1))],
                [[how, *(f"{rate:.0f}" for rate in rates)] for how, rates in found.items()]))  # fmt: skip


def forget(paths: list[Path]) -> None:
    """Drop the files' pages from memory."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def rate(shards: Shards, order: np.ndarray, told: bool) -> float:
    """Pictures a second."""
    began = time.perf_counter()
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        if told:
            shards.announce(batch)
        for index in batch:
            shards.picture(index)
    return len(order) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
