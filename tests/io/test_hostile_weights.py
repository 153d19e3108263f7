"""Weight files made to run code, to fill the memory or to hang: each is refused in a sentence, and nothing happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors

from minicnn.io.weights import load_weights
from tests.io import fuzz_weights
from tests.io.hostile_files import MARK, MIB, corpus, headers, promised
from tests.io.weight_files import (
    entry,
    npz,
    small_files,
    text,
    zip_checkpoint,
)
from tests.io.weight_files import (
    safetensors as safetensors_of,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The corpus as files, and what each is, in a folder that is also the working folder."""
    folder = tmp_path_factory.mktemp("hostile")
    names = {}
    for n, (what, content) in enumerate(corpus()):
        names[folder / f"{n}.bin"] = what
        (folder / f"{n}.bin").write_bytes(content)
    here = Path.cwd()
    os.chdir(folder)
    yield names
    os.chdir(here)


def test_the_sound_parts_are_sound(tmp_path):
    """What the corpus is made of is read when nothing is wrong with it; so each file is refused for its own fault."""
    expected, made = small_files()
    for suffix, content in made.items():
        path = tmp_path / "x"
        path.write_bytes(content)
        found = load_weights(path)
        assert found.keys() == expected.keys(), suffix
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


EVERY = pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
"""`make test` reads every eighth file."""


@EVERY
def test_all_are_refused_in_one_sentence_with_little_work_and_nothing_runs(files, every):
    some = list(files.items())[::every]
    read = [what for path, what in some if fuzz_weights.outcome(path) == "read"]              # which limits the work
    assert not (Path.cwd() / MARK).exists()
    assert {p.name for p in Path.cwd().iterdir()} == {p.name for p in files}
    assert len(files) > 700
    assert read == []


MEASURE = """
import json, os, sys
from minicnn.io.weights import load_weights
import numpy as np

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) * 1024

worst = []
for name in sorted(os.listdir("."))[:: int(sys.argv[1])]:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory("VmRSS")
    try:
        state = load_weights(name)
    except ValueError:
        state = None
    worst.append((memory("VmHWM") - before - os.path.getsize(name), name))
print(json.dumps(sorted(worst)[-5:]))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is measured as Linux tells it")
@EVERY
def test_none_takes_more_memory_than_its_size_and_50_mib(files, every):
    folder = next(iter(files)).parent
    done = subprocess.run([sys.executable, "-c", MEASURE, str(every)], cwd=folder, capture_output=True, text=True,
                          check=True)  # fmt: skip
    worst = json.loads(done.stdout)
    print([(round(size / MIB, 1), files[folder / name]) for size, name in worst])
    assert worst[-1][0] < 50 * MIB, [(size / MIB, files[folder / name]) for size, name in worst]


@pytest.mark.parametrize("suffix", small_files()[1])
def test_cut_off_anywhere(suffix, tmp_path):
    content = small_files()[1][suffix]
    path = tmp_path / "cut"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert fuzz_weights.outcome(path) != "read", length


@pytest.mark.parametrize("path", sorted(fuzz_weights.FOLDER.glob("*.pt")), ids=lambda p: p.stem)
def test_pytorchs_own_cut_off(path, tmp_path):
    content = path.read_bytes()
    cut = tmp_path / "cut"
    for length in [*range(0, len(content), 61), len(content) - 1]:
        cut.write_bytes(content[:length])
        assert fuzz_weights.outcome(cut) != "read", length


def test_mutants():
    read, refused, _ = fuzz_weights.run(400, seed=1)
    assert read > 10
    assert sum(refused.values()) == 400 - read
    assert len(refused) > 20


def test_whatever_the_library_refuses_is_refused():
    """The corpus of headers is at least as bad in the eyes of the safetensors library, but for what only we refuse."""
    refused = {}
    for name, content in headers().items():
        try:
            safetensors.deserialize(content)
        except safetensors.SafetensorError:
            refused[name] = True
    assert len(refused) > 25


@pytest.mark.parametrize(("content", "sentence"), [
    (zip_checkpoint(b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R."),
     "it holds a whole os.system, not a state dict: in PyTorch, save the state dict alone, "
     "`torch.save(model.state_dict(), path)`"),
    (npz(promised("(2500000000,)")),
     "its entry 'a.npy' has 77 bytes, and its header promises shape (2500000000) of <f4: it is damaged, get it again"),
    (safetensors_of({"a": entry("F8_E4M3", (24,))}, bytes(24)),
     "its array 'a' holds 'F8_E4M3', which NumPy lacks: convert it to float32"),
    (safetensors_of({"a": entry(), "b": entry()}, bytes(24)),
     "its array 'b' must begin at byte 24 of the values, not 0: it is damaged, get it again"),
    (b"<!DOCTYPE html>",
     "expected weights (safetensors, .npz, or a PyTorch checkpoint), found a web page: the download failed"),
    (b"", "it is empty: get it again"),
])  # fmt: skip
def test_sentences(content, sentence, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_weights(path)
    assert str(error.value) == f"{path}: {sentence}"
