"""PyTorch's process on the GPU: the same cases with the same numbers through cuDNN and cuBLAS, in float32 and in TF32,
in both memory layouts. Needs NumPy and torch alone. MINICNN_BENCH_TORCH_DEVICE=cpu tries it without a GPU.
"""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F  # noqa: N812 - so its users call it

from benchmarks import torch_nets
from benchmarks.gpu_clock import event_clock
from benchmarks.torch_worker import LAYOUTS, answers, given_numbers, laid, load_weights, off, quiet, training_step
from benchmarks.torch_worker import about as about_torch
from benchmarks.worker import serve, timing

DEVICE = os.environ.get("MINICNN_BENCH_TORCH_DEVICE", "cuda")
PRECISIONS = {"fp32": False, "tf32": True}
"""Whether products of float32 may be rounded to TF32. PyTorch's convolutions do it unless they are told not to."""
BOTH = "forward+backward"


def rounded(allowed, call):
    """The call, with TF32 allowed or not."""

    def asked():
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        return call()

    return asked


def conv(spec):
    """One convolution: forward, and forward with dx, dw and db, in each precision and layout."""
    case, given = spec["case"], {k: v.to(DEVICE) for k, v in given_numbers(spec).items()}
    options = {"stride": case["stride"], "padding": case["padding"], "groups": case["groups"]}

    def forward(x, w, b):
        return F.conv2d(x, w, b, **options)

    def whole(x, w, b, dy):
        x, w, b = (a.detach().requires_grad_() for a in (x, w, b))
        y = forward(x, w, b)
        return y.detach(), *torch.autograd.grad(y, (x, w, b), dy)

    names, calls, error = ("y", "dx", "dw", "db"), {}, {}
    torch.backends.cudnn.benchmark = False                         # float64 is computed once: any algorithm will do
    exact = whole(*(given[k].double() for k in ("x", "w", "b", "dy")))
    torch.backends.cudnn.benchmark = True                          # its fastest algorithm, found by trying
    for precision, allowed in PRECISIONS.items():
        for layout, form in LAYOUTS.items():
            x, w, dy, b = *(laid(given[k], form) for k in ("x", "w", "dy")), given["b"]
            one = quiet(lambda x=x, w=w, b=b: forward(x, w, b))
            all_ = rounded(allowed, lambda x=x, w=w, b=b, dy=dy: whole(x, w, b, dy))
            error[f"{precision} {layout}"] = {k: off(a, e) for k, a, e in zip(names, all_(), exact)}
            calls[f"{precision} {layout}/forward"] = rounded(allowed, one)
            calls[f"{precision} {layout}/{BOTH}"] = all_
    return calls, {"error": error, "agreement": {k: off(given[k], e) for k, e in zip(names, exact)}}


def net(spec):
    """A whole net: a training step, and answers to 1 and to 32 images, in each precision and layout."""
    given, calls, info = given_numbers(spec), {}, {"logits": {}}
    for layout, form in LAYOUTS.items():
        torch.manual_seed(0)
        model = torch_nets.GPU_NETS[spec["name"]]()
        load_weights(model, given)
        model = model.to(DEVICE, memory_format=form)
        x, labels = laid(given["x"].to(DEVICE), form), given["labels"].to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
        infer, step = answers(model, x), training_step(model, optimizer, laid(x[: len(labels)], form), labels)
        info["parameters"] = sum(p.numel() for p in model.parameters())
        info["logits"][layout] = off(rounded(False, lambda infer=infer: infer(2))().cpu(), given["logits"].double())
        for precision, allowed in PRECISIONS.items():
            calls[f"{precision} {layout}/step"] = rounded(allowed, step)
            for count in spec.get("infer", (1, 32)):
                asked = rounded(allowed, lambda count=count, infer=infer: infer(count))
                calls[f"{precision} {layout}/infer {count}"] = asked
    return calls, info


def about():
    """Versions, and what the GPU is."""
    if DEVICE != "cuda":
        return about_torch()
    return {**about_torch(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "gpu": torch.cuda.get_device_name()}  # fmt: skip


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    clock = timing.time_calls
    if DEVICE == "cuda":
        clock = event_clock(lambda: torch.cuda.Event(enable_timing=True), lambda a, b: a.elapsed_time(b))
    serve({"conv": conv, "net": net}, about, clock)
