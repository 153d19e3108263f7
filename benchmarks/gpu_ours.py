"""minicnn's process on the GPU: prepares convolutions, nets and copies there. Started by benchmarks/gpu.py.

MINICNN_BENCH_DEVICE names another device: "emulated" tries all of this without a GPU, and its times mean nothing.
"""

from __future__ import annotations

import os

import numpy as np

from benchmarks.gpu_clock import event_clock
from benchmarks.ours import case_of
from benchmarks.worker import serve, timing
from minicnn import Tensor, allow_tf32, conv_algorithm, devices, no_grad
from minicnn.bench import machine
from minicnn.bench.conv import POLICY, ConvRun, max_error
from minicnn.bench.model import NetRun
from minicnn.gpu.conv import ALGORITHMS, choose
from minicnn.ops.conv import conv2d
from minicnn.ops.softmax import cross_entropy

gpu = devices.get(os.environ.get("MINICNN_BENCH_DEVICE", "cuda:0"))
xp = gpu.xp
REAL = gpu.name.startswith("cuda")
TF32 = "auto, TF32"
"""The policy's choice where float32 products may be rounded."""
BOTH = "forward+backward"
FP32_LANES = {75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 103: 128, 120: 128}
"""float32 multiplications that a multiprocessor finishes in a clock, by compute capability."""


def conv(spec):
    """One convolution by the policy's choice, by each algorithm that is able to, and with TF32 allowed."""
    case = case_of(spec)
    run, g = ConvRun(case), case.geometry
    x, w, b, dy = (gpu.asarray(np.ascontiguousarray(a)) for a in (run.x, run.w, run.b, run.dy))
    wanted = spec.get("algorithms")
    names = [n for n, how in ALGORITHMS.items() if how.supports(gpu, g, x.dtype) and (not wanted or n in wanted)]
    results, calls, failed, exact = {}, {}, {}, run.exact()
    for name in (POLICY, TF32, *names):
        here = {"forward": lambda: gpu.conv2d(x, w, b, g), "dx": lambda: gpu.conv2d_dx(dy, w, g),
                "dw": lambda: gpu.conv2d_dw(dy, x, g)}  # fmt: skip
        here = {what: _by(name, call) for what, call in here.items()}
        try:
            results[name] = {
                what: {"error": max_error(gpu.to_numpy(call()), exact[what]), "workspace_bytes": workspace(call)}
                for what, call in here.items()
            }
        except Exception as problem:                               # one algorithm's failure is not the others'
            failed[name] = f"{type(problem).__name__}: {problem}"
            continue
        calls |= {f"{name}/{what}": call for what, call in here.items()}

    def whole():
        leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
        y = conv2d(*leaves, stride=case.stride, padding=case.padding, groups=case.groups)
        y.backward(dy)
        return y.data, *(leaf.grad for leaf in leaves)

    calls |= {f"{name}/{BOTH}": _by(name, whole) for name in (POLICY, TF32) if name in results}
    if spec.get("share"):
        made = dict(zip(("y", "dx", "dw", "db"), map(gpu.to_numpy, whole())))
        np.savez(spec["share"], x=run.x, w=run.w, b=run.b, dy=run.dy, **made)
    run.forget()
    return calls, {"algorithms": results, "failed": failed, "policy": choose(gpu, g, x.dtype)}


def _by(name, call):
    """The same call, computed by an algorithm, by the policy's choice, or by that with TF32 allowed."""

    def asked():
        with conv_algorithm(POLICY if name == TF32 else name), allow_tf32(name == TF32):
            return call()

    return asked


def workspace(call):
    """The bytes that a call needs on the GPU beside its arguments and its result; None where nobody counts them."""
    if not REAL:
        return None
    pool = xp.get_default_memory_pool()
    gpu.synchronize()
    pool.free_all_blocks()
    before = pool.total_bytes()
    result = call()
    gpu.synchronize()
    return max(0, pool.total_bytes() - before - result.nbytes)


def net(spec):
    """A whole net: a training step, and answers to 1 and to 32 images, which lie on the GPU already."""
    if REAL:
        xp.get_default_memory_pool().free_all_blocks()             # of those before
    batch, infer = spec.get("batch", 0), spec.get("infer", (1, 32))
    run = NetRun(spec["name"], batch, images=max(infer, default=1), options=spec.get("options"), device=gpu.name)
    x, batch_x = gpu.asarray(run.x), Tensor(run.x[: run.batch], device=gpu.name)
    if spec.get("share"):
        state = {f"state.{k}": v for k, v in run.net.state_dict().items()}
        np.savez(spec["share"], x=run.x, labels=gpu.to_numpy(run.labels), logits=run.infer(2), **state)

    def step():
        run.net.train()
        run.optimizer.zero_grad()
        loss = cross_entropy(run.net(batch_x), run.labels)
        loss.backward()
        run.optimizer.step()
        return loss

    def answer(count):
        with no_grad():
            return run.net.eval()(Tensor(x[:count]))

    calls = {"step": step} | {f"infer {count}": lambda count=count: answer(count) for count in infer}
    calls |= {f"{what}, TF32": _by(TF32, call) for what, call in calls.items()}
    calls["batch to the GPU"] = lambda: (gpu.asarray(run.x[: run.batch]), gpu.synchronize())
    for _ in range(2):
        step()
    held = _pool_bytes()
    return calls, {"parameters": run.parameters, "batch": run.batch, "shape": list(run.shape), "bytes": held}


def _pool_bytes():
    """What CuPy's pool has taken of the GPU's memory; None where there is none."""
    return xp.get_default_memory_pool().total_bytes() if REAL else None


def single(spec):
    """One convolution as somebody waits for it: alone, and with its images brought and its result fetched."""
    case = case_of(spec)
    run, g = ConvRun(case), case.geometry
    host = np.ascontiguousarray(run.x)
    x, w, b = gpu.asarray(host), gpu.asarray(run.w), gpu.asarray(run.b)
    return {"there": lambda: (gpu.conv2d(x, w, b, g), gpu.synchronize()),
            "there and back": lambda: gpu.to_numpy(gpu.conv2d(gpu.asarray(host), w, b, g))}, {}  # fmt: skip


def rates(spec):
    """What the GPU reaches at best: a copy within its memory, a product of matrices, a kernel of one thread."""
    n, size = spec["matrix"], spec["copy_bytes"] // 4
    source, target = xp.zeros(size, np.float32), xp.empty(size, np.float32)
    a, b, one = xp.ones((n, n), np.float32), xp.ones((n, n), np.float32), xp.zeros(1, np.float32)

    def copy(): target[...] = source

    def launch():
        gpu.sgd_update(one, one, None, lr=0.0, momentum=0.0, nesterov=False, weight_decay=0.0)

    def product(): return gpu.matmul(a, b)

    calls = {"copy": copy, "product": product, "product, TF32": _by(TF32, product), "launch": launch}
    return calls, {"bytes": 8 * size, "flops": 2 * n**3}


def transfer(spec):
    """From the host's memory to the GPU's and back, in so many bytes."""
    calls = {}
    for size in spec["bytes"]:
        host = np.ones(size // 4, np.float32)
        there = gpu.asarray(host)
        calls[f"to the GPU/{size}"] = lambda host=host: (gpu.asarray(host), gpu.synchronize())
        calls[f"to the host/{size}"] = lambda there=there: gpu.to_numpy(there)
    return calls, {}


def about():
    """Versions, and what the GPU is."""
    told = {k: v for k, v in machine.versions().items() if k != "blas"}
    if not REAL:
        return {**told, "gpu": "emulated on a CPU: no time here means anything"}
    runtime = xp.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    attributes = xp.cuda.Device().attributes
    capability = int(xp.cuda.Device().compute_capability)
    clock = attributes.get("ClockRate") or 0                       # kHz
    lanes = FP32_LANES.get(capability, 0)
    peak = 2 * lanes * attributes["MultiProcessorCount"] * clock * 1000
    return {**told, "cupy": xp.__version__, "driver": _version(runtime.driverGetVersion()),
            "runtime": _version(runtime.runtimeGetVersion()), "gpu": properties["name"].decode(),
            "capability": capability, "multiprocessors": attributes["MultiProcessorCount"],
            "memory_bytes": properties["totalGlobalMem"], "peak_fp32": peak or None}  # fmt: skip


def _version(number):
    return f"{number // 1000}.{number % 1000 // 10}"


if __name__ == "__main__":
    clock = event_clock(xp.cuda.Event, xp.cuda.get_elapsed_time) if REAL else timing.time_calls
    serve({"conv": conv, "net": net, "single": single, "rates": rates, "transfer": transfer}, about, clock)
