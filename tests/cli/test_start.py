"""What starting the program costs, in modules: a verb that computes nothing loads nothing that computes or draws."""

import json
import subprocess
import sys

import pytest

from minicnn.cli import app, console

HEAVY = ("matplotlib", "onnx", "onnxruntime", "safetensors", "PIL", "pooch", "numpy.testing", "minicnn.train",
         "minicnn.io", "minicnn.ops_table", "minicnn.bench")  # fmt: skip
NETS = ("minicnn.nn", "minicnn.models", "minicnn.inspect")
ENGINE = ("numpy", "threadpoolctl", "minicnn.tensor", "minicnn.devices")
DATA = ("minicnn.data",)
LIGHT_HELP = ("cite", "compare", "course", "data", "datasets", "devices", "diff", "export", "models", "predict",
              "shape", "summary")  # fmt: skip
"""Verbs whose --help needs no engine: their options name nothing that the engine defines."""
SCRIPT = """
import json, sys
from minicnn.cli.app import main
sys.argv = ["minicnn", *{args!r}]
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize(("args", "unwanted"), [
    ([], HEAVY + NETS + DATA + ENGINE),
    (["--help"], HEAVY + NETS + DATA + ENGINE),
    (["shape", "227", "-k", "11", "-s", "4"], HEAVY + NETS + DATA + ENGINE),
    *(pytest.param([verb, "--help"], HEAVY + NETS + DATA + ENGINE, marks=[pytest.mark.slow] * (i > 2))
      for i, verb in enumerate(LIGHT_HELP)),
    (["devices"], HEAVY + NETS + DATA + ("minicnn.tensor",)),
    (["datasets"], [name for name in HEAVY if name not in ("PIL",)] + list(NETS)),
    (["models"], [*HEAVY, *DATA, "minicnn.inspect"]),
    (["cite", "lenet5"], HEAVY + DATA),
], ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "")  # fmt: skip
def test_a_verb_loads_only_what_it_needs(args, unwanted):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(args=args)], capture_output=True, text=True)
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert [name for name in unwanted if name in loaded] == []
    assert len([name for name in loaded if name.startswith("minicnn.cli.")]) <= 6, "the code of no other verb"


def test_the_engine_loads_numpy_alone():
    code = "import sys; from minicnn import Tensor; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    outside = {name for name in loaded if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert outside <= {"minicnn", "numpy", "threadpoolctl", "sitecustomize", "cython_runtime"}


def test_the_first_screen_says_what_each_verb_says():
    """The table of verbs repeats no docstring, but names every file and function that it needs."""
    for name, verb in app.VERBS.items():
        command = app.load(name)
        assert command.name == name
        assert command.help
        assert verb.examples
        assert verb.help.endswith(".")
        assert len(verb.help) <= 64, "one line at 80 columns"


def test_the_package_runs_as_the_program():
    done = subprocess.run([sys.executable, "-m", "minicnn", "shape", "28", "-k", "5"], capture_output=True, text=True,
                          check=True)
    assert "24" in done.stdout


def test_a_command_that_is_suggested_can_be_called(monkeypatch):
    monkeypatch.setattr(console.shutil, "which", lambda name: None)
    for called, wanted in (("/a/minicnn/__main__.py", f"{sys.executable} -m minicnn"), (__file__, __file__),
                           ("/nowhere/minicnn", "minicnn")):
        monkeypatch.setattr(sys, "argv", [called])
        assert console.program() == wanted
