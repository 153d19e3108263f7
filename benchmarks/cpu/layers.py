"""The other layers, forward and backward: times, and memory traffic in bytes a second.

    python -m benchmarks.cpu.layers --peers torch
"""

import math
from operator import itemgetter

from benchmarks import harness, ratios

LAYERS = [
    {"name": "batch norm (training)", "op": "BatchNorm2d", "arguments": [64], "shape": [16, 64, 56, 56]},
    {"name": "ReLU", "op": "ReLU", "shape": [16, 64, 56, 56]},
    {"name": "max pool 2/2", "op": "MaxPool2d", "arguments": [2, 2], "shape": [16, 64, 56, 56]},
    {"name": "max pool 3/2", "op": "MaxPool2d", "arguments": [3, 2], "shape": [16, 64, 55, 55]},
    {"name": "average pool 2/2", "op": "AvgPool2d", "arguments": [2, 2], "shape": [16, 64, 56, 56]},
    {"name": "response norm, 5 maps", "op": "LocalResponseNorm", "arguments": [5, 1e-4, 0.75, 2.0],
     "shape": [16, 96, 27, 27]},
    {"name": "softmax cross-entropy", "op": "CrossEntropyLoss", "shape": [128, 1000]},
    {"name": "dropout, p = 0.5", "op": "Dropout", "arguments": [0.5], "shape": [128, 4096]},
    {"name": "linear 4096 → 4096", "op": "Linear", "arguments": [4096, 4096], "shape": [64, 4096]},
    {"name": "SGD with momentum, 4 M weights", "op": "SGD", "shape": [1024, 4096],
     "options": {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}},
    {"name": "Adam, 4 M weights", "op": "Adam", "shape": [1024, 4096], "options": {"lr": 0.01}},
]  # fmt: skip
"""op: the class, of the same name in minicnn and in PyTorch; an optimiser has options."""
PASSES = {
    "BatchNorm2d": (3, 5),         # x read for the statistics and again, y; then dy and x read twice, dx
    "ReLU": (2, 3),                # x, y; dy, x or y, dx
    "LocalResponseNorm": (2, 4),   # x, y; dy, x, the sums, dx
    "CrossEntropyLoss": (2, 2),    # logits, probabilities; probabilities, dx
    "Dropout": (3, 3),             # x, mask, y; dy, mask, dx
    "SGD": (5,),                   # weight, gradient, velocity read; weight, velocity written
    "Adam": (7,),                  # weight, gradient, m, v read; weight, m, v written
}
"""How often an array of the size of the input is read or written, forward and backward."""


def traffic(spec: dict) -> dict[str, int]:
    """The least memory traffic of each direction, in bytes of float32: each array read or written once."""
    size = 4 * math.prod(spec["shape"])
    if spec["op"] in ("MaxPool2d", "AvgPool2d"):
        (N, C, H, W), (k, s) = spec["shape"], spec["arguments"]
        out = 4 * N * C * ((H - k) // s + 1) * ((W - k) // s + 1)
        return dict.fromkeys(("forward", "backward"), size + out + out * (spec["op"] == "MaxPool2d"))
    if spec["op"] == "Linear":
        w, y = 4 * math.prod(spec["arguments"]), 4 * spec["shape"][0] * spec["arguments"][1]
        return {"forward": size + w + y, "backward": 2 * (size + w) + y}
    return {what: passes * size for what, passes in zip(("forward", "backward"), PASSES[spec["op"]])}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.layers", __doc__, argv)
    with harness.Workers.on_cpu(args, "compiled", "numpy", "torch") as workers:
        rows = [measure(spec, workers, args) for spec in harness.selected(LAYERS, args.cases, itemgetter("name"))]
        about = workers.about()
    harness.write(args, about, cases=rows, summary=ratios.summary_of(rows), left_out=workers.problems)


def measure(spec: dict, workers: harness.Workers, args) -> dict:
    """One layer."""
    case, found = {"kind": "layer", **spec}, traffic(spec)
    answers, times = workers.measure(spec["name"], dict.fromkeys((*args.path, "torch"), case), args)
    own = {name: times[name] for name in args.path if name in times}
    row = {**spec, "error": {name: answers[name].get("error") for name in own}, "bytes": found}
    row["bytes_per_second"] = {name: {what: found[what] / spread["median"] for what, spread in calls.items()}
                               for name, calls in own.items()}  # fmt: skip
    if "torch" in times:
        row["agreement"] = answers["torch"]["agreement"]
    ratios.compare(row, own, {"torch": times["torch"]} if "torch" in times else {})
    ratios.show_paths(row)
    return row


if __name__ == "__main__":
    main()
