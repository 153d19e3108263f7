"""Starting a program on several ranks, where that is possible."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BESIDE = Path(sys.executable).parent / "mpiexec"           # of the wheel of MPICH
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")


def environment(**more):
    """Single-threaded ranks that find this source tree; no variable of another launcher."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "MPI", "OMPI", "SLURM"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MINICNN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **more}


def command(size, *program, options=()):
    """The command line; the test is skipped where there is no MPI."""
    if importlib.util.find_spec("mpi4py") is None or MPIEXEC is None:
        pytest.skip('mpi4py or mpiexec is not installed: pip install "minicnn-numpy[mpi]"')
    return [MPIEXEC, *options, "-n", str(size), sys.executable, *program]


def launch(size, *program, timeout=600, options=(), cwd=None, **more):
    """Run a program of Python on `size` ranks, with more environment variables. → subprocess.CompletedProcess"""
    return subprocess.run(command(size, *program, options=options), capture_output=True, text=True, timeout=timeout,
                          env=environment(**more), cwd=cwd)  # fmt: skip


def aborted(ended, code):
    """Whether one rank ended all with this exit code. mpiexec gives it, or 9 for another rank that it had to kill."""
    return ended.returncode in (code, 9)
