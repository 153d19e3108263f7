"""The exported folder: it serves the same page with NumPy, Pillow and threadpoolctl alone."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import venv
from pathlib import Path

import pytest

import minicnn
from minicnn.app.export import NEEDED, export, requirements
from minicnn.app.session import Session
from minicnn.io import model_file
from tests.app.conftest import noise, png
from tests.work import NEVER

ROOT = Path(minicnn.__file__).parents[1]
ONLY = '''
import runpy, sys
allowed = {"numpy", "PIL", "threadpoolctl", "minicnn", "defusedxml", "cffi", "_cffi_backend"}
class Only:
    """Of other packages it finds those alone that come with Python."""
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in allowed | sys.stdlib_module_names:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Only, sys.meta_path)
sys.path.insert(0, sys.argv[1])
sys.argv = ["app.py", "--port", "0", "--no-browser"]
runpy.run_path(sys.path[0] + "/app.py", run_name="__main__")
'''


@contextlib.contextmanager
def started(python, *args, where):
    """ask(path, content=None) → the answer of a folder that is served."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    with subprocess.Popen([python, *map(str, args)], cwd=where, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            first = process.stdout.readline()
            address = re.fullmatch(r"The app is at (http://127\.0\.0\.1:\d+)/#token=\S+\n", first)
            assert address, first + process.stderr.read()

            def ask(path, content=None, kind="application/octet-stream"):
                request = urllib.request.Request(address[1] + path, content, {"Content-Type": kind} if content else {})
                with urllib.request.urlopen(request, timeout=NEVER) as answer:
                    return answer.read()

            yield ask
        finally:
            process.kill()


def same_answers(ask, path, exactly):
    """The page's files and answers are those of the app here."""
    here = Session(*model_file.load(path))
    for content in (png(noise()), png(noise(1), "JPEG"), png(noise(2), "WEBP"), png(noise(3), "TIFF")):
        answer, expected = json.loads(ask("/api/picture", content)), here.picture(content)
        got, wanted = answer["top"], expected["top"]
        assert [row["index"] for row in got] == [row["index"] for row in wanted]
        for a, b in zip(got, wanted):
            assert a["probability"] == (b["probability"] if exactly else pytest.approx(b["probability"], abs=2e-6))
        question = json.dumps({"picture": answer["picture"], "k": 1}).encode()
        assert json.loads(ask("/api/evidence", question, "application/json"))["map"]["shape"] == [10, 10]
    for name in ("index.html", "app.js", "app.css"):
        page = ROOT / "minicnn" / "app" / "page" / name
        assert ask("/" if name == "index.html" else f"/{name}") == page.read_bytes()


def test_the_folder_serves_the_same_answers_without_any_other_package(read_only_run, tmp_path):
    path = read_only_run / "best.safetensors"
    assert export(path, tmp_path / "out") == ["README.md", "app.py", "best.safetensors", "minicnn", "requirements.txt"]
    with started(sys.executable, "-c", ONLY, tmp_path / "out", where=tmp_path) as ask, minicnn.cpu_path("numpy"):
        same_answers(ask, path, exactly=True)              # NumPy's path on both sides
        assert json.loads(ask("/api/about"))["teach"] is None
    parts = {p.name for p in (tmp_path / "out" / "minicnn").iterdir() if p.is_dir()} - {"__pycache__"}
    assert not parts & {"cli", "course", "train", "lab", "bench", "gpu"}
    assert not list((tmp_path / "out").rglob("*.gz"))
    assert (tmp_path / "out" / "best.safetensors").read_bytes() == path.read_bytes()
    assert (tmp_path / "out" / "minicnn" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_what_it_needs_is_what_minicnn_needs(tmp_path):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert sorted(requirements()) == sorted(w for w in wanted if w.startswith(NEEDED))
    assert len(requirements()) == 3


def test_a_folder_that_holds_something_is_kept(read_only_run, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError, match="holds something already"):
        export(read_only_run / "best.safetensors", tmp_path)
    with pytest.raises(FileExistsError):
        export(read_only_run / "best.safetensors", tmp_path / "mine")
    assert os.listdir(tmp_path) == ["mine"]
    with pytest.raises(FileNotFoundError):
        export(tmp_path / "none.safetensors", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_exported_folder_is_a_model_for_the_other_verbs(read_only_run, tmp_path, monkeypatch, capsys):
    from tests.program import caller, document

    export(read_only_run / "best.safetensors", tmp_path / "out")
    (tmp_path / "x.png").write_bytes(png(noise()))
    minicnn_ = caller(monkeypatch, capsys)
    answers = [document(minicnn_("predict", run, tmp_path / "x.png", "--json")[1])[0]["classes"]
               for run in (read_only_run, tmp_path / "out")]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_fresh_environment_with_its_requirements_alone(read_only_run, tmp_path):
    """Downloads NumPy, Pillow and threadpoolctl."""
    path = read_only_run / "best.safetensors"
    export(path, tmp_path / "out")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
                           tmp_path / "out" / "requirements.txt"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no packages can be downloaded: {done.stderr[-200:]}")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    with started(python, tmp_path / "elsewhere" / "app.py", "--port", "0", "--no-browser", where=tmp_path) as ask:
        same_answers(ask, path, exactly=False)
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format", "json"])
    assert {p["name"].lower() for p in json.loads(listed)} <= {*NEEDED, "pip", "setuptools"}
