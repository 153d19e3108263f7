"""What reading a file costs before anything is built: in proportion to the file, whatever it says of itself."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from minicnn import models, nn
from minicnn.files import arrays
from minicnn.io import model_file
from minicnn.io.weights import load_into, load_weights, save_weights, weight_shapes
from tests.io.weight_files import entry, safetensors
from tests.thinned import thinned

MIB = 2**20
LIMIT = 64 * MIB


def described(model, classes=1000, **options):
    """A small file that says it is a large net."""
    about = {"format": 1, "model": model, "options": {"num_classes": classes, **options},
             "classes": [str(i) for i in range(classes)], "input": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3}
    return safetensors({"__metadata__": {"minicnn": json.dumps(about)}, "features.0.weight": entry()}, bytes(24))


MEASURE = """
import sys
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) * 1024

import numpy as np
from minicnn import models, nn
from minicnn.io import model_file
from minicnn.io.weights import load_into, load_weights
from minicnn.train import checkpoint
from pathlib import Path
net = nn.Sequential(nn.Linear(2, 2))
try:
    models.load("none")
except FileNotFoundError:
    pass
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
try:
    eval(sys.argv[1])(Path(sys.argv[2]))
    said = "read"
except (ValueError, MemoryError) as problem:
    said = f"{type(problem).__name__}: {problem}"
print(memory("VmHWM") - before)
print(said)
"""


def cost(reader, path):
    """(bytes of memory that it took, what it said)"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, reader, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    memory, said = done.stdout.split("\n", 1)
    assert "\n" not in said.strip()
    return int(memory), said.strip()


READERS = ("model_file.load", "models.load", "nn.Sequential(nn.Linear(2, 2)).load", "load_weights",
           "lambda path: load_into(net, path)", "checkpoint.load")  # fmt: skip

needs_linux = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory as Linux tells it")


@needs_linux
@pytest.mark.parametrize("reader", READERS[:2])
def test_a_small_file_that_says_it_is_vgg16(tmp_path, reader):
    path = tmp_path / "m.safetensors"
    path.write_bytes(described("vgg16", 10_000))
    assert path.stat().st_size < 250_000
    memory, said = cost(reader, path)
    assert said.startswith("ValueError: ")
    assert str(path) in said
    assert memory < LIMIT


@needs_linux
@pytest.mark.parametrize("reader", thinned(READERS, keep=lambda reader: reader in ("model_file.load", "load_weights")))
def test_a_tebibyte_of_nothing(tmp_path, reader):
    """A sparse file, which takes no place on the disk."""
    path = tmp_path / "m.safetensors"
    count = 2**38
    about = {"__metadata__": json.loads(json.dumps({"minicnn": "{}"})), "a": entry("F32", (count,), (0, 4 * count))}
    path.write_bytes(safetensors(about))
    try:
        os.truncate(path, path.stat().st_size + 4 * count)
    except OSError:
        pytest.skip("this file system has no files of that size")
    memory, said = cost(reader, path)
    assert said.startswith("ValueError: ")
    assert memory < LIMIT
    assert weight_shapes(path) == {"a": (count,)}


def test_more_classes_than_any_data_set(tmp_path):
    about = model_file.Description("lenet5", {"num_classes": 200_000}, ["x"] * 200_000, [1, 28, 28], [0.5], [0.5])
    with pytest.raises(ValueError, match=r"description's classes .* must be at most 100,000 names"):
        model_file.save(tmp_path / "m.safetensors", nn.Sequential(), about)


def test_the_memory_of_the_machine_is_a_limit(monkeypatch):
    budget = arrays.MemoryBudget(2**40)
    budget.take(10, "<f4")
    monkeypatch.setattr(arrays, "free_memory", lambda: 2.0**30)
    budget.take(2**26, "<f4")
    with pytest.raises(ValueError, match=r"take 2\.3 GiB or more, and this machine has 1\.0 GiB of memory left"):
        budget.take(2**29, "<f4")


def test_what_does_not_fit_is_refused_by_its_shapes_alone(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    net = models.build("lenet5")
    save_weights(path, {**net.state_dict(), "features.0.weight": np.zeros((2, 2), np.float32)})
    monkeypatch.setattr(arrays, "read", lambda *a: pytest.fail("values were read"))
    with pytest.raises(ValueError, match=r"features\.0\.weight is \(2, 2\), must be \(6, 1, 5, 5\)"):
        load_into(net, path)
    with pytest.raises(ValueError, match=r"features\.0\.weight is \(2, 2\), must be"):
        net.load(path)


def test_free_memory_is_that_of_the_machine():
    with open("/proc/meminfo", encoding="ascii") as file:
        total = 1024 * int(file.readline().split()[1])
    assert 2**20 < arrays.free_memory() <= total
    assert load_weights.__module__ == "minicnn.io.weights"
