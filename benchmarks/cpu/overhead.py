"""What Python costs: the time of an op, a layer and a kernel's call on so little data that arithmetic vanishes.

    python -m benchmarks.cpu.overhead

Each part is called many times in a row, part after part, round after round. The empty op is all that an op costs
without any computation; the layers follow, then what they consist of.
"""

from functools import partial
from timeit import timeit

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
SHAPE, FILTERS = (1, 16, 4, 4), (16, 16, 3, 3)


@op
def nothing(x):
    """y = x"""
    return x, lambda dy: dy


def parts(own: str) -> dict:
    """{name: function without arguments} of what is timed on one path."""
    x = np.ones((1, 4, 4, 16), np.float32).transpose(0, 3, 1, 2)
    leaf, device, g = Tensor(x, requires_grad=True), devices.get("cpu"), Conv2dGeometry.of(SHAPE, FILTERS, 1, 1)
    conv, bn, relu, still = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.BatchNorm2d(16).eval()
    parameter, w, b = nn.Parameter(np.zeros(8, np.float32)), conv.weight.data, conv.bias.data
    parameter.grad = np.zeros(8, np.float32)
    found = {
        "an empty op": partial(nothing, Tensor(x)), "an empty op, recorded": partial(nothing, leaf),
        "Conv2d, training": partial(conv, leaf), "Conv2d, inference": partial(no_grad()(conv), leaf),
        "Conv2d, forward and backward": lambda: conv(leaf).backward(x),
        "BatchNorm2d, training": partial(bn, leaf), "BatchNorm2d, inference": partial(no_grad()(still), leaf),
        "ReLU": partial(relu, leaf), "SGD, a parameter": optim.SGD([parameter], lr=0.1, momentum=0.9).step,
        "a geometry": lambda: Conv2dGeometry.of(SHAPE, FILTERS, (1, 1), (1, 1), (1, 1), 1, (16,)),
        "the device's conv2d": lambda: device.conv2d(x, w, b, g), "the device's relu": lambda: device.relu(x),
    }  # fmt: skip
    return found | (kernels() if own == "compiled" else {})


def kernels() -> dict:
    """What the call of a compiled kernel consists of."""
    from minicnn.cpu.compiled import elements, team, work

    n, few, many = threads.num_threads(), np.zeros(256, np.float32), np.zeros(2 * elements.CHUNK, np.float32)
    return {"counters of a kernel": partial(work.new, 1),
            "a kernel and its counters": partial(team.run, elements._relu, 1, 0, few, few.copy()),
            "a kernel of 1 chunk": partial(team.run, elements._relu, 1, 0, many[: elements.CHUNK], many.copy()),
            f"the same for each of {n} threads": partial(team.run, elements._relu, 2, 1 << 30, many, many.copy())}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.overhead", __doc__, argv, rounds=15, seconds=0.02)
    threads.set_num_threads(args.threads or threads.num_threads())
    rows, number = [], max(10, round(1e4 * args.seconds))
    for own in (name for name in args.path if name != "plan"):
        with path.cpu_path(own):
            calls = parts(own)
            taken: dict = {name: [] for name in harness.selected(calls, args.cases)}
            for _ in range(args.rounds):
                for name, seconds in taken.items():
                    seconds.append(timeit(calls[name], number=number) / number)
        for name, seconds in taken.items():
            rows.append({"name": name, "path": own, **Spread.of(seconds).as_dict(), "least": min(seconds),
                         "target": TARGETS.get(name)})  # fmt: skip
            show(f"{name}, {own}", {"": rows[-1]}, f"  (least {1e6 * rows[-1]['least']:.1f} µs)")
    harness.write(args, [{**machine.versions(), "threads": threads.num_threads(), "name": "minicnn"}], cases=rows)


if __name__ == "__main__":
    main()
