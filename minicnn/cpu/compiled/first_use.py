"""The first use of this version on a machine: all kernels are compiled, half of them in a second process.

    python -m minicnn.cpu.compiled.first_use               compile all kernels now, if they are not yet there
    python -m minicnn.cpu.compiled.first_use FILE …        compile the kernels of these files and keep them

LLVM compiles one function at a time, so a second core needs a second process. Where there is none, or it fails, this
process compiles everything. What is compiled is kept: the other half is loaded from the cache when it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

from minicnn.cpu import threads

HERE = ("work", "layout", "elements", "batch_norm", "sums", "update", "pool", "direct")
THERE = ("winograd_transforms", "winograd", "depthwise", "softmax")
"""The files whose kernels most nets need, in two halves that take as long. Others are compiled when they are used."""

MODULE = "minicnn.cpu.compiled.first_use"                          # __name__ is "__main__" when run by its name
LINE = "minicnn compiles its kernels for this processor, once; MINICNN_CPU=numpy computes without them\n"


def compile_all(folder: Path) -> None:
    """Compile every kernel and keep it in the folder, with a line, and a bar on a terminal."""
    bar = _Bar(folder)
    child = _start(THERE)
    try:
        for file in HERE:
            _compile(file)
            bar.show()
        while child and child.poll() is None:
            time.sleep(0.05)
            bar.show()
    finally:
        if child:
            child.kill()
            child.wait()
    for file in THERE if child is None or child.returncode else ():
        _compile(file)
        bar.show()
    bar.clear()
    with contextlib.suppress(OSError):
        (folder / "complete").touch()


def _compile(file: str) -> None:
    importlib.import_module(f"minicnn.cpu.compiled.{file}")


def _start(files: tuple[str, ...]) -> subprocess.Popen | None:
    """A second process that compiles these files; None on a single core, and where no Python can be started."""
    python = Path(sys.executable or "")
    if threads._cores() < 2 or not python.name.startswith("python") or getattr(sys, "frozen", False):
        return None
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    try:
        return subprocess.Popen([python, "-m", MODULE, *files], env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    except OSError:
        return None


class _Bar:
    """How many of the kernels are in the folder."""

    def __init__(self, folder: Path):
        self.folder, self.out = folder, sys.stderr
        sources = ((Path(__file__).parent / f"{file}.py").read_text("utf-8") for file in HERE + THERE)
        self.total = sum(text.count("\n@kernel(") for text in sources)
        if self.out:                                               # a program without a console has None
            self.out.write(LINE)

    def show(self) -> None:
        if self.out and self.out.isatty():
            done = min(self.total, len(list(self.folder.glob("*.nbi"))))
            self.out.write(f"\r  {'█' * done}{'░' * (self.total - done)}")
            self.out.flush()

    def clear(self) -> None:
        if self.out and self.out.isatty():
            self.out.write("\r" + " " * (self.total + 2) + "\r")
            self.out.flush()


if __name__ == "__main__":
    from minicnn.cpu.compiled import kernel

    for name in sys.argv[1:]:
        _compile(name)
    kept = kernel.folder()
    if not sys.argv[1:] and kept and not (kept / "complete").exists():
        compile_all(kept)
