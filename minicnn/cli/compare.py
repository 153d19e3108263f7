"""minicnn compare M1 M2 …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn.cli import console
from minicnn.cli.diff import measured
from minicnn.cli.summary import mega
from minicnn.inspect.literature import entry, literature
from minicnn.inspect.picture import bubbles


def compare(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models, or MODEL:VARIANT.", show_default="all with a known accuracy")
    ] = None,
    chart: Annotated[Path, typer.Option(help="Where to draw accuracy against operations.")] = Path("compare.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, draw nothing.")] = False,
):
    """Compare nets: size, work, memory and the literature's accuracy; draw accuracy against operations."""
    rows: list[dict[str, Any]] = []
    for spec in models or [name for name, known in literature().items() if known.top1]:
        name = spec.partition(":")[0]
        rows.append({"model": spec, **measured(spec).totals, "top1": entry(name).top1, "where": entry(name).where})
    if as_json:
        return console.print_json(rows)
    table = console.table("model", ">parameters", ">MACs", ">FLOPs", ">activations", ">inference", ">training",
                          ">top-1, %")  # fmt: skip
    for r in rows:
        table.add_row(r["model"], *(f"{r[key]:,}" for key in ("parameters", "macs", "flops", "activations")),
                      mega(r["inference_bytes"]), mega(r["training_bytes"]),
                      f"{r['top1']:.2f}" if r["top1"] else "·")  # fmt: skip
    console.show(table)
    console.out.print("\nCounts are of one image at each net's own input size. Accuracies are the literature's "
                      "(`minicnn cite` says whose), not measured here.", soft_wrap=True)  # fmt: skip
    known = [r for r in rows if r["top1"]]
    if not known:
        return None
    try:
        bubbles([r["model"] for r in known], [r["macs"] / 1e9 for r in known], [r["top1"] for r in known],
                [r["inference_bytes"] / 1e6 for r in known], chart)  # fmt: skip
    except ModuleNotFoundError as missing:
        console.out.print(f"no picture: {missing}")
        return None
    console.out.print(f"drawn in {chart}")
