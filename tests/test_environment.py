"""The facts about the machine that results carry: they are the same before and after a computation."""

import os
import subprocess
import sys

CODE = """
import numpy as np
from minicnn import Tensor, ops
from minicnn.environment import environment
before = environment()
ops.linear(Tensor(np.ones((256, 256))), Tensor(np.ones((256, 256))))
assert environment() == before, (before, environment())
"""


def test_a_computation_changes_no_fact():
    """Without OPENBLAS_NUM_THREADS: minicnn limits BLAS at its first computation."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=free)
    assert ended.returncode == 0, ended.stderr
