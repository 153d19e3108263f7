"""What Python costs: the time of an op, a layer and a kernel's call on so little data that arithmetic vanishes.

    python -m benchmarks.cpu.overhead

Each part is called many times in a row, part after part, round after round. The first row is all that an op costs
without any computation; the next are whole layers; then what layers consist of.
"""

import time
from functools import partial

import numpy as np

from benchmarks import harness
from benchmarks.ratios import show
from minicnn import Tensor, devices, nn, no_grad, optim
from minicnn.bench import machine
from minicnn.bench.timing import Spread
from minicnn.cpu import path, threads
from minicnn.geometry import Conv2dGeometry
from minicnn.tensor import op

TARGETS = {"an empty op": 3e-6, "Conv2d, training": 40e-6, "Conv2d, inference": 40e-6}
"""Seconds."""
SHAPE = (1, 16, 4, 4)


@op
def nothing(x):
    """y = x"""
    return x, lambda dy: dy


def parts(own: str) -> dict:
    """{name: function without arguments} of what is timed on one path."""
    rng = np.random.default_rng(0)
    x = np.ascontiguousarray(rng.standard_normal(SHAPE, np.float32).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    tensor, leaf, device = Tensor(x), Tensor(x, requires_grad=True), devices.get("cpu")
    conv, bn, relu = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
    still = nn.BatchNorm2d(16).eval()
    parameters = [nn.Parameter(np.zeros(8, np.float32)) for _ in range(10)]
    sgd, g = optim.SGD(parameters, lr=0.1, momentum=0.9), Conv2dGeometry.of(SHAPE, (16, 16, 3, 3), 1, 1)
    for p in parameters:
        p.grad = np.zeros(8, np.float32)

    def inferred(layer):
        def call():
            with no_grad():
                layer(tensor)
        return call

    w, b = conv.weight.data, conv.bias.data
    found = {
        "an empty op": lambda: nothing(tensor), "an empty op, recorded": lambda: nothing(leaf),
        "Conv2d, training": lambda: conv(leaf), "Conv2d, inference": inferred(conv),
        "Conv2d, forward and backward": lambda: conv(leaf).backward(x), "BatchNorm2d, training": lambda: bn(leaf),
        "BatchNorm2d, inference": inferred(still), "ReLU": lambda: relu(leaf),
        "SGD, a parameter": (sgd.step, len(parameters)), "a geometry": lambda: Conv2dGeometry.of(
            SHAPE, (16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1, (16,)),
        "the device's conv2d": lambda: device.conv2d(x, w, b, g), "the device's relu": lambda: device.relu(x),
    }  # fmt: skip
    return found | (kernels(x.ravel()) if own == "compiled" else {})


def kernels(values) -> dict:
    """What the call of a compiled kernel consists of."""
    from minicnn.cpu.compiled import elements, team, work

    y, counters, n = np.empty_like(values), work.new(1), threads.num_threads()

    def call():
        counters[: work.TOTAL] = 0
        elements._relu(values, y, counters)

    return {"a kernel": call, "counters of a kernel": partial(work.new, 1),
            f"a kernel on {n} threads": partial(team.run, elements._relu, n, 1 << 30, np.zeros(1 << 15, np.float32),
                                                np.zeros(1 << 15, np.float32))}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.overhead", __doc__, argv, rounds=15, seconds=0.02)
    if args.threads:
        threads.set_num_threads(args.threads)
    rows = []
    for own in (name for name in args.path if name != "plan"):
        with path.cpu_path(own):
            calls = {name: call if isinstance(call, tuple) else (call, 1) for name, call in parts(own).items()}
            chosen = harness.selected(calls, args.cases)
            taken: dict = {name: [] for name in chosen}
            for _ in range(args.rounds):
                for name in chosen:
                    taken[name].append(each(*calls[name], args.seconds))
        for name, seconds in taken.items():
            rows.append({"name": name, "path": own, **Spread.of(seconds).as_dict(), "least": min(seconds),
                         "target": TARGETS.get(name)})  # fmt: skip
            show(f"{name}, {own}", {"": rows[-1]}, f"  (least {1e6 * rows[-1]['least']:.1f} µs)")
    about = {**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}
    harness.write(args, [about], cases=rows)


def each(call, count: int, seconds: float) -> float:
    """Seconds of one of the `count` things that a call does: the mean of a loop that takes about `seconds`."""
    done, begun = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begun < seconds:
        for _ in range(10):
            call()
        done += 10
    return (time.perf_counter() - begun) / done / count


if __name__ == "__main__":
    main()
