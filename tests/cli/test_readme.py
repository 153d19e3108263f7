"""The README's promises: its first snippet's result, its sizes, and the commands that it shows after `make demo`."""

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from minicnn.cli.app import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
CORE = ("tensor.py", "geometry.py", "device.py", "reference.py", "gradient_check.py", "ops", "nn")


def test_the_first_snippet_prints_about_what_its_comment_says():
    block = next(code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "backward" in code)
    said = re.search(r"# ([\d.]+) % of ([\d,]+) test digits right\n", block)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})
    found = re.fullmatch(r"([\d.]+) % of ([\d,]+) test digits right\n", printed.getvalue())
    assert found, printed.getvalue()
    assert found[2] == said[2]
    assert float(found[1]) == pytest.approx(float(said[1]), abs=2), "another machine adds in another order"


def test_the_size_of_the_core():
    """To a hundred lines or so: the sentence says "about"."""
    names, said = re.search(r"The core \(([\w, ]+)\) is about ([\d,]+) lines", TEXT).groups()
    assert [name.removesuffix(".py") for name in CORE] == names.split(", ")
    patterns = (name if name.endswith(".py") else f"{name}/*.py" for name in CORE)
    files = [file for pattern in patterns for file in (ROOT / "minicnn").glob(pattern)]
    assert len(files) > 20
    lines = sum(len(file.read_text("utf-8").splitlines()) for file in files)
    assert int(said.replace(",", "")) == pytest.approx(lines, abs=150)


def test_the_commands_work_after_make_demo(trained, monkeypatch, tmp_path):
    """On a run of the same form; `make demo` installs what they import."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(trained)
    commands = re.findall(r"^\$ \.venv/bin/minicnn (.*)$", TEXT, re.MULTILINE)
    assert len(commands) >= 4
    if not (trained / "sample.png").exists():                    # --json leaves it out
        from PIL import Image

        from tests.train.tiny import TINY

        Image.fromarray(TINY.test.images[0, 0]).save(trained / "sample.png")
    for command in commands:
        if "--onnx" in command:
            pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
        monkeypatch.setattr("sys.argv", ["minicnn", *shlex.split(command)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0, command


def test_make_demo_installs_what_the_commands_need():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    installed = re.search(r"^\$\(VENV\)/\.demo:.*\n.*'\.\[(.*)\]'", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert {"plot", "onnx"} <= set(installed.split(",")) <= set(extras)
