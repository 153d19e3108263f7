"""minicnn summary MODEL"""

from __future__ import annotations

from typing import Annotated

import typer

from minicnn import inspect, models
from minicnn.cli import console
from minicnn.nn import Module, init


def summary(
    model: Annotated[str, typer.Argument(help="A model's name, such as resnet18; `minicnn models` lists them.")],
    input_size: Annotated[
        str, typer.Option("--input", help="Channels × height × width of the image, such as 3x224x224.")
    ] = "",
    depth: Annotated[
        int, typer.Option(help="Draw layers below this depth together into blocks; 0: every layer.", min=0)
    ] = 0,
    variant: Annotated[str, typer.Option(help="The model's variant, such as paper.")] = "",
    classes: Annotated[int, typer.Option(help="Number of classes; by default the model's own.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Show a net layer by layer: shapes, parameters, MACs and FLOPs, memory, receptive fields."""
    net, shape = build(model, input_size, variant, classes)
    try:
        report = inspect.summary(net, shape)
    except ValueError as problem:
        made_for = "x".join(map(str, models.input_shape(model, variant)))
        what = f"{model} does not take images of {times(shape)} ({problem})"
        raise ValueError(f"{what}; it was made for --input {made_for}") from None
    if depth:
        report = report.at_depth(depth)
    if as_json:
        return console.print_json({"model": model, "variant": variant or None, **report.as_dict()})
    buffers = any(layer.buffers for layer in report.layers)
    table = console.table("layer", "kind", ">window", ">output", ">parameters", *[">buffers"] * buffers, ">MACs",
                          ">FLOPs", ">activations", ">sees", ">stride", ">offset",
                          title=f"{model} on {times(shape)}")  # fmt: skip
    for x in report.layers:
        table.add_row(
            x.name, x.kind, _window(x), times(x.output),
            *counts(x.parameters, *[x.buffers] * buffers, x.macs, 2 * x.macs, x.activations), *_sight(x))  # fmt: skip
    t = report.totals
    table.add_section()
    table.add_row("total", "", "", "", *counts(t["parameters"], *[t["buffers"]] * buffers, t["macs"], t["flops"],
                                               t["activations"]))  # fmt: skip
    console.show(table, ("activations", "FLOPs", "offset", "stride", "buffers", "sees", "window", "kind"))
    console.say(f"\nOne image: {t['activations']:,} activations, the image included; inference "
                f"{mega(t['inference_bytes'])}, training {mega(t['training_bytes'])} in float32 "
                "(weights, gradients, every layer's output).")  # fmt: skip
    console.say("MACs are multiplications with their addition, of convolutions and linear layers; FLOPs are twice "
                "that. An output element sees `sees` pixels of the image, the next one `stride` pixels further, the "
                "first from pixel `offset` on.")  # fmt: skip


def build(model: str, input_size: str = "", variant: str = "", classes: int = 0) -> tuple[Module, tuple[int, int, int]]:
    """(the net, its weights without values; the input's shape), or a usage error."""
    console.choose("model", model, models.names())
    shape = parse_shape(input_size) if input_size else models.input_shape(model, variant)
    options: dict = {"in_channels": shape[0]}
    options |= {"variant": variant} if variant else {}
    options |= {"num_classes": classes} if classes else {}
    try:
        with init.shapes_only():
            return models.build(model, **options), shape
    except ValueError as problem:
        raise console.UsageError(str(problem)) from None


def parse_shape(text: str) -> tuple[int, int, int]:
    """From "3x224x224" to (3, 224, 224)."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise console.UsageError(f"--input {text!r} must be channels x height x width, such as 3x224x224")
    return int(parts[0]), int(parts[1]), int(parts[2])


def times(shape) -> str:
    """From (3, 224, 224) to "3×224×224"."""
    return "×".join(map(str, shape))


def counts(*numbers):
    """Numbers with commas, a dot for none."""
    return (f"{n:,}" if n else "·" for n in numbers)


def mega(count: int) -> str:
    """Bytes as MB, of a million."""
    return f"{count / 1e6:,.1f} MB"


def _window(layer) -> str:
    if layer.kernel is None:
        return ""
    stride = "" if layer.stride in (None, (1, 1)) else f"/{_both(layer.stride)}"
    return f"{times(layer.kernel)}{stride}" + (f" g{layer.groups}" if layer.groups > 1 else "")


def _sight(layer) -> tuple[str, str, str]:
    """Field, stride and offset; once the map is flattened only the field means anything."""
    if not layer.output:                                   # works in training alone
        return "", "", ""
    if len(layer.output) < 3:
        return _both(layer.field), "", ""
    return _both(layer.field), _both(layer.total_stride), _both(layer.offset)


def _both(pair: tuple[int, int]) -> str:
    """Of (11, 11) "11", of (1, 7) "1×7"."""
    return str(pair[0]) if pair[0] == pair[1] else times(pair)
