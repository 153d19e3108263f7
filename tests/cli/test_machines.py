"""Other machines, simulated: what Linux alone has is gone, the locale is C, nothing can be written at home."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from minicnn import names
from minicnn.data import imagenet
from minicnn.io import model_file
from tests.program import document
from tests.train.tiny import TINY, folder_of_pictures
from tests.work import NEVER

ROOT = Path(__file__).parents[2]

BEGIN = textwrap.dedent("""
    import sys
    # what others import is theirs
    import concurrent.futures.process, ctypes, multiprocessing, os, signal, socket, subprocess, tempfile, threading
    import numpy, PIL.Image
    import rich.console, rich.progress, safetensors.numpy, threadpoolctl, typer
    try:
        import matplotlib.figure
    except ImportError:
        pass
""")
FOREIGN = BEGIN + textwrap.dedent("""
    for name in ("fcntl", "resource", "termios", "pwd", "grp"):          # Windows lacks them
        sys.modules[name] = None
    for name in ("fork", "register_at_fork", "sched_getaffinity", "getuid", "geteuid", "killpg", "setsid",
                 "getloadavg", "fchmod", "chown", "mkfifo"):
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGKILL", "SIGHUP", "SIGALRM"):
        delattr(signal, name)
    real = os.open
    def refuse_folders(path, flags, *more, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)        # Windows opens no folder
        return real(path, flags, *more, **kwargs)
    os.open = refuse_folders
""")
WINDOWS = FOREIGN + textwrap.dedent("""
    import shutil, types
    shutil.which = lambda name: None                                     # these ask Windows itself
    threadpoolctl.sys = types.SimpleNamespace(**vars(sys))
    sys.platform = "win32"
""")
MAC = BEGIN + "sys.platform = 'darwin'\ndel os.sched_getaffinity\n"
END = textwrap.dedent("""
    import json, sys
    from minicnn import data
    from minicnn.cli.app import main
    from tests.train.tiny import TINY
    data.registry.load = lambda name: TINY
    code = 0
    for args in json.loads(sys.argv[1]):
        sys.argv = ["minicnn", *args]
        try:
            main()
        except SystemExit as end:
            code = code or end.code
    sys.exit(code)
""")


def call(script, folder, *commands, **environment):
    """One process, which runs these commands of the program."""
    commands = json.dumps([list(map(str, args)) for args in commands])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MINICNN_CPU": "numpy", **environment}
    done = subprocess.run([sys.executable, "-c", script + END, commands], cwd=folder, env=env, timeout=NEVER,
                          capture_output=True)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize("system", [pytest.param(WINDOWS, id="windows"),
                                    pytest.param(MAC, id="mac", marks=pytest.mark.slow)])
def test_a_net_is_trained_resumed_and_used_on_another_system(tmp_path, system):
    run = tmp_path / "run"
    rc, out, err = call(system, tmp_path, ("train", "digits", "--epochs", 2, "--limit-batches", 2, "--out", run),
                        ("train", "--resume", run), ("predict", run, run / "sample.png"), ("devices",))
    assert (rc, "Traceback" in err) == (0, False), err
    assert ("can't be locked (this system has no locks of files)" in err) == (system is WINDOWS)
    assert out.count("digits, test: ") == 2
    assert "sample.png: " in out
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert not list(run.glob("*.lock")) + list(run.glob(".*"))


def test_a_suggested_command_is_quoted_as_the_shell_reads_it(monkeypatch):
    assert names.quoted("it's") == "'it'\"'\"'s'"
    monkeypatch.setattr(names, "WINDOWS", True)
    assert [names.quoted(word) for word in (r"C:\my photos", "a")] == [r'"C:\my photos"', "a"]


BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii", "MINICNN_HOME": "",
        "HOME": "/proc/nobody", "XDG_CACHE_HOME": "", "TERM": "dumb"}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and names of files as bytes, are Linux's")
def test_neither_a_locale_nor_a_home_is_needed(tmp_path, rng):
    """Class names beyond ASCII are read from folders, kept in the model file and printed, as far as that goes."""
    folder_of_pictures(tmp_path / "Tiere", rng, per_class=6, classes=("Käfer", "鳥"), size=(12, 12))
    run = tmp_path / "run"
    args = ("train", tmp_path / "Tiere", "--model", "lenet5:caffe", "--size", 28, "--epochs", 1, "--limit-batches", 1,
            "--batch-size", 4, "--out", run)
    rc, out, err = call("import sys\nsys.modules['matplotlib.figure'] = None\n", tmp_path, args, **BARE)
    assert (rc, err) == (0, "no pictures: pictures need matplotlib: install it with `pip install matplotlib`\n")
    assert out.isascii()
    assert model_file.description(run / "best.safetensors").classes == ["Käfer", "鳥"]
    rc, out, err = call("import sys\n", tmp_path, ("predict", run, tmp_path / "Tiere", "--json"), **BARE)
    assert (rc, err) == (0, "")
    assert len(document(out)) == 12


@pytest.mark.skipif(sys.platform != "linux", reason="names of files as bytes are Linux's")
def test_a_name_that_is_no_text_reaches_the_model_file(tmp_path):
    """Latin-1 on a disk that is read as UTF-8: the class gets a name that can be written, the path stays as it is."""
    assert imagenet.class_name("K\udce4fer") == "K\\xe4fer"
    assert imagenet.class_name("K\udcc3\udca4fer") == "Käfer", "UTF-8 in the locale C"
    assert [imagenet.class_name(name) for name in ("Käfer", "n01440764", "")] == ["Käfer", "tench", ""]
    from minicnn import models

    net = models.build("lenet5", num_classes=10)
    about = model_file.Description.of("lenet5", {"num_classes": 10}, TINY.classes, TINY.preprocessing,
                                      trained_on="/data/K\udce4fer")  # fmt: skip
    model_file.save(tmp_path / "net.safetensors", net, about)
    assert model_file.description(tmp_path / "net.safetensors").trained_on == "/data/K\udce4fer"
    assert np.isfinite(model_file.load(tmp_path / "net.safetensors")[0].state_dict()["features.0.weight"]).all()
