"""The compiled CPU backend: the same primitives as minicnn.cpu, as loops in Python that numba compiles.

Read `relu` in elements.py first, then convolution: microkernel.py, direct.py. A primitive's file is imported, and with
it numba, when the primitive is first used. What a file has no kernel for it leaves to the NumPy backend: each says so
in its first lines, and tests/cpu/compiled lists it.
"""

import importlib

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


def __getattr__(attribute):
    """Import a primitive's file when it is first used; the NumPy backend's function if it has none."""
    if attribute not in cpu.__all__:                               # a file of this package, for example
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    file = PRIMITIVES.get(attribute)
    if file is None:
        return getattr(cpu, attribute)
    try:
        from minicnn.cpu.compiled import kernel
    except Exception as problem:                                   # numba is broken
        path.unusable(problem)
        globals()[attribute] = getattr(cpu, attribute)
        return globals()[attribute]
    folder = kernel.folder()
    if folder and not (folder / "complete").exists():
        from minicnn.cpu.compiled import first_use
        first_use.compile_all(folder)
    function = getattr(importlib.import_module(f"minicnn.cpu.compiled.{file}"), attribute)
    globals()[attribute] = function
    return function
