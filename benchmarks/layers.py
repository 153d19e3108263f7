"""Every other layer, forward and backward: times, and bytes moved a second.

    python -m benchmarks.layers --vs torch
"""

from __future__ import annotations

import contextlib
import math
import sys

from benchmarks import harness
from minicnn.bench.timing import geometric_mean

LAYERS = [
    {"name": "batch norm (training)", "op": "batch_norm", "shape": [16, 64, 56, 56]},
    {"name": "ReLU", "op": "relu", "shape": [16, 64, 56, 56]},
    {"name": "max pool 2/2", "op": "max_pool", "shape": [16, 64, 56, 56], "kernel": 2, "stride": 2},
    {"name": "max pool 3/2", "op": "max_pool", "shape": [16, 64, 55, 55], "kernel": 3, "stride": 2},
    {"name": "average pool 2/2", "op": "avg_pool", "shape": [16, 64, 56, 56], "kernel": 2, "stride": 2},
    {"name": "response norm, 5 maps", "op": "lrn", "shape": [16, 96, 27, 27]},
    {"name": "softmax cross-entropy", "op": "cross_entropy", "shape": [128, 1000]},
    {"name": "dropout, p = 0.5", "op": "dropout", "shape": [128, 4096]},
    {"name": "linear 4096 → 4096", "op": "linear", "shape": [64, 4096], "outputs": 4096},
    {"name": "SGD with momentum, 4 M weights", "op": "sgd", "shape": [1024, 4096]},
    {"name": "Adam, 4 M weights", "op": "adam", "shape": [1024, 4096]},
]
"""What `benchmarks/ours.py` and `benchmarks/torch_worker.py` know how to make."""


def traffic(spec: dict) -> dict[str, int]:
    """Bytes in float32 that each direction must move at least, every array that it needs read or written once."""
    size = 4 * math.prod(spec["shape"])
    if spec["op"] in ("max_pool", "avg_pool"):
        N, C, H, W = spec["shape"]
        k, s = spec["kernel"], spec["stride"]
        out = 4 * N * C * ((H - k) // s + 1) * ((W - k) // s + 1)
        winners = out if spec["op"] == "max_pool" else 0
        return {"forward": size + out + winners, "backward": size + out + winners}
    if spec["op"] == "linear":
        N, I = spec["shape"]
        w, y = 4 * I * spec["outputs"], 4 * N * spec["outputs"]
        return {"forward": size + w + y, "backward": 2 * (size + w) + y}
    forward, backward = {
        "batch_norm": (3, 5),      # x read for the statistics and again, y; then dy and x read twice, dx
        "relu": (2, 3),            # x, y; dy, x or y, dx
        "lrn": (2, 4),             # x, y; dy, x, the sums, dx
        "cross_entropy": (2, 2),   # logits, probabilities; probabilities, dx
        "dropout": (3, 3),         # x, mask, y; dy, mask, dx
        "sgd": (5, 0),             # weight, gradient, velocity read; weight, velocity written
        "adam": (7, 0),            # weight, gradient, m, v read; weight, m, v written
    }[spec["op"]]
    return {"forward": forward * size, "backward": backward * size} if backward else {"forward": forward * size}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    args = harness.options(__doc__).parse_args(argv)
    specs = [LAYERS[i] for i in harness.selected([spec["name"] for spec in LAYERS], args.cases)]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(harness.ours(args.threads))
        torch = None
        if "torch" in args.vs:
            torch = stack.enter_context(harness.pytorch(args.torch_python, args.threads))
        about = [c.ask("about") | {"name": c.name} for c in (ours, torch) if c]
        rows = [measure(spec, ours, torch, args) for spec in specs]
    harness.write("layers", args, argv, about, cases=rows, summary=summary(rows))


def measure(spec: dict, ours: harness.Competitor, torch: harness.Competitor | None, args) -> dict:
    """One layer: first whether it is right, then how long it takes."""
    with harness.shared_file() as path:
        known = ours.ask("prepare", kind="layer", spec={**spec, "share": path if torch else None})
        lanes, row = {ours: known["calls"]}, {**spec, "error": known.get("error"), "bytes": traffic(spec)}
        if torch:
            theirs = torch.ask("prepare", kind="layer", spec={**spec, "compare": path})
            lanes[torch] = theirs["calls"]
            row["agreement"] = theirs["agreement"]
    for what, error in {**(row["error"] or {}), **row.get("agreement", {})}.items():
        if not error <= 1e-3:
            raise SystemExit(f"error: {spec['name']}, {what}: error {error:.1e} is above 1e-3: "
                             "what is wrong is not timed")
    taken = harness.race(lanes, args.rounds, args.seconds, args.pause)
    for competitor in lanes:
        competitor.ask("drop")
    row["times"] = harness.spreads(taken[ours.name])
    row["bytes_per_second"] = {what: row["bytes"][what] / spread["median"] for what, spread in row["times"].items()}
    if torch:
        row["torch"] = harness.spreads(taken[torch.name])
        row["better"] = {what: harness.better(row["torch"], what) for what in row["times"]}
        row["vs_torch"] = {what: row["better"][what][1] / spread["median"] for what, spread in row["times"].items()}
    print(line(row), flush=True)
    return row


def summary(rows: list[dict]) -> dict:
    """Geometric means over the layers; above 1 minicnn is the faster one."""
    found = {}
    for what in ("forward", "backward"):
        ratios = [row["vs_torch"][what] for row in rows if what in row.get("vs_torch", {})]
        if ratios:
            found[what] = {"geometric_mean": geometric_mean(ratios), "worst": min(ratios), "best": max(ratios),
                           "cases": len(ratios), "faster": sum(r >= 1 for r in ratios)}  # fmt: skip
    return {"vs_torch": found} if found else {}


def line(row: dict) -> str:
    """One layer, for somebody who watches."""
    text = f"{row['name']:32}"
    for what, spread in row["times"].items():
        text += f" {what} {harness.milliseconds(spread['median'])} {row['bytes_per_second'][what] / 1e9:6.1f} GB/s"
        if "vs_torch" in row:
            text += f" (torch {harness.milliseconds(row['better'][what][1])}, ×{row['vs_torch'][what]:.2f})"
    return text


if __name__ == "__main__":
    main()
