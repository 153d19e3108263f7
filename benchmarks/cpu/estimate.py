"""An estimate, no measurement: the efficiency of 2 to 64 machines, from the times of a step of one.

    python -m benchmarks.cpu.estimate

One process measures, in CPU time, a training step of a rank whose messages nobody answers: how long it takes, when each
bucket of gradients is ready to be sent, and how many bytes batch norm sends. A message of n bytes between k machines
then takes, with the latency α and the bandwidth β of a link,

    all-reduce   min(2(k − 1)·α + 2·(k − 1)/k · n/β,  2·log₂k·(α + n/β),  2·log₂k·α + 2·(k − 1)/k · n/β)
    gather       log₂k·α + (k − 1)·n/β

Thakur, Rabenseifner, Gropp 2005. Buckets are sent one after the other, none before it is ready; batch norm's messages
are waited for. The time of a step is then

    batch norm's messages + max(backward, the last bucket's arrival) + the optimiser

and the efficiency is the time of the measured step divided by that. Weak scaling: every machine has the same number of
images. The links are assumptions: their nominal bandwidth, and a latency that is usual for them. What is not in the
formula: slow or busy machines, which all others wait for, and the copies that a network stack makes.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.markdown import fill, table
from minicnn import models, optim, rng, set_num_threads
from minicnn.bench import machine
from minicnn.data.loader import Batch, Whole
from minicnn.ops.softmax import cross_entropy
from minicnn.piece import piece
from minicnn.ranks import Alone, Pending
from minicnn.tensor import Tensor
from minicnn.train.shared import Shared

NETS = {"lenet5": 128, "resnet20": 32, "resnet50": 8}
"""name: images on each machine"""
LINKS = {"1 Gbit/s, 50 µs": (50e-6, 1e9 / 8), "10 Gbit/s, 30 µs": (30e-6, 10e9 / 8),
         "100 Gbit/s, 2 µs": (2e-6, 100e9 / 8)}  # fmt: skip
"""name: (α, β): the latency in seconds, the bandwidth in bytes a second"""
MACHINES = (2, 4, 8, 16, 32, 64)
PAGE, BLOCK = harness.ROOT / "docs" / "many-machines.md", "benchmarks.cpu.estimate"


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.estimate", __doc__, argv, {
        "--steps": {"type": int, "default": 5, "help": "steps of each net, of which the fastest counts"}})
    set_num_threads(args.threads or 1)
    nets = [measured(name, images, args.steps) for name, images in NETS.items() if args.cases in name]
    path = harness.write(args, [{"name": "minicnn", **machine.describe()}], nets=nets)
    document = json.loads(path.read_text(encoding="utf-8"))
    text = tables(document)
    print(text)
    if not args.out:
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), BLOCK, text), encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- measurement


class Unanswered(Alone):
    """A rank of two whose messages nobody answers. `sent`: (what, when, bytes) of each, in CPU time."""

    size = 2

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, float, int]] = []

    def sum(self, array: Any) -> Any:
        """The array itself."""
        self.sent.append(("sum", time.process_time(), array.nbytes))
        return array

    def start_sum(self, array: Any) -> Pending:
        """Done at once."""
        self.sent.append(("bucket", time.process_time(), array.nbytes))
        return Pending()

    def gather(self, array: Any) -> Any:
        """The array twice."""
        self.sent.append(("gather", time.process_time(), array.nbytes))
        return np.stack([array, array])


def measured(name: str, images: int, steps: int) -> dict:
    """The fastest of some steps of a net, in seconds of CPU time."""
    rng.seed(0)
    shape, draws, team = models.input_shape(name), np.random.default_rng(0), Unanswered()
    net = models.build(name, num_classes=10).train()
    optimizer, shared = optim.SGD(net.parameters(), 0.001, momentum=0.9), Shared(net, team)
    x = Tensor(draws.standard_normal((images, *shape)).astype(np.float32))
    labels, own = draws.integers(0, 10, images * team.size), piece(images * team.size, *team.part)
    best: dict[str, Any] = {"seconds": math.inf}
    for _ in range(steps + 1):                             # the first one also compiles and chooses algorithms
        team.sent.clear()
        began = time.process_time()
        optimizer.zero_grad()
        with shared.step(Batch(x, labels[own.rows], None, None, Whole(own, labels))):
            shared.backward(cross_entropy(net(x), labels[own.rows]))
        optimizer.step()
        seconds = time.process_time() - began
        if seconds < best["seconds"]:
            best = {"seconds": seconds,
                    "buckets": [[at - began, size] for what, at, size in team.sent if what == "bucket"],
                    "norm": [[what, size] for what, _, size in team.sent if what != "bucket"]}  # fmt: skip
    print(f"{name}: {1000 * best['seconds']:.1f} ms", flush=True)
    return {"net": name, "images": images, **best}


# ------------------------------------------------------------------------------------------------------------ formula


def allreduce(n: float, k: int, alpha: float, beta: float) -> float:
    """Seconds of the fastest of three algorithms for n bytes on k machines."""
    rounds = math.ceil(math.log2(k))
    least = 2 * (k - 1) / k * n / beta
    return min(2 * (k - 1) * alpha + least, 2 * rounds * (alpha + n / beta), 2 * rounds * alpha + least)


def gather(n: float, k: int, alpha: float, beta: float) -> float:
    """Seconds until each of k machines has the n bytes of all."""
    return math.ceil(math.log2(k)) * alpha + (k - 1) * n / beta


def step(net: dict, k: int, alpha: float, beta: float) -> float:
    """The estimated seconds of a step on k machines.   net: what `measured` found"""
    norm = sum((gather if what == "gather" else allreduce)(n, k, alpha, beta) for what, n in net["norm"])
    free = 0.0                                             # when the link has nothing more to send
    for ready, n in net["buckets"]:
        free = max(free, ready) + allreduce(n, k, alpha, beta)
    return norm + free + net["seconds"] - net["buckets"][-1][0]


def efficiency(net: dict, k: int, link: str) -> float:
    """The time of the measured step divided by that on k machines."""
    return net["seconds"] / step(net, k, *LINKS[link])


def tables(document: dict) -> str:
    """The part of docs/many-machines.md that shows the estimate."""
    head = ["net, images a machine", "link", *map(str, MACHINES)]
    body = [[f"{net['net']}, {net['images']}" * (i == 0), link,
             *(f"{100 * efficiency(net, k, link):.0f} %" for k in MACHINES)]
            for net in document["nets"] for i, link in enumerate(LINKS)]  # fmt: skip
    lines = table(head, body).splitlines()
    lines[1] = "| --- | --- |" + " ---: |" * len(MACHINES)
    steps = ", ".join(f"{net['net']} {1000 * net['seconds']:.0f} ms" for net in document["nets"])
    of = f"{document['machine']['cpu']}, {document['date']}"
    return ("\n**Estimated, not measured**: the efficiency of 2 to 64 machines\n\n" + "\n".join(lines)
            + f"\n\nMeasured were the steps of one machine, in CPU time of one thread: {steps} ({of}).\n")


if __name__ == "__main__":
    main()
