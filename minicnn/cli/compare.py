"""minicnn compare M1 M2 …"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import models as zoo
from minicnn.cli import console
from minicnn.cli.diff import measured
from minicnn.cli.summary import mega
from minicnn.inspect import accuracy_chart
from minicnn.inspect.literature import Entry, entry, literature


class Area(enum.StrEnum):
    """What the area of a disc in the chart stands for."""

    memory = "memory"
    parameters = "parameters"


AREAS = {Area.memory: "memory, inference", Area.parameters: "parameters"}


def compare(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models, or MODEL:VARIANT.", show_default="all with a known accuracy")
    ] = None,
    chart: Annotated[Path, typer.Option(help="Where to draw accuracy against operations.")] = Path("compare.png"),
    area: Annotated[Area, typer.Option(help="What the area of a disc is: memory for inference, or parameters.")
                    ] = Area.memory,
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
        rows.append({"model": spec, **totals, "top1": known.top1, "top1_modern": known.top1_modern,
                     "where": known.where if known.top1 else None})  # fmt: skip
    if as_json:
        return console.print_json(rows)
    table = console.table("model", ">parameters", ">MACs", ">FLOPs", ">activations", ">inference", ">training",
                          ">top-1, %", ">modern, %")  # fmt: skip
    for r in rows:
        table.add_row(r["model"], *(f"{r[key]:,}" for key in ("parameters", "macs", "flops", "activations")),
                      mega(r["inference_bytes"]), mega(r["training_bytes"]),
                      *(f"{r[key]:.2f}" if r[key] else "·" for key in ("top1", "top1_modern")))  # fmt: skip
    console.show(table, ("FLOPs", "activations", "training", "inference", "modern, %"))
    console.say("\nCounts are of one image at each net's own input size. Accuracies are the literature's "
                "(`minicnn cite` says whose), not measured here. top-1 is of the classic training recipe, the one in "
                "the chart; modern of torchvision's recipe of 2021: compare within a column only.")  # fmt: skip
    drawn = [r for r in rows if r["top1"]]
    if not drawn:
        console.say("no picture: no accuracy on ImageNet is known of " + ("it" if len(rows) == 1 else "them"))
        return None
    try:
        key, unit = ("inference_bytes", "MB") if area is Area.memory else ("parameters", "million")
        accuracy_chart.draw([r["model"] for r in drawn], [r["macs"] / 1e9 for r in drawn], [r["top1"] for r in drawn],
                            [r[key] / 1e6 for r in drawn], chart, title=AREAS[area], unit=unit)  # fmt: skip
    except ModuleNotFoundError as missing:
        console.say(f"no picture: {missing}", markup=False)
        return None
    console.say(f"drawn in {chart}", markup=False)
