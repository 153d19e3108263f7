"""Mutate the files of a stopped training run: `python -m tests.train.fuzz_runs [COUNT [SEED]]`.

Each mutant must go on, or load, or be refused with a sentence that names the file, and cost no more than
`MOST` loops of work (see tests/work.py).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from minicnn import data
from minicnn.io import model_file
from minicnn.train import Config, Run
from tests.io.fuzz_weights import mutated
from tests.train.tiny import TINY
from tests.work import loops, too_much

MOST = 200
NAMES = ("config.json", "last.ckpt", "best.safetensors")
HEADER = 4096
"""Bytes of a safetensors file that say what it holds, about: the more interesting part."""


def stopped_run(folder):
    """A run of two epochs, after the first."""
    Run(Config(model="lenet5", epochs=2, batch_size=32, validation=0.2, dataset="digits"), folder).train(stop_in_second)


def stop_in_second(step, loss):
    if step > 4:
        raise KeyboardInterrupt


def mutant(rng, files, name):
    """The file with some bytes changed; half of the time only among the first ones."""
    content = files[name]
    if name != "config.json" and rng.random() < 0.5:
        return mutated(rng, content[:HEADER], list(files.values())) + content[HEADER:]
    return mutated(rng, content, list(files.values()))


def outcome(folder, name):
    """"read", or the sentence; AssertionError for anything else."""
    start = time.process_time()
    try:
        if name == "best.safetensors":
            model_file.load(folder / name)
        else:
            Run.resume(folder)
        said = "read"
    except (ValueError, FileNotFoundError) as problem:
        said = str(problem)
        assert str(folder) in said, said
        assert "\n" not in said, said
    seconds = time.process_time() - start
    assert not too_much(seconds, MOST), f"took {loops(seconds):.0f} loops"
    return said


def run(count, seed=0):
    """(how many were read, {kind of sentence: how many}, the slowest in seconds)."""
    rng, kinds, slowest, load = np.random.default_rng(seed), Counter(), 0.0, data.registry.load
    data.registry.load = lambda name: TINY if name == "digits" else load(name)
    try:
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            folder = Path(place) / "run"
            with contextlib.suppress(KeyboardInterrupt):
                stopped_run(folder)
            sound = Path(place) / "sound"
            shutil.copytree(folder, sound)
            files = {name: (sound / name).read_bytes() for name in NAMES}
            for n in range(count):
                name = NAMES[rng.integers(len(NAMES))]
                content = mutant(rng, files, name)
                (folder / name).write_bytes(content)
                start = time.process_time()
                try:
                    said = outcome(folder, name)
                except BaseException:
                    kept = Path(tempfile.gettempdir()) / f"mutant-{seed}-{n}-{name}"
                    kept.write_bytes(content)
                    print(f"mutant {n} of seed {seed}, kept as {kept}:", file=sys.stderr)
                    raise
                slowest = max(slowest, time.process_time() - start)
                kinds[re.sub(r"\d+", "0", said.replace(str(folder), ""))[:60]] += 1
                (folder / name).write_bytes(files[name])
    finally:
        data.registry.load = load
    return kinds.pop("read", 0), dict(kinds), slowest


def main():
    count, seed = (int(a) for a in (*sys.argv[1:], *("1000", "0")[len(sys.argv) - 1 :]))
    read, kinds, slowest = run(count, seed)
    refused = sum(kinds.values())
    print(f"{count} mutants of seed {seed}: {read} read, {refused} refused; slowest {1000 * slowest:.0f} ms")
    for kind, times in sorted(kinds.items(), key=lambda item: -item[1])[:20]:
        print(f"  {times:6}  {kind}")


if __name__ == "__main__":
    main()
