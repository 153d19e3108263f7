"""Whole nets: a step of training (forward, backward, SGD with momentum), answers to 1 and to 32 images, peak memory.

    python -m benchmarks.models --vs torch
    python -m benchmarks.models --memory            VGG-16 at 224×224, 4 images: one step, and what it holds
"""

from __future__ import annotations

import contextlib
import sys

from benchmarks import harness
from minicnn.bench.model import NETS
from minicnn.bench.timing import geometric_mean

LAYOUTS = ("contiguous", "channels_last")
LARGE = "vgg16"
"""Only measured with --memory: it needs gigabytes."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("--memory", action="store_true", help=f"{LARGE} as well")
    parser.add_argument("--only-memory", action="store_true", help=f"{LARGE} alone")
    parser.add_argument("--batch", type=int, default=0, help="images in a step; by default the net's own")
    args = parser.parse_args(argv)
    names = [name for name in NETS if (name == LARGE) <= (args.memory or args.only_memory)]
    names = [LARGE] if args.only_memory else [names[i] for i in harness.selected(names, args.cases)]
    rows, about = [], []
    for name in names:
        rows.append(measure(name, args, about))
    harness.write("models", args, argv, about, cases=rows, summary=summary(rows))


def measure(name: str, args, about: list) -> dict:
    """One net: that both compute the same, then times in turn, then the memory of fresh processes."""
    batch = args.batch or NETS[name][3]
    spec = {"name": name, "batch": batch, **({"infer": [1], "images": batch} if name == LARGE else {})}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(harness.ours(args.threads))
        torch = None
        if "torch" in args.vs:
            torch = stack.enter_context(harness.pytorch(args.torch_python, args.threads))
        if not about:
            about += [c.ask("about") | {"name": c.name} for c in (ours, torch) if c]
        with harness.shared_file() as path:
            known = ours.ask("prepare", kind="net", spec={**spec, "share": path if torch else None})
            lanes, theirs = {ours: known["calls"]}, None
            if torch:
                theirs = torch.ask("prepare", kind="net", spec={**spec, "compare": path})
                lanes[torch] = theirs["calls"]
        if theirs:
            must_agree(name, known, theirs)
        taken = harness.race(lanes, args.rounds, args.seconds, args.pause)
    row = {**{k: known[k] for k in ("parameters", "batch", "shape")}, "name": name,
           "times": harness.spreads(taken["minicnn"])}  # fmt: skip
    row["images_per_second"] = {what: images(what, batch) / t["median"] for what, t in row["times"].items()}
    spec = {**spec, "infer": [], "images": batch}
    row["memory"] = memory(harness.ours(args.threads), spec)
    if theirs:
        row["torch"], row["logits_off"] = harness.spreads(taken["torch"]), theirs["logits"]
        row["better"] = {what: harness.better(row["torch"], what) for what in row["times"]}
        row["vs_torch"] = {what: row["better"][what][1] / t["median"] for what, t in row["times"].items()}
        row["torch_memory"] = {
            layout: memory(harness.pytorch(args.torch_python, args.threads),
                           {**spec, "layouts": [layout], "shape": known["shape"]})
            for layout in LAYOUTS}  # fmt: skip
    print(line(row), flush=True)
    return row


def must_agree(name: str, known: dict, theirs: dict, tolerance: float = 1e-4) -> None:
    """With one's weights in the other the nets must answer alike."""
    if known["parameters"] != theirs["parameters"]:
        raise SystemExit(f"error: {name} has {known['parameters']:,} parameters here and {theirs['parameters']:,} in "
                         "torch_nets.py: they are two nets")
    for layout, off in theirs["logits"].items():
        if not off <= tolerance:
            raise SystemExit(f"error: {name} ({layout}): the logits differ by {off:.1e} of the largest one, more than "
                             f"{tolerance:.0e}: they are two nets")


def memory(competitor: harness.Competitor, spec: dict) -> dict:
    """The most that a process of its own holds in two steps of training, and what it holds before the net is made."""
    with competitor:
        base = competitor.ask("memory")["bytes"]
        competitor.ask("prepare", kind="net", spec=spec)           # warming up is two steps
        return {"peak_bytes": competitor.ask("memory")["bytes"], "empty_bytes": base}


def images(what: str, batch: int) -> int:
    """How many images one call computes: "step" a batch, "infer 32" 32."""
    return batch if what == "step" else int(what.split()[1])


def summary(rows: list[dict]) -> dict:
    """Geometric means over the nets; above 1 minicnn is the faster one, or the smaller one."""
    found: dict = {}
    for what in sorted({what for row in rows for what in row.get("vs_torch", {})}):
        ratios = [row["vs_torch"][what] for row in rows if what in row["vs_torch"]]
        found[what] = {"geometric_mean": geometric_mean(ratios), "worst": min(ratios), "best": max(ratios),
                       "cases": len(ratios), "faster": sum(r >= 1 for r in ratios)}  # fmt: skip
    return {"vs_torch": found} if found else {}


def line(row: dict) -> str:
    """One net, for somebody who watches."""
    text = f"{row['name']:14}"
    for what, spread in row["times"].items():
        text += f" {what} {harness.milliseconds(spread['median'])} {row['images_per_second'][what]:7.1f} img/s"
        if "vs_torch" in row:
            text += f" (torch {harness.milliseconds(row['better'][what][1])}, ×{row['vs_torch'][what]:.2f})"
    text += f"  {(row['memory']['peak_bytes'] or 0) / 1e6:.0f} MB"
    for layout, of in row.get("torch_memory", {}).items():
        text += f", torch {layout} {(of['peak_bytes'] or 0) / 1e6:.0f} MB"
    return text


if __name__ == "__main__":
    main()
