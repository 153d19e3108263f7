"""Mutate small weight files of every format: `python -m tests.io.fuzz_weights [COUNT [SEED]]`.

Each mutant must give either a dictionary of arrays or a ValueError of one sentence with the file's name, and cost no
more than `MOST` loops of work (see tests/work.py). What is read from a mutated safetensors file must be what the
safetensors library reads.
"""

import datetime
import io
import pickle
import re
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import safetensors

from minicnn import models
from minicnn.io import model_file
from minicnn.io.weights import load_weights
from tests.io.weight_files import legacy_checkpoint, packed, small_files, tensor, text, zip_checkpoint
from tests.work import loops, too_much

SENTENCE = re.compile(r"(it|its|a checkpoint|expected) [^\n]{10,400}")
FOLDER = Path(__file__).parent / "checkpoints"
MOST = 200                                                         # the worst bomb takes about 60


def seeds():
    """Valid files of every format."""
    _, files = small_files()
    beside = (body({"lr": {0.5: (1, 2)}, "names": {"a"}, "when": datetime.date(2020, 1, 2)}, p) for p in (2, 4))
    kept = [path.read_bytes() for path in sorted(FOLDER.glob("*.pt"))]
    return [*files.values(), described(), *(checkpoint(make, b) for b in beside for make in MAKERS), *kept]


def body(value, protocol):
    """The instructions of a pickle, without its first and its last."""
    return pickle.dumps(value, protocol)[11 if protocol == 4 else 2 : -1]


def checkpoint(make, beside):
    """A checkpoint with something beside the state."""
    weights = b"}(" + text("fc.weight") + tensor() + b"u"
    content = [("0", bytes(24))] if make is zip_checkpoint else [("0", 6, bytes(24))]
    return make(b"\x80\x02}(" + text("beside") + beside + text("model") + weights + b"u.", content)


MAKERS = (zip_checkpoint, legacy_checkpoint)


def described():
    """A model file of a small net."""
    net = models.build("lenet5", num_classes=2, in_channels=1)
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        model_file.save(path, net, model_file.Description("lenet5", {"num_classes": 2}, ["a", "b"], [1, 28, 28], [0.5],
                                                          [0.5]))  # fmt: skip
        file.write(path.read_bytes())
    return file.getvalue()


def mutant(rng, files):
    """A mutated file; half of the zip files are sound, and what is packed in them is mutated."""
    content = files[rng.integers(len(files))]
    if content[:2] != b"PK" or rng.random() < 0.5:
        return mutated(rng, content, files)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
        method = archive.infolist()[0].compress_type
    name = next((n for n in entries if n.endswith("data.pkl")), None)
    if name is None or rng.random() < 0.2:
        name = list(entries)[rng.integers(len(entries))]
    entries[name] = mutated(rng, entries[name], files)
    return packed(entries.items(), method)


def mutated(rng, content, files):
    """The bytes with some flipped, cut off, put in, taken out, or taken from another file."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(content) + 1))
        length = int(rng.integers(1, 64))
        match rng.integers(7):
            case 0:
                del content[place:]
            case 1:
                content[place:place] = rng.bytes(int(rng.integers(1, 9)))
            case 2:
                del content[place : place + length]
            case 3:
                other = files[rng.integers(len(files))]
                start = int(rng.integers(len(other)))
                content[place : place + length] = other[start : start + length]
            case 4:  # an extreme number where one may stand
                content[place : place + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
            case _:
                for _ in range(rng.integers(1, 4)):
                    if content:
                        content[rng.integers(len(content))] = int(rng.choice([rng.integers(256), 0, 255, 0x2E, 0x30]))
    return bytes(content)


def outcome(path):
    """"read", or the sentence; AssertionError for anything else."""
    start = time.process_time()
    try:
        state = load_weights(path)
    except ValueError as problem:
        refusal = problem
    else:
        refusal = None
    if refusal is not None:
        name, said = f"{path}: ", str(refusal)
        assert type(refusal) is ValueError, f"a {type(refusal).__name__}"
        assert said.startswith(name), said
        said = said[len(name) :]
        assert SENTENCE.fullmatch(said), said
    else:
        assert all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in state.items())
        assert all(array.dtype.kind in "fiub" for array in state.values())
        for array in state.values():
            array.sum()  # touch every value
        said = "read"
        if path.read_bytes()[8:9] == b"{":
            same_as_the_library(path, state)
    if path.read_bytes()[8:9] == b"{":
        for load in (model_file.load, models.load):        # each builds a net only for a file that fits it
            try:
                load(path)
            except ValueError as problem:
                assert type(problem) is ValueError, f"a {type(problem).__name__}"  # noqa: PT017
                assert str(path) in str(problem)           # noqa: PT017
                assert "\n" not in str(problem)            # noqa: PT017
    assert not too_much(time.process_time() - start, MOST), f"took {loops(time.process_time() - start):.0f} loops"
    return said


def same_as_the_library(path, state):
    """What was accepted, the library must accept and read alike."""
    told = dict(safetensors.deserialize(path.read_bytes()))
    assert told.keys() == state.keys()
    for name, about in told.items():
        assert tuple(about["shape"]) == state[name].shape
        if about["dtype"] not in ("F16", "BF16", "BOOL"):
            assert bytes(about["data"]) == state[name].tobytes()


def run(count, seed=0):
    """(how many were read, {kind of sentence: how many}, the slowest in seconds)."""
    rng, files = np.random.default_rng(seed), seeds()
    kinds: dict[str, int] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        path = Path(folder) / "mutant"
        for n in range(count):
            content = mutant(rng, files)
            path.write_bytes(content)
            start = time.process_time()
            try:
                said = outcome(path)
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"mutant-{seed}-{n}"
                kept.write_bytes(content)
                print(f"mutant {n} of seed {seed}, kept as {kept}:", file=sys.stderr)
                raise
            slowest = max(slowest, time.process_time() - start)
            kind = re.sub(r"\(.*?\)|'.*?'|\".*?\"|[0-9]+", "…", said)[:60]
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds.pop("read", 0), kinds, slowest


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    begin = time.perf_counter()
    try:
        read, refused, longest = run(total, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    except AssertionError:
        traceback.print_exc()
        sys.exit(1)
    for kind, times in sorted(refused.items(), key=lambda item: -item[1]):
        print(f"{times:7} {kind}")
    print(f"{total} mutants: {read} read, {total - read} refused in a sentence of {len(refused)} kinds, none else; "
          f"the slowest took {longest * 1000:.1f} ms, all {time.perf_counter() - begin:.0f} s")
