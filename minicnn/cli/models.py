"""minicnn models"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minicnn.cli import console


def models(
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Count parameters and multiply-adds of every net; takes seconds.")
    ] = False,
    as_json: console.Json = False,
):
    """List every net: its input, its variants and a description; with --sizes its parameters and multiply-adds."""
    from minicnn import models as zoo

    rows: list[dict[str, Any]] = []
    for name in zoo.names():
        about = (zoo.MODELS[name][0].__doc__ or "").strip().splitlines()[0].partition("   ")[0]
        rows.append({"model": name, "input": list(zoo.input_shape(name)), "variants": zoo.variants(name),
                     **(_totals(name) if sizes else {}), "about": about})  # fmt: skip
    if as_json:
        return console.print_json(rows)
    counts = (">parameters", ">MACs") if sizes else ("variants",)
    table = console.table("model", ">input", *counts, "description")
    for row in rows:
        cells = (f"{row['parameters']:,}", f"{row['macs']:,}") if sizes else (" ".join(row["variants"]),)
        table.add_row(row["model"], "×".join(map(str, row["input"])), *cells, row["about"])
    console.show(table, ("description", "input"))


def _totals(name: str) -> dict[str, int]:
    from minicnn.cli.model_name import find
    from minicnn.cli.summary import measured

    return measured(find(name)).totals
