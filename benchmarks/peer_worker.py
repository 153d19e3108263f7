"""The worker process of another package: ONNX Runtime (inference) or tinygrad (LeNet-5), on the same numbers.

    python -m benchmarks.peer_worker onnxruntime        started by harness.py; needs NumPy and the package

minicnn's weights, images and logits come in the .npz file spec["compare"], the net for ONNX Runtime beside it.
"""

import importlib.metadata
import os
import platform
import sys
from importlib import import_module

import numpy as np

from benchmarks.worker import serve

PACKAGE = sys.argv[1]
THREADS = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
LIMIT = 1e-4
"""The largest allowed error of the logits, as a share of the largest one."""


def onnxruntime(given, weights, spec):
    """minicnn's own ONNX export. → (inference, no training step)"""
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(f"{spec['compare']}.onnx", options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0], None


def tinygrad(given, weights, spec):
    """LeNet-5, captured by TinyJit, and SGD with momentum. → (inference, training step)"""
    grad, context = import_module("tinygrad"), import_module("tinygrad.helpers").Context
    p = [grad.Tensor(a).realize() for a in weights]
    optimizer = grad.nn.optim.SGD(p, lr=1e-6, momentum=0.9)
    labels = grad.Tensor(given["labels"].astype(np.int32)).realize()
    batch, jits = grad.Tensor(given["x"][: len(given["labels"])]).realize(), {}

    def forward(x):
        x = x.conv2d(p[0], p[1], padding=2).relu().max_pool2d(2).conv2d(p[2], p[3]).relu().max_pool2d(2).flatten(1)
        x = x.linear(p[4].T, p[5]).relu().linear(p[6].T, p[7]).relu()
        return x.linear(p[8].T, p[9])

    @grad.TinyJit
    def captured():
        optimizer.zero_grad()
        loss = forward(batch).sparse_categorical_crossentropy(labels).backward()
        optimizer.step()
        return loss.realize()

    @context(TRAINING=1)
    def step(): return captured().item()

    def infer(x):
        jit = jits.setdefault(len(x), grad.TinyJit(lambda x: forward(x).realize()))
        return jit(grad.Tensor(x).realize()).numpy()

    return infer, step


def net(spec):
    """A net: inference on 1 and on 32 images, and a training step where the package trains."""
    with np.load(spec["compare"]) as file:
        given = {name: np.ascontiguousarray(file[name]) for name in file.files}
    weights = [a for name, a in given.items() if name.startswith("state.")]             # in the order of the layers
    infer, step = {"onnxruntime": onnxruntime, "tinygrad": tinygrad}[PACKAGE](given, weights, spec)
    off = float(np.abs(infer(given["x"][:2]) - given["logits"]).max() / np.abs(given["logits"]).max())
    calls = {f"own/infer {n}": lambda x=given["x"][:n]: infer(x) for n in spec.get("infer", (1, 32))}
    return calls | ({"own/step": step} if step else {}), {"check": {"logits": (off, LIMIT)}}


def about():
    """Versions and threads."""
    return {"python": platform.python_version(), PACKAGE: importlib.metadata.version(PACKAGE), "numpy": np.__version__,
            "threads": THREADS}


if __name__ == "__main__":
    serve({"net": net}, about)
