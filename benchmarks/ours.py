"""minicnn's process: prepares convolutions, layers and nets for the clock. Started by the harness."""

from __future__ import annotations

import numpy as np

from benchmarks.worker import serve
from minicnn import Tensor, nn, optim
from minicnn.bench import machine
from minicnn.bench.conv import POLICY, WHAT, ConvRun, able, chosen, max_error, workspace
from minicnn.bench.model import NetRun
from minicnn.bench.suite import ConvCase
from minicnn.cpu import layout, threads
from minicnn.ops.softmax import cross_entropy


def conv(spec):
    """One convolution by the policy's choice and by each algorithm of spec["algorithms"] that is able to."""
    case = case_of(spec)
    run = ConvRun(case)
    wanted = spec.get("algorithms")
    names = [POLICY, *(name for name in able(case) if wanted is None or name in wanted)]
    results, calls = {}, {}
    for name in names:
        errors = run.errors(name)
        results[name] = {what: {"error": errors[what], **workspace(call)} for what, call in run.calls(name).items()}
        calls |= {f"{name}/{what}": call for what, call in run.calls(name).items()}
    calls["forward+backward"] = run.whole
    if spec.get("share"):
        y, dx, dw, db = run.whole()
        np.savez(spec["share"], x=run.x, w=run.w, b=run.b, dy=run.dy, y=y, dx=dx, dw=dw, db=db)
    run.forget()
    threads.drop_scratch()
    return calls, {"algorithms": results, "policy": {what: chosen(case, what) for what in WHAT}}


def textbook(spec):
    """The same convolution by im2col as a textbook has it: (N,C,H,W) in memory, NumPy's BLAS on all cores."""
    run = ConvRun(case_of(spec))
    run.x, run.dy = np.ascontiguousarray(run.x), np.ascontiguousarray(run.dy)
    threads.release_blas()
    return run.calls("im2col"), {}


def case_of(spec):
    """The ConvCase that came as JSON."""
    return ConvCase(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec["case"].items()})


def layer(spec):
    """One layer, or one step of an optimiser, forward and backward."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(tuple(spec["shape"]), np.float32)
    if x.ndim == 4:
        x = layout.as_nchw(layout.to_nhwc(x))
    if spec["op"] in ("sgd", "adam"):
        return _optimiser(spec, x, rng)
    return _layer(spec, x, rng)


def _layer(spec, x, rng):
    module, labels = _module(spec), None
    if spec["op"] == "cross_entropy":
        labels = rng.integers(0, x.shape[1], len(x))

    def forward(x=x, module=module):
        leaf = Tensor(x, requires_grad=True)
        return leaf, cross_entropy(leaf, labels) if labels is not None else module(leaf)

    y = forward()[1]
    dy = rng.standard_normal(y.shape, np.float32)
    if dy.ndim == 4:
        dy = layout.as_nchw(layout.to_nhwc(dy))

    def ready():
        module.zero_grad()
        return forward()[1]

    def results(dtype):
        copy = _module(spec).astype(dtype)
        if labels is None:
            copy.load_state_dict({k: v for k, v in module.state_dict().items() if "running" not in k}, strict=False)
        leaf, y = forward(x.astype(dtype), copy)
        y.backward(dy.astype(dtype))
        grads = {f"d{name}": p.grad for name, p in copy.named_parameters()}
        return {"y": y.data, "dx": leaf.grad, **grads}

    info = {}
    if spec["op"] != "dropout":                                    # its masks differ from one competitor to the next
        info["error"] = _error(results("float32"), results("float64"))
    if spec.get("share"):
        state = {f"state.{k}": v for k, v in module.state_dict().items()}
        told = {} if labels is None else {"labels": labels}
        made = {f"result.{k}": v for k, v in results("float32").items()} if "error" in info else {}
        np.savez(spec["share"], x=x, dy=dy, **state, **told, **made)
    return {"forward": forward, "backward": (ready, lambda y: y.backward(dy))}, info


def _module(spec):
    C, k, s = spec["shape"][1], spec.get("kernel", 2), spec.get("stride", 2)
    return {
        "batch_norm": lambda: nn.BatchNorm2d(C),
        "relu": nn.ReLU,
        "max_pool": lambda: nn.MaxPool2d(k, s),
        "avg_pool": lambda: nn.AvgPool2d(k, s),
        "lrn": lambda: nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
        "cross_entropy": nn.Identity,
        "dropout": lambda: nn.Dropout(0.5),
        "linear": lambda: nn.Linear(C, spec.get("outputs", C)),
    }[spec["op"]]()


def _optimiser(spec, values, rng):
    grad = rng.standard_normal(values.shape, np.float32)
    make = {"sgd": lambda p: optim.SGD([p], lr=0.01, momentum=0.9, weight_decay=1e-4),
            "adam": lambda p: optim.Adam([p], lr=0.01)}[spec["op"]]  # fmt: skip

    def stepped(dtype, steps=3):
        p = nn.Parameter(values.astype(dtype))
        p.grad = grad.astype(dtype)
        optimizer = make(p)
        for _ in range(steps):
            optimizer.step()
        return {"p": p.data}

    if spec.get("share"):
        np.savez(spec["share"], x=values, dy=grad, **{"result.p": stepped("float32")["p"]})
    info = {"error": _error(stepped("float32"), stepped("float64"))}
    p = nn.Parameter(values.copy())
    p.grad = grad
    return {"forward": make(p).step}, info


def _error(values, exact):
    return {name: max_error(values[name], exact[name]) for name in exact}


def net(spec):
    """A whole net: a training step, and answers to 1 and to 32 images."""
    run = NetRun(spec["name"], spec.get("batch", 0), images=spec.get("images", 32), options=spec.get("options"))
    if spec.get("share"):
        state = {f"state.{k}": v for k, v in run.net.state_dict().items()}
        np.savez(spec["share"], x=run.x, labels=run.labels, logits=run.infer(2), **state)
    calls = {"step": run.step}
    calls |= {f"infer {count}": lambda count=count: run.infer(count) for count in spec.get("infer", (1, 32))}
    return calls, {"parameters": run.parameters, "batch": run.batch, "shape": list(run.shape)}


def rates(spec):
    """Not a competitor: the machine's own speed, by NumPy's matrix product and copy."""
    small = spec.get("small", False)
    gemm = machine.gemm_rate(256, 0.02) if small else machine.gemm_rate()
    copy = machine.copy_rate(4, 0.02) if small else machine.copy_rate()
    return {}, {"gemm_flops": gemm, "copy_bytes": copy}


def about():
    """Versions and threads."""
    return {**machine.versions(), "threads": threads.num_threads()}


if __name__ == "__main__":
    serve({"conv": conv, "textbook": textbook, "layer": layer, "net": net, "rates": rates}, about)
