"""The compiled CPU backend: the same primitives as minicnn.cpu, as loops in Python that numba compiles.

Read `relu` in elements.py first, then convolution: microkernel.py, direct.py. A primitive's file is imported, and with
it numba, when the primitive is first used. What a file has no kernel for it leaves to the NumPy backend: each says so
in its first lines, and tests/cpu/test_compiled.py lists it.
"""

import importlib
import sys

import numpy as xp  # noqa: F401 - part of the device protocol

from minicnn import cpu
from minicnn.cpu import add_at, asarray, name, path, synchronize, to_numpy  # noqa: F401 - the same on both

recomputes_relu = True                                             # one pass over memory less

PRIMITIVES = {
    "conv2d": "conv", "conv2d_dx": "conv", "conv2d_dw": "conv",
    "max_pool2d": "pool", "max_pool2d_dx": "pool", "avg_pool2d": "pool", "avg_pool2d_dx": "pool", "lp_pool2d": "pool",
    "lp_pool2d_dx": "pool",
    "cross_entropy": "softmax", "cross_entropy_dx": "softmax", "sgd_update": "update", "adam_update": "update",
    "dropout_mask": "dropout", "local_response_norm": "lrn", "local_response_norm_dx": "lrn",
    "evaluate": "activations",
    "relu": "elements", "relu_dx": "elements", "add": "elements", "add_relu": "elements",
    "batch_norm_apply": "batch_norm", "batch_norm_dx": "batch_norm",
    "batch_norm_stats": "sums", "batch_norm_sums": "sums", "channel_sums": "sums",
}  # fmt: skip
"""The primitives that have kernels, and the file of each."""

FILES = ("work", "elements", "batch_norm", "sums", "pool", "softmax", "update", "layout", "direct",
         "winograd_transforms", "winograd", "depthwise")  # fmt: skip
"""The files whose kernels most nets need, in the order in which they are compiled; others when they are first used."""


def __getattr__(attribute):
    """Import a primitive's file when it is first used; the NumPy backend's function if it has none."""
    if attribute not in cpu.__all__:                               # a file of this package, for example
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    file = PRIMITIVES.get(attribute)
    if file is None:
        return getattr(cpu, attribute)
    try:
        from minicnn.cpu.compiled import kernel
    except ImportError as problem:                                 # numba is broken
        path.unusable(problem)
        return getattr(cpu, attribute)
    _compile_all(kernel)
    function = getattr(importlib.import_module(f"minicnn.cpu.compiled.{file}"), attribute)
    globals()[attribute] = function
    return function


def _compile_all(kernel):
    """Compile every kernel the first time that this version runs on this machine, with a bar on a terminal."""
    folder = kernel.folder()
    if folder is None or (folder / "complete").exists():
        return
    out = sys.stderr
    out.write("minicnn compiles its kernels for this processor, once; MINICNN_CPU=numpy computes without them\n")
    for count, file in enumerate(FILES):
        if out.isatty():
            out.write(f"\r  {'█' * count}{'░' * (len(FILES) - count)} {file:<12}")
            out.flush()
        importlib.import_module(f"minicnn.cpu.compiled.{file}")
    if out.isatty():
        out.write("\r" + " " * (len(FILES) + 20) + "\r")
    (folder / "complete").touch()
