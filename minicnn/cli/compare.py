"""minicnn compare M1 M2 …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import models as zoo
from minicnn.cli import console
from minicnn.cli.diff import measured
from minicnn.cli.summary import mega
from minicnn.inspect import accuracy_chart
from minicnn.inspect.literature import Entry, entry, literature


def compare(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models, or MODEL:VARIANT.", show_default="all with a known accuracy")
    ] = None,
    chart: Annotated[Path, typer.Option(help="Where to draw accuracy against operations.")] = Path("compare.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, draw nothing.")] = False,
):
    """Compare nets: size, work, memory and the literature's accuracy; draw accuracy against operations."""
    if not chart.parent.is_dir() and not as_json:
        raise console.UsageError(f"there is no folder {chart.parent} to draw {chart.name} in: make it, or choose "
                                 "another --chart")  # fmt: skip
    rows: list[dict[str, Any]] = []
    for spec in models or [name for name, known in literature().items() if known.top1]:
        totals = measured(spec).totals
        name, _, variant = spec.partition(":")
        trained = variant in ("", *zoo.variants(name)[:1])      # an accuracy is that of the weights, so of one variant
        known = entry(name) if trained else Entry()
        rows.append({"model": spec, **totals, "top1": known.top1, "where": known.where if known.top1 else None})
    if as_json:
        return console.print_json(rows)
    table = console.table("model", ">parameters", ">MACs", ">FLOPs", ">activations", ">inference", ">training",
                          ">top-1, %")  # fmt: skip
    for r in rows:
        table.add_row(r["model"], *(f"{r[key]:,}" for key in ("parameters", "macs", "flops", "activations")),
                      mega(r["inference_bytes"]), mega(r["training_bytes"]),
                      f"{r['top1']:.2f}" if r["top1"] else "·")  # fmt: skip
    console.show(table, ("FLOPs", "activations", "training", "inference"))
    console.say("\nCounts are of one image at each net's own input size. Accuracies are the literature's "
                "(`minicnn cite` says whose), not measured here.")  # fmt: skip
    drawn = [r for r in rows if r["top1"]]
    if not drawn:
        console.say("no picture: no accuracy on ImageNet is known of " + ("it" if len(rows) == 1 else "them"))
        return None
    try:
        accuracy_chart.draw([r["model"] for r in drawn], [r["macs"] / 1e9 for r in drawn], [r["top1"] for r in drawn],
                [r["inference_bytes"] / 1e6 for r in drawn], chart)  # fmt: skip
    except ModuleNotFoundError as missing:
        console.say(f"no picture: {missing}", markup=False)
        return None
    console.say(f"drawn in {chart}", markup=False)
