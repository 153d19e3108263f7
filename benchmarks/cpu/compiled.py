"""docs/compiled.md: the speed of each step from the definition to the kernel, and of the processor.

    python -m benchmarks.cpu.compiled

The steps take turns, round after round; the best time of each counts, because the page compares code with what the
processor can do at most. A wrong result is not timed. The roofs of the roofline are measured in the same way: a loop of
multiply-adds in registers, loops that load from the caches, and a copy in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from benchmarks import harness
from benchmarks.cpu import kernel_steps, machine_code, roofs
from minicnn.bench import machine
from minicnn.bench.timing import time_calls
from minicnn.cpu import threads
from minicnn.cpu.compiled import direct
from minicnn.cpu.conv import tiled
from minicnn.geometry import Conv2dGeometry

LAYERS = {"ResNet conv2_x": ((16, 64, 56, 56), (64, 64, 3, 3)), "ResNet conv4_x": ((16, 256, 14, 14), (256, 256, 3, 3))}
PADDING = 1


@dataclass(frozen=True)
class Step:
    """name: its function in kernel_steps; flops, bytes: of a turn of its innermost loop; part: (images, filters)."""

    name: str
    flops: int
    bytes: int
    part: tuple[int, int] | None = None


STEPS = (
    Step("definition", 2, 8, (1, 1)),                              # two numbers
    Step("compiled", 2, 8, (1, 16)),
    Step("channels_last", 16, 96),                                 # 8 filters, and 8 sums that are read and written
    Step("one_register", 16, 36),                                  # 8 filters and a pixel
    Step("block", 192, 88),                                        # 16 filters and 6 pixels
    Step("multiply_add", 192, 88),
    Step("tiles", 192, 88),
    Step("on_threads", 192, 88),
    Step("winograd", 192, 88),
)
ON_THREADS = ("on_threads", "winograd")


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.compiled", __doc__, argv)
    count = args.threads or threads.num_threads()
    names = harness.selected(list(LAYERS), args.cases)
    calls = {(step.name, layer): prepare(step, layer, count) for layer in names for step in STEPS}
    calls |= {("roof", name): call for name, call in roofs.calls(count).items()}
    for _, _, call in calls.values():
        call()                                                     # compiles, warms up
    best: dict = {}
    copies: dict = {}
    for _ in range(args.rounds):
        for key, (work, number, call) in calls.items():
            threads.set_num_threads(number)
            best[key] = max(best.get(key, 0), work / min(time_calls(call, args.seconds, most=1000)))
        for name, rate in roofs.copies(count, args.seconds).items():
            copies[name] = max(copies.get(name, 0), rate)
    rows = [{"name": step.name, "flops": step.flops, "bytes": step.bytes, "part": step.part,
             "threads": count if step.name in ON_THREADS else 1,
             "rates": {layer: best[step.name, layer] for layer in names}} for step in STEPS]  # fmt: skip
    for row in rows:
        print(f"{row['name']:16}", *(f"{rate / 1e9:9.3f} GFLOP/s" for rate in row["rates"].values()))
    found = {name: rate for (kind, name), rate in best.items() if kind == "roof"} | copies
    for name, rate in found.items():
        print(f"{name:16} {rate / 1e9:9.1f} G/s")
    loop = machine_code.innermost(machine_code.assembly(direct.forward))
    about = {**machine.versions(), "numba": numba.__version__, "threads": count, "name": "minicnn"}
    harness.write(args, [about], layers={name: {"x": x, "w": w, "macs": macs(x, w)} for name, (x, w) in LAYERS.items()},
                  cases=rows, roofs=found, code={"loop": loop, "tally": machine_code.tally(loop),
                                                 "processor": machine_code.processor()})  # fmt: skip


def macs(x, w) -> int:
    """The multiply-adds of a layer, those with padding included."""
    g = Conv2dGeometry.of(x, w, padding=PADDING)
    return g.N * g.OH * g.OW * g.O * g.C * g.KH * g.KW


def prepare(step: Step, layer: str, count: int):
    """(FLOPs, threads, a call) of a step; SystemExit if it is wrong."""
    (x_shape, w_shape), rng = LAYERS[layer], np.random.default_rng(0)
    images, filters = step.part or (x_shape[0], w_shape[0])
    x = rng.standard_normal((images, *x_shape[1:]), np.float32)
    w = rng.standard_normal((filters, *w_shape[1:]), np.float32)
    number = count if step.name in ON_THREADS else 1
    threads.set_num_threads(number)
    call = kernel_steps.run(step.name, x, w, PADDING)
    exact = tiled.conv2d(x[:1].astype(float), w.astype(float), None, Conv2dGeometry.of(x[:1].shape, w.shape,
                                                                                       padding=PADDING))
    error, limit = np.abs(call()[:1] - exact).max() / np.abs(exact).max(), 2e-5 if step.name == "winograd" else 1e-5
    harness.check(f"{step.name}, {layer}", {"y": (error, limit)})
    return 2 * macs(x.shape, w.shape), number, call


if __name__ == "__main__":
    main()
