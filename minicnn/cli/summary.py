"""minicnn summary MODEL"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from minicnn.cli import console
from minicnn.cli.model_name import InputSize, ModelSettings, Named, find

if TYPE_CHECKING:
    from minicnn.inspect import Summary


def summary(
    model: Annotated[
        str, typer.Argument(help="A net: NAME, NAME:VARIANT, FILE.py::NET of your own, a run folder, a model file or "
                                 "an ONNX file.")
    ],
    input_size: InputSize = "",
    settings: ModelSettings = None,
    depth: Annotated[
        int, typer.Option(help="Merge the layers below this depth into blocks; 0: every layer.", min=0)
    ] = 0,
    as_json: console.Json = False,
):
    """Show a net layer by layer: shapes, parameters, MACs and FLOPs, memory, receptive fields."""
    from minicnn.inspect import summary_table

    found = find(model, settings, input_size)
    report = measured(found)
    if depth:
        report = report.at_depth(depth)
    if as_json:
        name, _, variant = model.partition(":") if "::" not in model else (model, "", "")
        return console.print_json({"model": name, "variant": found.options.get("variant", variant) or None,
                                   "options": found.options, **report.as_dict()})  # fmt: skip
    headings, rows = summary_table.cells(report)
    table = console.table(*headings, title=summary_table.title(report))
    for row in rows[:-1]:
        table.add_row(*map(console.escape, row))
    table.add_section()
    table.add_row(*rows[-1])
    console.show(table, ("activations", "FLOPs", "offset", "stride", "buffers", "field", "window", "kind"))
    console.say("")
    for note in summary_table.notes(report):
        console.say(note, markup=False)


def measured(found: Named) -> Summary:
    """The summary of a net that `find` found; ValueError if its images do not fit."""
    from minicnn import inspect
    from minicnn.inspect.summary_table import times

    try:
        return inspect.summary(found.net, found.shape).named(found.name)
    except ValueError as problem:
        what = f"{found.name} does not take images of {times(found.shape)} ({problem})"
        raise ValueError(what + (f"; it was made for --input {'x'.join(map(str, found.made_for))}"
                                 if found.made_for else "")) from None
