"""minicnn models"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minicnn import inspect
from minicnn import models as zoo
from minicnn.cli import console
from minicnn.cli.summary import build, times


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
    """List every net: its input, parameters and multiply-adds, counted now, and what it is."""
    rows: list[dict[str, Any]] = []
    for name in zoo.names():
        net, shape = build(name)
        totals = inspect.summary(net, shape).totals
        about = (zoo.MODELS[name][0].__doc__ or "").strip().splitlines()[0].partition("   ")[0]
        rows.append({"model": name, "input": list(shape), **totals, "about": about})
    if as_json:
        return console.print_json(rows)
    table = console.table("model", ">input", ">parameters", ">MACs", "what it is")
    for row in rows:
        table.add_row(row["model"], times(row["input"]), f"{row['parameters']:,}", f"{row['macs']:,}", row["about"])
    console.show(table, ("what it is", "input"))
