"""PyTorch's process: the same cases with the same numbers, in both of its memory layouts. Needs NumPy and torch alone.

What minicnn was given, and what it answered, comes in the .npz file spec["compare"].
"""

from __future__ import annotations

import copy
import os
import platform

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - so its users call it

from benchmarks import torch_nets
from benchmarks.worker import serve

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def conv(spec):
    """One convolution: forward, and forward with dx, dw and db, in each layout."""
    case, given = spec["case"], given_numbers(spec)
    options = {"stride": case["stride"], "padding": case["padding"], "groups": case["groups"]}

    def forward(x, w, b):
        return F.conv2d(x, w, b, **options)

    def whole(x, w, b, dy):
        x, w, b = (a.detach().requires_grad_() for a in (x, w, b))
        y = forward(x, w, b)
        return y.detach(), *torch.autograd.grad(y, (x, w, b), dy)

    exact = whole(*(given[k].double() for k in ("x", "w", "b", "dy")))
    names, calls, error = ("y", "dx", "dw", "db"), {}, {}
    for name, layout in LAYOUTS.items():
        x, w, dy = (laid(given[k], layout) for k in ("x", "w", "dy"))
        b = given["b"]
        error[name] = {k: off(a, e) for k, a, e in zip(names, whole(x, w, b, dy), exact)}
        calls[f"{name}/forward"] = quiet(lambda x=x, w=w, b=b: forward(x, w, b))
        calls[f"{name}/forward+backward"] = lambda x=x, w=w, b=b, dy=dy: whole(x, w, b, dy)
    return calls, {"error": error, "agreement": {k: off(given[k], e) for k, e in zip(names, exact)}}


def layer(spec):
    """One layer, or one step of an optimiser."""
    given = given_numbers(spec)
    if spec["op"] in ("sgd", "adam"):
        return _optimiser(spec, given)
    calls = {}
    for name, layout in LAYOUTS.items():
        if given["x"].ndim != 4 and name != "contiguous":          # there is only one
            continue
        module = _module(spec)
        state = {k.removeprefix("state."): v for k, v in given.items() if k.startswith("state.")}
        module.load_state_dict(state, strict=False)
        x, dy = laid(given["x"], layout).requires_grad_(), laid(given["dy"], layout)
        inputs = (x, *module.parameters())

        def forward(x=x, module=module):
            return F.cross_entropy(x, given["labels"]) if "labels" in given else module(x)

        calls[f"{name}/forward"] = forward
        calls[f"{name}/backward"] = (forward, lambda y, inputs=inputs, dy=dy: torch.autograd.grad(y, inputs, dy))
    agreement = {}
    if any(k.startswith("result.") for k in given):
        module, x = copy.deepcopy(module).double(), given["x"].double().requires_grad_()
        y = F.cross_entropy(x, given["labels"]) if "labels" in given else module(x)
        names = ["dx", *(f"d{k}" for k, _ in module.named_parameters())]
        grads = torch.autograd.grad(y, (x, *module.parameters()), given["dy"].double())
        exact = {"y": y.detach(), **dict(zip(names, grads))}
        agreement = {k: off(given[f"result.{k}"], v) for k, v in exact.items()}
    return calls, {"agreement": agreement}


def _module(spec):
    C, k, s = spec["shape"][1], spec.get("kernel", 2), spec.get("stride", 2)
    return {
        "batch_norm": lambda: torch.nn.BatchNorm2d(C),
        "relu": torch.nn.ReLU,
        "max_pool": lambda: torch.nn.MaxPool2d(k, s),
        "avg_pool": lambda: torch.nn.AvgPool2d(k, s),
        "lrn": lambda: torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0),
        "cross_entropy": torch.nn.Identity,
        "dropout": lambda: torch.nn.Dropout(0.5),
        "linear": lambda: torch.nn.Linear(C, spec.get("outputs", C)),
    }[spec["op"]]()


def _optimiser(spec, given):
    make = {"sgd": lambda p: torch.optim.SGD([p], lr=0.01, momentum=0.9, weight_decay=1e-4),
            "adam": lambda p: torch.optim.Adam([p], lr=0.01)}[spec["op"]]  # fmt: skip

    def ready(dtype):
        p = given["x"].to(dtype).clone().requires_grad_()
        p.grad = given["dy"].to(dtype).clone()
        return p, make(p)

    p, optimizer = ready(torch.float64)
    for _ in range(3):
        optimizer.step()
    agreement = {"p": off(given["result.p"], p.detach())}
    return {"contiguous/forward": ready(torch.float32)[1].step}, {"agreement": agreement}


def net(spec):
    """A whole net: a training step, and answers to 1 and to 32 images."""
    given = given_numbers(spec) if spec.get("compare") else None
    calls, info = {}, {"logits": {}}
    for name in spec.get("layouts", LAYOUTS):
        layout = LAYOUTS[name]
        torch.manual_seed(0)
        model = torch_nets.NETS[spec["name"]]()
        info["parameters"] = sum(p.numel() for p in model.parameters())
        if given:
            load_weights(model, given)
            x, labels = given["x"], given["labels"]
        else:
            count = max(spec["batch"], spec.get("images", 32))
            x, labels = torch.randn(count, *spec["shape"]), torch.zeros(spec["batch"], dtype=torch.long)
        model = model.to(memory_format=layout)
        x = laid(x, layout)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
        infer = answers(model, x)
        if given:
            info["logits"][name] = off(infer(2), given["logits"].double())
        calls[f"{name}/step"] = training_step(model, optimizer, laid(x[: len(labels)], layout), labels)
        for count in spec.get("infer", (1, 32)):
            calls[f"{name}/infer {count}"] = lambda count=count, infer=infer: infer(count)
    return calls, info


def load_weights(model, given):
    """Our weights into their net: every name must be there, in both directions."""
    state = {k.removeprefix("state."): v for k, v in given.items() if k.startswith("state.")}
    theirs = {k for k in model.state_dict() if not k.endswith("num_batches_tracked")}
    if theirs != set(state):
        raise ValueError(f"the two nets name their weights differently: {sorted(theirs ^ set(state))[:4]}")
    model.load_state_dict(state, strict=False)


def training_step(model, optimizer, x, labels):
    """A call that trains on these images once."""
    def step():
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def answers(model, x):
    """A call that answers to so many of these images."""
    def infer(count):
        with torch.inference_mode():
            return model.eval()(x[:count])

    return infer


def given_numbers(spec):
    """What minicnn was given and what it answered, by name."""
    with np.load(spec["compare"]) as file:
        return {name: torch.from_numpy(np.array(file[name], order="C")) for name in file.files}


def laid(a, layout):
    """A copy that lies in memory in this layout."""
    return a.detach().clone().contiguous(memory_format=layout if a.ndim == 4 else torch.contiguous_format)


def quiet(call):
    """The same, nothing recorded."""
    def quiet():
        with torch.inference_mode():
            return call()

    return quiet


def off(value, exact):
    """max|value − exact| / max|exact|"""
    return float((value.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-300))


def about():
    """Versions and threads."""
    return {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve({"conv": conv, "layer": layer, "net": net}, about)
