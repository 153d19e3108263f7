"""The worker process of another package: ONNX Runtime (inference), tinygrad and DeZero (LeNet-5), on the same numbers.

    python -m benchmarks.peer_worker onnxruntime        started by harness.py; needs NumPy and the package

minicnn's weights, images and logits come in the .npz file spec["compare"], the net for ONNX Runtime beside it.
"""

import importlib
import importlib.metadata
import os
import platform
import sys

import numpy as np

from benchmarks.worker import serve

PACKAGE = sys.argv[1]
THREADS = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
CONVOLUTIONS, MATRICES = ("features.0", "features.3"), ("classifier.1", "classifier.3", "classifier.5")
LIMIT = 1e-4
"""The largest allowed error of the logits, as a share of the largest one."""


def onnxruntime(given, spec):
    """Inference on minicnn's own ONNX export."""
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = ort.InferenceSession(f"{spec['compare']}.onnx", options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0], None


def tinygrad(given, spec):
    """LeNet-5 and SGD with momentum, each step captured by TinyJit."""
    grad, nn = importlib.import_module("tinygrad"), importlib.import_module("tinygrad.nn")
    context = importlib.import_module("tinygrad.helpers").Context
    weights = {k: grad.Tensor(given[f"state.{k}"]).realize() for k in names(given)}

    def forward(x):
        for k, pad in zip(CONVOLUTIONS, (2, 0)):
            x = x.conv2d(weights[f"{k}.weight"], weights[f"{k}.bias"], padding=pad).relu().max_pool2d(2)
        x = x.flatten(1)
        for k in MATRICES:
            x = x.linear(weights[f"{k}.weight"].T, weights[f"{k}.bias"])
            x = x if k == MATRICES[-1] else x.relu()
        return x

    optimizer = nn.optim.SGD(list(weights.values()), lr=1e-6, momentum=0.9)
    labels = grad.Tensor(given["labels"].astype(np.int32)).realize()
    batch = grad.Tensor(given["x"][: len(given["labels"])]).realize()

    @grad.TinyJit
    def trained():
        optimizer.zero_grad()
        loss = forward(batch).sparse_categorical_crossentropy(labels).backward()
        optimizer.step()
        return loss.realize()

    @context(TRAINING=1)
    def step(): return trained().item()

    jits = {}

    def infer(x):
        jit = jits.setdefault(len(x), grad.TinyJit(lambda x: forward(x).realize()))
        return jit(grad.Tensor(x).realize()).numpy()

    return infer, step


def dezero(given, spec):
    """LeNet-5 and SGD with momentum on NumPy."""
    setattr(np, "int", int)                                        # noqa: B010 - DeZero is for an older NumPy
    zero, F = importlib.import_module("dezero"), importlib.import_module("dezero.functions")
    optimizers = importlib.import_module("dezero.optimizers")

    class LeNet(zero.Model):
        def __init__(self):
            super().__init__()
            for i, k in enumerate(names(given)):
                value = given[f"state.{k}"]
                setattr(self, f"p{i}", zero.Parameter(np.array(value.T if value.ndim == 2 else value)))

        def forward(self, x):
            p = [getattr(self, f"p{i}") for i in range(10)]
            x = F.pooling(F.relu(F.conv2d(x, p[0], p[1], pad=2)), 2, 2)
            x = F.flatten(F.pooling(F.relu(F.conv2d(x, p[2], p[3])), 2, 2))
            x = F.relu(F.linear(F.relu(F.linear(x, p[4], p[5])), p[6], p[7]))
            return F.linear(x, p[8], p[9])

    model = LeNet()
    optimizer = optimizers.MomentumSGD(1e-6, 0.9).setup(model)

    def step():
        loss = F.softmax_cross_entropy(model(given["x"][: len(given["labels"])]), given["labels"])
        model.cleargrads()
        loss.backward()
        optimizer.update()

    def infer(x):
        with zero.no_grad():
            return model(x).data

    return infer, step


def names(given):
    """The names of LeNet-5's weights in order."""
    return [f"{k}.{kind}" for k in (*CONVOLUTIONS, *MATRICES) for kind in ("weight", "bias")]


def net(spec):
    """A net: inference on 1 and on 32 images, and a training step where the package trains."""
    with np.load(spec["compare"]) as file:
        given = {name: np.ascontiguousarray(file[name]) for name in file.files}
    infer, step = {"onnxruntime": onnxruntime, "tinygrad": tinygrad, "dezero": dezero}[PACKAGE](given, spec)
    off = float(np.abs(infer(given["x"][:2]) - given["logits"]).max() / np.abs(given["logits"]).max())
    calls = {f"own/infer {n}": lambda x=given["x"][:n]: infer(x) for n in spec.get("infer", (1, 32))}
    return calls | ({"own/step": step} if step else {}), {"check": {"logits": (off, LIMIT)}}


def about():
    """Versions and threads."""
    return {"python": platform.python_version(), PACKAGE: importlib.metadata.version(PACKAGE), "numpy": np.__version__,
            "threads": THREADS}


if __name__ == "__main__":
    serve({"net": net}, about)
