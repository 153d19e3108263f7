"""PyTorch's worker process: the same cases with the same numbers, in both memory layouts. Needs only NumPy and torch.

    python -m benchmarks.torch_worker DEVICE PRECISION…        started by harness.py; on a GPU: cuda fp32 tf32
    python -m benchmarks.torch_worker cpu compile              nets through torch.compile

minicnn's arguments and results come in the .npz file spec["compare"]. On a GPU every call runs in each precision.
"""

import copy
import os
import platform
import sys

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's usual name

from benchmarks import torch_nets
from benchmarks.worker import event_clock, serve, timing

DEVICE, *PRECISIONS = sys.argv[1:] or ["cpu"]
COMPILE = PRECISIONS == ["compile"]
PRECISIONS = [] if COMPILE else PRECISIONS
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BOTH = "forward+backward"


def variants(calls):
    """The calls in each precision: {"contiguous/forward, fp32": …}; on a CPU, which has one, unchanged."""
    def rounded(allowed, call):
        def called():
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
            return call()

        return called

    return {f"{name}, {precision}": rounded(precision == "tf32", call)
            for precision in PRECISIONS for name, call in calls.items()} if PRECISIONS else calls  # fmt: skip


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

    names, calls = ("y", "dx", "dw", "db"), {}
    torch.backends.cudnn.benchmark = False                         # float64 is computed once, by any algorithm
    exact = whole(*(given[k].double() for k in ("x", "w", "b", "dy")))
    torch.backends.cudnn.benchmark = True                          # cuDNN tries its algorithms and keeps the fastest
    for layout, form in LAYOUTS.items():
        x, w, dy = (laid(given[k], form) for k in ("x", "w", "dy"))
        b = given["b"]
        calls[f"{layout}/forward"] = torch.inference_mode()(lambda x=x, w=w, b=b: forward(x, w, b))
        calls[f"{layout}/{BOTH}"] = lambda x=x, w=w, b=b, dy=dy: whole(x, w, b, dy)
    calls = variants(calls)
    error = {name.replace(f"/{BOTH}", ""): {k: off(a, e) for k, a, e in zip(names, call(), exact)}
             for name, call in calls.items() if BOTH in name}  # fmt: skip
    return calls, {"error": error, **agreement({k: (given[k], e) for k, e in zip(names, exact)})}


def layer(spec):
    """One layer, or one step of an optimiser."""
    given = given_numbers(spec)
    if "options" in spec:
        return _optimiser(spec, given)
    calls, labels = {}, [given["labels"]] if "labels" in given else []
    for name, layout in LAYOUTS.items():
        if given["x"].ndim != 4 and name != "contiguous":          # a matrix has one layout
            continue
        module = getattr(torch.nn, spec["op"])(*spec.get("arguments", ()))
        module.load_state_dict(state_of(given), strict=False)
        x, dy = laid(given["x"], layout).requires_grad_(), laid(given["dy"], layout)
        inputs = (x, *module.parameters())
        calls[f"{name}/forward"] = forward = lambda x=x, module=module: module(x, *labels)
        calls[f"{name}/backward"] = (forward, lambda y, inputs=inputs, dy=dy: torch.autograd.grad(y, inputs, dy))
    pairs = {}
    if any(k.startswith("result.") for k in given):
        module, x = copy.deepcopy(module).double(), given["x"].double().requires_grad_()
        y = module(x, *labels)
        names = ["dx", *(f"d{k}" for k, _ in module.named_parameters())]
        grads = torch.autograd.grad(y, (x, *module.parameters()), given["dy"].double())
        pairs = {k: (given[f"result.{k}"], v) for k, v in {"y": y.detach(), **dict(zip(names, grads))}.items()}
    return calls, agreement(pairs)


def _optimiser(spec, given):
    def ready(dtype):
        p = given["x"].to(dtype).clone().requires_grad_()
        p.grad = given["dy"].to(dtype).clone()
        return p, getattr(torch.optim, spec["op"])([p], **spec["options"])

    p, optimizer = ready(torch.float64)
    for _ in range(3):
        optimizer.step()
    return {"contiguous/forward": ready(torch.float32)[1].step}, agreement({"p": (given["result.p"], p.detach())})


def net(spec):
    """A whole net: a training step, and inference on 1 and on 32 images, in each layout."""
    given = given_numbers(spec) if spec.get("compare") else None
    calls, info = {}, {"logits": {}}
    for name in ["channels_last"] if COMPILE else spec.get("layouts", LAYOUTS):  # Inductor lays images out itself
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
        model, x = model.to(DEVICE, memory_format=layout), laid(x, layout)
        model = torch.compile(model, dynamic=False) if COMPILE else model
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

        def step(model=model, optimizer=optimizer, x=laid(x[: len(labels)], layout), labels=labels):  # noqa: B008
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()

        def infer(count, model=model, x=x):
            images, without = x[:count], torch.no_grad if COMPILE else torch.inference_mode
            return without()(lambda: model.eval()(images))

        if given:
            answer = next(iter(variants({"": infer(2)}).values()))()
            info["logits"][name] = off(answer, given["logits"].double())
        calls[f"{name}/step"] = step
        calls |= {f"{name}/infer {count}": infer(count) for count in spec.get("infer", (1, 32))}
    info["check"] = {f"logits, {name}": (error, 1e-3 if PRECISIONS else 1e-4) for name, error in info["logits"].items()}
    return variants(calls), info


def load_weights(model, given):
    """Load minicnn's weights into PyTorch's net: the names must be the same."""
    state = state_of(given)
    own = {k for k in model.state_dict() if not k.endswith("num_batches_tracked")}
    if own != set(state):
        raise ValueError(f"the nets of minicnn and torch_nets.py differ in the weights {sorted(own ^ set(state))[:4]}")
    model.load_state_dict(state, strict=False)


def state_of(given):
    """The weights among the given numbers."""
    return {k.removeprefix("state."): v for k, v in given.items() if k.startswith("state.")}


def given_numbers(spec):
    """minicnn's arguments and results, by name."""
    with np.load(spec["compare"]) as file:
        return {name: torch.from_numpy(np.array(file[name], order="C")).to(DEVICE) for name in file.files}


def laid(a, layout):
    """A copy with this memory layout."""
    return a.detach().to(DEVICE).clone().contiguous(memory_format=layout if a.ndim == 4 else torch.contiguous_format)


def agreement(pairs):
    """The errors of minicnn's results against PyTorch's float64. pairs: {name: (result, exact)}"""
    errors = {name: off(value, exact) for name, (value, exact) in pairs.items()}
    return {"agreement": errors, "check": {f"{k} against PyTorch's float64": (e, 1e-3) for k, e in errors.items()}}


def off(value, exact):
    """max|value − exact| / max|exact|"""
    return float((value.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-300))


def about():
    """Versions, threads, the GPU."""
    own = {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    if DEVICE == "cuda":
        own |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                "gpu": torch.cuda.get_device_name()}  # fmt: skip
    return own


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.backends.cudnn.benchmark, clock = True, timing.time_calls
    if DEVICE == "cuda":
        clock = event_clock(lambda: torch.cuda.Event(enable_timing=True), lambda a, b: a.elapsed_time(b))
    serve({"conv": conv, "layer": layer, "net": net}, about, clock)
