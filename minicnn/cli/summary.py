"""minicnn summary MODEL"""

from __future__ import annotations

from typing import Annotated

import typer

from minicnn import inspect, models
from minicnn.cli import console


def summary(
    model: Annotated[str, typer.Argument(help="A model's name, such as lenet5.")],
    input_size: Annotated[
        str, typer.Option("--input", help="Channels × height × width of the image, such as 1x28x28.")
    ] = "",
    classes: Annotated[int, typer.Option(help="Number of classes.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Show a net layer by layer: output shapes, parameters, buffers, multiply-adds (MACs) and FLOPs."""
    console.choose("model", model, models.names())
    shape = _shape(input_size) if input_size else models.input_shape(model)
    net = models.build(model, num_classes=classes, in_channels=shape[0])
    try:
        report = inspect.summary(net, shape)
    except ValueError as problem:
        raise ValueError(f"{model} does not take images of {'×'.join(map(str, shape))} ({problem}); it was made for "
                         f"--input {'x'.join(map(str, models.input_shape(model)))}") from None
    if as_json:
        return console.print_json({"model": model, **report.as_dict()})
    table = console.table(
        "layer", "kind", ">output", ">parameters", ">buffers", ">MACs", title=f"{model} on {'×'.join(map(str, shape))}"
    )
    for layer in report.layers:
        table.add_row(
            layer.name,
            layer.kind,
            "×".join(map(str, layer.output)),
            *_counts(layer.parameters, layer.buffers, layer.macs),
        )
    totals = report.totals
    table.add_section()
    table.add_row("total", "", "", *_counts(totals["parameters"], totals["buffers"], totals["macs"]))
    console.out.print(table)
    console.out.print(
        f"\n{totals['macs']:,} MACs = {totals['flops']:,} FLOPs for one image: convolutions and linear layers, a "
        "multiplication with its addition counted as one MAC or two FLOPs."
    )


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise console.UsageError(f"--input {text!r} must be channels x height x width, such as 1x28x28")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _counts(*numbers):
    return (f"{n:,}" if n else "·" for n in numbers)
