"""How tests call the program `minicnn`: in this process, or as a real one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minicnn.cli import console
from minicnn.cli.app import main
from tests.work import NEVER

SCRIPT = Path(sys.executable).with_name("minicnn")


def caller(monkeypatch, capsys):
    """A function that calls the program in this process. → (exit code, stdout, stderr)"""
    monkeypatch.setattr(console, "PIPE_SECONDS", math.inf)   # no line that only a slow machine prints

    def call(*args):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["minicnn", *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return exit_.value.code, out, err

    return call


def document(text):
    """The one JSON document that `text` is; Infinity and NaN, which other languages can't read, are refused."""
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def sentence(err, code, rc):
    """The sentence after "error: ", which is all that stderr holds."""
    assert rc == code, err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    return err.removeprefix("error: ").rstrip("\n")


def process(*args, **more):
    """A real process, its environment `more` than this one's."""
    if not SCRIPT.exists():
        pytest.skip(f"minicnn is not installed beside {sys.executable}")
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([SCRIPT, *map(str, args)], capture_output=True, text=True, env={**env, **more}, timeout=NEVER)
