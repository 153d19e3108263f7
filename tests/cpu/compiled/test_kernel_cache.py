"""Where machine code is kept, when numba is loaded, and what happens where it can't be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minicnn.cpu.compiled import first_use, kernel
from tests.work import NEVER

ROOT = Path(__file__).parents[3]
PRELUDE = """
import sys, warnings
import numpy as np
import minicnn
x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
def right():
    return bool((minicnn.ops.relu(minicnn.Tensor(x)).numpy() == np.maximum(x, 0)).all())
"""
COUNTED = """
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import minicnn.cpu.compiled.{file}
print(len(recorder.buffer))
"""


def python(code, path="", **environment):
    """A process that runs this code; `path`: a folder of packages before all others."""
    environment = {name: str(value) for name, value in environment.items()}
    places = os.pathsep.join(filter(None, [str(path), str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run([sys.executable, "-c", code], text=True, timeout=NEVER, capture_output=True,
                          env={**os.environ, "PYTHONPATH": places, **environment})  # fmt: skip


def said(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# ------------------------------------------------------------------------------------------------------- the folder


def test_a_second_process_compiles_nothing(tmp_path):
    code = COUNTED.format(file="work")
    assert int(*said(python(code, MINICNN_HOME=tmp_path))) > 0
    assert int(*said(python(code, MINICNN_HOME=tmp_path))) == 0


def test_a_damaged_file_is_compiled_anew(tmp_path):
    code = COUNTED.format(file="work")
    said(python(code, MINICNN_HOME=tmp_path))
    folder, = (tmp_path / "kernels").iterdir()
    for damaged in sorted(folder.glob("wait*.nb[ic]")):            # the index, and the machine code
        damaged.write_bytes(damaged.read_bytes()[:40])
        assert int(*said(python(code, MINICNN_HOME=tmp_path))) > 0, damaged
        assert int(*said(python(code, MINICNN_HOME=tmp_path))) == 0, damaged


@pytest.mark.parametrize("home", ["a file", "read-only", "read-only, and full"])
def test_where_nothing_can_be_written_every_process_compiles(tmp_path, home):
    if home == "a file":
        place = tmp_path / "file"
        place.touch()
    else:
        place = tmp_path / "folder"
        (place / "kernels").mkdir(parents=True)
        place.joinpath("kernels").chmod(0o500)
        if os.access(place / "kernels", os.W_OK):
            pytest.skip("this user may write everywhere")
    done = python(PRELUDE + "print(right())", MINICNN_HOME=place)
    assert said(done) == ["True"]
    assert "compiles its kernels" not in done.stderr               # that would be said every time


def test_a_folder_that_is_complete_is_read_where_it_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    find = kernel.folder.__wrapped__
    folder = find()
    assert folder == tmp_path / "kernels" / kernel.stamp()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert find() is None
    (folder / "complete").touch()
    assert find() == folder


def test_a_full_disk_only_costs_the_cache(tmp_path):
    code = """
from numba.core.caching import IndexDataCacheFile
def full(*arguments): raise OSError(28, "No space left on device")
IndexDataCacheFile._save_index = full
from minicnn.cpu.compiled import work
work.wait(work.new(0))
print("good")
"""
    assert said(python(code, MINICNN_HOME=tmp_path)) == ["good"]


def test_a_user_without_a_home_computes(monkeypatch):
    monkeypatch.delenv("MINICNN_HOME", raising=False)

    def nobody(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    assert kernel.folder.__wrapped__() is None


def test_the_stamp_follows_the_sources_and_the_versions(tmp_path, monkeypatch):
    package = tmp_path / "compiled"
    shutil.copytree(Path(kernel.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernel, "__file__", str(package / "kernel.py"))
    stamp = kernel.stamp.__wrapped__
    stamps = [stamp()]
    assert stamps == [kernel.stamp()]                              # it does not depend on the place
    (package / "notes.txt").write_text("not a source")
    assert stamp() == stamps[0]
    (package / "elements.py").write_bytes((package / "elements.py").read_bytes() + b"\n")
    stamps.append(stamp())
    (package / "new.py").write_text("x = 1\n")
    stamps.append(stamp())
    monkeypatch.setattr(kernel.numba, "__version__", "9.9")
    stamps.append(stamp())
    monkeypatch.setattr(kernel.llvmlite.binding, "get_host_cpu_name", lambda: "another")
    stamps.append(stamp())
    monkeypatch.setattr(kernel, "BOUNDSCHECK", not kernel.BOUNDSCHECK)
    stamps.append(stamp())
    assert len(set(stamps)) == len(stamps)


# -------------------------------------------------------------------------------------------------------- first use

FIRST = """
import sys
from numba.core import event
from minicnn.cpu.compiled import first_use, kernel
first_use.HERE, first_use.THERE = ("work",), ("layout",)
first_use.threads._cores = lambda: {cores}
if {python!r}: sys.executable = {python!r}
with event.install_recorder("numba:compile") as recorder:
    first_use.compile_all(kernel.folder())
names = {{event.data["dispatcher"].py_func.__module__.rpartition(".")[2] for _, event in recorder.buffer}}
print(sorted(names & {{"work", "layout"}}))
print(len(list(kernel.folder().glob("*.nbi"))))
"""


@pytest.mark.parametrize(("cores", "executable", "here"), [
    (2, "", ["work"]),
    (1, "", ["layout", "work"]),
    *(pytest.param(2, executable, ["layout", "work"], marks=pytest.mark.slow)
      for executable in ("/nowhere/python", "/some/other/program", "python that fails")),
])
def test_the_second_half_is_compiled_by_a_second_process_if_there_is_one(tmp_path, cores, executable, here):
    if executable == "python that fails":
        failing = tmp_path / "python"
        failing.write_text("#!/bin/sh\nexit 3\n")
        failing.chmod(0o700)
        executable = str(failing)
    home = tmp_path / "home"
    done = python(FIRST.format(cores=cores, python=executable), MINICNN_HOME=home)
    names, kept = said(done)
    assert names == str(here)
    sources = [(ROOT / "minicnn" / "cpu" / "compiled" / f"{file}.py").read_text("utf-8")
               for file in ("work", "layout")]
    assert int(kept) == sum(text.count("\n@kernel(") for text in sources), "every kernel is kept"
    assert done.stderr == first_use.LINE
    folder, = (home / "kernels").iterdir()
    assert (folder / "complete").exists()


def test_every_file_of_both_halves_exists():
    folder = Path(kernel.__file__).parent
    assert not set(first_use.HERE) & set(first_use.THERE)
    for file in first_use.HERE + first_use.THERE:
        assert "\n@kernel(" in (folder / f"{file}.py").read_text("utf-8"), file


# -------------------------------------------------------------------------------------------------- numba is optional


def test_an_import_loads_no_numba():
    code = PRELUDE + "from minicnn import Tensor, data, models, nn, ops\nprint('numba' in sys.modules, right())"
    assert said(python(code)) == ["False True"]


def test_the_numpy_path_loads_no_numba():
    code = PRELUDE + """
minicnn.seed(0)
net = minicnn.models.build("lenet5")
loss = minicnn.ops.cross_entropy(net(minicnn.Tensor(np.zeros((2, 1, 28, 28), np.float32))), np.array([1, 2]))
loss.backward()
print(right(), 'numba' in sys.modules, 'llvmlite' in sys.modules)
"""
    assert said(python(code, MINICNN_CPU="numpy")) == ["True False False"]


def test_a_broken_numba_costs_one_warning(tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')\n")
    code = PRELUDE + """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    good = [right() for _ in range(3)]
    with minicnn.cpu_path("compiled"):
        good += [right() for _ in range(3)]
print(good, [str(w.message) for w in caught])
"""
    expected = "minicnn computes with NumPy alone: numba can't be imported: Numba needs NumPy 1.0 or less"
    assert said(python(code, tmp_path)) == [f"{[True] * 6} {[expected]!r}"]
    done = python(PRELUDE + "right()", tmp_path, MINICNN_CPU="compiled")
    assert done.returncode
    assert done.stderr.splitlines()[-1] == ("ImportError: MINICNN_CPU=compiled: numba can't be imported: "
                                            "Numba needs NumPy 1.0 or less")


@pytest.mark.parametrize("how", ["MINICNN_CPU", "cpu_path"])
def test_compiled_without_numba_is_one_sentence(how):
    hidden = PRELUDE + "sys.modules['numba'] = None\n"
    code = hidden + ("right()" if how == "MINICNN_CPU" else "minicnn.cpu_path('compiled')")
    done = python(code, **{"MINICNN_CPU": "compiled"} if how == "MINICNN_CPU" else {})
    assert done.stderr.splitlines()[-1] == (f"ValueError: {how}: 'compiled' needs the package numba: pip install "
                                            "\"minicnn-numpy[fast]\", or use 'numpy'")
    assert said(python(hidden + "print(right())")) == ["True"]     # without being asked, NumPy computes
