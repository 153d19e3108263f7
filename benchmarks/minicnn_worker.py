"""minicnn's worker process: prepares convolutions, layers and nets to be timed, on the device that it is given.

    python -m benchmarks.minicnn_worker cpu         started by harness.py; or cuda:0; or emulated, to test it
"""

import importlib
import sys

import numpy as np

import minicnn
from benchmarks.worker import event_clock, serve, timing
from minicnn import Tensor, devices, nn, optim
from minicnn.bench import machine
from minicnn.bench.conv import BOTH, POLICY, TF32, ConvRun, by, chosen, max_error, supported
from minicnn.bench.model import NetRun
from minicnn.bench.suite import ConvCase
from minicnn.cpu import layout, path, threads
from minicnn.gpu import detect
from minicnn.io import onnx
from minicnn.io.model_file import Description

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"
GPU, CUDA = DEVICE != "cpu", DEVICE.startswith("cuda")
device = devices.get(DEVICE)
LIMITS = {False: 1e-3, True: 3e-2}
"""The largest allowed error, as a share of the largest value, without and with TF32."""


def run_of(spec):
    """The ConvRun of a case that came as JSON."""
    return ConvRun(ConvCase(**{k: tuple(v) if isinstance(v, list) else v for k, v in spec["case"].items()}),
                   device=DEVICE)  # fmt: skip


def conv(spec):
    """A convolution by the policy's choice, on a GPU also with TF32, and by each algorithm of spec["algorithms"]."""
    run, wanted = run_of(spec), spec.get("algorithms")
    if wanted is None and path.chosen() == "compiled" and not GPU:            # NumPy's are measured in its own process
        wanted = importlib.import_module("minicnn.cpu.compiled.conv").ALGORITHMS
    choices = [POLICY, *[TF32] * GPU]
    names = [*choices, *(name for name in supported(run.case, device=DEVICE) if wanted is None or name in wanted)]
    results, calls, problems, limits = {}, {}, {}, {}
    for name in names:
        own = run.calls(name)
        try:
            errors = run.errors(name)
            results[name] = {what: {"error": errors[what], **run.workspace(call)} for what, call in own.items()}
        except Exception as problem:                               # on a GPU the other algorithms are measured
            problems[name] = f"{type(problem).__name__}: {problem}"
            continue
        if name in choices and spec.get("whole", True):
            own[BOTH] = by(name, run.whole)
        calls |= {f"{name}/{what}": call for what, call in own.items()}
        limits |= {f"{name} {what}": (error, LIMITS[name == TF32]) for what, error in errors.items()}
    if POLICY in problems or (problems and not GPU):
        raise RuntimeError(str(problems))
    if spec.get("share"):
        made = dict(zip(("y", "dx", "dw", "db"), map(device.to_numpy, run.whole())))
        np.savez(spec["share"], x=run.x, w=run.w, b=run.b, dy=run.dy, **made)
    run.forget()
    threads.drop_scratch()
    return calls, {"algorithms": results, "problems": problems, "check": limits,
                   "policy": chosen(run.case, device=DEVICE)}  # fmt: skip


def textbook(spec):
    """The same convolution by textbook im2col: (N,C,H,W) in memory, NumPy's BLAS on all cores."""
    run = run_of(spec)
    run.on_device = [np.ascontiguousarray(a) for a in run.on_device]
    threads.release_blas()
    return run.calls("im2col"), {}


def single(spec):
    """One convolution with the wait for its result: on arrays of the GPU, and with the transfers of its images."""
    run = run_of(spec)
    x, w, b, _ = run.on_device
    return {"there": lambda: (device.conv2d(x, w, b, run.g), device.synchronize()),
            "there and back": lambda: device.to_numpy(device.conv2d(device.asarray(run.x), w, b, run.g))}, {}


def layer(spec):
    """One layer, forward and backward, or one step of an optimiser."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(tuple(spec["shape"]), np.float32)
    if "options" in spec:
        return _optimiser(spec, x, rng)
    x, make = _channels_last(x), lambda: getattr(nn, spec["op"])(*spec.get("arguments", ()))
    module, labels = make(), {}
    if spec["op"] == "CrossEntropyLoss":
        labels = {"labels": rng.integers(0, x.shape[1], len(x))}

    def forward():
        return module(Tensor(x, requires_grad=True), *labels.values())

    def ready():
        module.zero_grad()
        return forward()

    dy = _channels_last(rng.standard_normal(forward().shape, np.float32))

    def results(dtype):
        copy, leaf = make().astype(dtype), Tensor(x.astype(dtype), requires_grad=True)
        copy.load_state_dict({k: v for k, v in module.state_dict().items() if "running" not in k}, strict=False)
        y = copy(leaf, *labels.values())
        y.backward(dy.astype(dtype))
        return {"y": y.data, "dx": leaf.grad, **{f"d{name}": p.grad for name, p in copy.named_parameters()}}

    made = {} if spec["op"] == "Dropout" else results("float32")             # every process draws its own masks
    info = _errors(made, results("float64")) if made else {}
    if spec.get("share"):
        given = {f"state.{k}": v for k, v in module.state_dict().items()} | {f"result.{k}": v for k, v in made.items()}
        np.savez(spec["share"], x=x, dy=dy, **given, **labels)
    return {"forward": forward, "backward": (ready, lambda y: y.backward(dy))}, info


def _channels_last(a):
    return layout.as_nchw(layout.to_nhwc(a)) if a.ndim == 4 else a


def _optimiser(spec, values, rng):
    grad = rng.standard_normal(values.shape, np.float32)

    def stepped(dtype, steps):
        p = nn.Parameter(values.astype(dtype))
        p.grad = grad.astype(dtype)
        optimizer = getattr(optim, spec["op"])([p], **spec["options"])
        for _ in range(steps):
            optimizer.step()
        return optimizer, {"p": p.data}

    made = stepped("float32", 3)[1]
    if spec.get("share"):
        np.savez(spec["share"], x=values, dy=grad, **{"result.p": made["p"]})
    return {"forward": stepped("float32", 0)[0].step}, _errors(made, stepped("float64", 3)[1])


def _errors(values, exact):
    errors = {name: max_error(values[name], exact[name]) for name in exact}
    return {"error": errors, "check": {name: (error, LIMITS[False]) for name, error in errors.items()}}


def net(spec):
    """A whole net: a training step, and inference on 1 and on 32 images, which are on the device."""
    if CUDA:
        device.xp.get_default_memory_pool().free_all_blocks()                # of the nets before
    run = NetRun(spec["name"], spec.get("batch", 0), images=spec.get("images", 32), options=spec.get("options"),
                 device=DEVICE)  # fmt: skip
    if spec.get("share"):
        arrays = {"x": run.x, "labels": run.labels, "logits": run.infer(2).data}
        state = {f"state.{k}": v for k, v in run.net.state_dict().items()}
        np.savez(spec["share"], **{k: device.to_numpy(v) for k, v in arrays.items()}, **state)
        if spec.get("onnx"):
            classes = [str(i) for i in range(arrays["logits"].shape[1])]
            described = Description(run.name, {}, classes, list(run.shape), *([v] * run.shape[0] for v in (0.0, 1.0)))
            onnx.save(f"{spec['share']}.onnx", run.net, described, fold=True)
    calls, infer, counts = {"step": run.step}, run.infer, spec.get("infer", (1, 32))
    if spec["kind"] == "plan":
        plans = {count: minicnn.compile(run.net, (count, *run.shape)) for count in counts}
        calls, infer = {}, lambda count: plans.get(count, plans[counts[0]])(run.x[:count])
    calls |= {f"infer {count}": lambda count=count: infer(count) for count in counts}
    info = {"parameters": run.parameters, "batch": run.batch, "shape": list(run.shape)}
    if spec.get("compare"):
        with np.load(spec["compare"]) as given:                    # of the first of minicnn's processes
            info["check"] = {"logits": (max_error(np.asarray(infer(2)), given["logits"]), LIMITS[False])}
    if GPU:
        host = device.to_numpy(run.x[: run.batch])
        calls |= {f"{what}, TF32": by(TF32, call) for what, call in calls.items()}
        calls["batch to the GPU"] = lambda: (device.asarray(host), device.synchronize())
        for _ in range(2):
            run.step()
        info["bytes"] = device.xp.get_default_memory_pool().total_bytes() if CUDA else None
    return calls, info


def rates(spec):
    """The highest rates that the machine reaches: a matrix product and a copy; on a GPU with TF32 too, and a launch."""
    if not GPU:
        gemm, copy = (machine.gemm_rate(256, 0.02), machine.copy_rate(4, 0.02)) if spec["small"] else (
            machine.gemm_rate(), machine.copy_rate())
        return {}, {"gemm_flops": gemm, "copy_bytes": copy}
    xp, (n, size) = device.xp, (64, 1024) if spec["small"] else (8192, 2**28)
    source, target = xp.zeros(size, np.float32), xp.empty(size, np.float32)
    a, b, one = xp.ones((n, n), np.float32), xp.ones((n, n), np.float32), xp.zeros(1, np.float32)

    def copy(): target[...] = source
    def launch(): device.sgd_update(one, one, None, lr=0.0, momentum=0.0, nesterov=False, weight_decay=0.0)
    def product(): return device.matmul(a, b)

    calls = {"copy": copy, "product": product, "product, TF32": by(TF32, product), "launch": launch}
    return calls, {"bytes": 8 * size, "flops": 2 * n**3}


def transfer(spec):
    """Copies of some sizes from the host's memory to the GPU's, and back."""
    calls = {}
    for size in spec["bytes"]:
        host = np.ones(size // 4, np.float32)
        there = device.asarray(host)
        calls[f"to the GPU/{size}"] = lambda host=host: (device.asarray(host), device.synchronize())
        calls[f"to the host/{size}"] = lambda there=there: device.to_numpy(there)
    return calls, {}


def about():
    """Versions, threads, and a GPU's properties."""
    versions = machine.versions()
    if not GPU:
        return {**versions, "threads": threads.num_threads()}
    for of_the_cpu in ("blas", "numba", "path"):
        versions.pop(of_the_cpu, None)
    if not CUDA:
        return {**versions, "gpu": "emulated on a CPU: no time here means anything"}
    facts = detect.facts(device.xp)
    hertz = 1000 * (device.xp.cuda.Device().attributes.get("ClockRate") or 0)
    lanes = 64 if device.compute_capability in (75, 80) else 128   # Turing and the A100 have half of what others have
    peak = 2 * lanes * facts["multiprocessors"] * hertz
    return {**versions, **facts, "gpu": facts["name"], "peak_fp32": peak or None}


if __name__ == "__main__":
    clock = event_clock(device.xp.cuda.Event, device.xp.cuda.get_elapsed_time) if CUDA else timing.time_calls
    kinds = (conv, textbook, single, layer, net, rates, transfer)
    serve({kind.__name__: kind for kind in kinds} | {"plan": net}, about, clock)
