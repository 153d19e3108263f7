"""minicnn compare M1 M2 …; with --stages, --side-by-side, --stacks or --ilsvrc another table of compare_tables.py."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minicnn.cli import console
from minicnn.cli.model_name import InputSize, ModelSettings, Named, find
from minicnn.cli.summary import measured

if TYPE_CHECKING:
    from minicnn.inspect.literature import Entry


class Area(enum.StrEnum):
    """The meaning of a disc's area in the chart."""

    memory = "memory"
    parameters = "parameters"


AREAS = {Area.memory: "memory, inference", Area.parameters: "parameters"}


def compare(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Nets: NAME, NAME:VARIANT, FILE.py::NET, runs.", show_default="all with a known accuracy"),
    ] = None,
    input_size: InputSize = "",
    settings: ModelSettings = None,
    area: Annotated[Area, typer.Option(help="What the area of a disc shows: memory for inference, or parameters.")
                    ] = Area.memory,
    out: Annotated[Path | None, typer.Option(help="The picture to write: accuracy against operations.")] = None,
    stages: Annotated[bool, typer.Option("--stages", help="The work of each net by the size of its maps.")] = False,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="The layers of nets in columns, as in the ResNet paper; --out draws.")
    ] = False,
    stacks: Annotated[
        bool, typer.Option("--stacks", help="3×3 filters against one 5×5, 7×7 or 11×11; --input CxHxW are the maps.")
    ] = False,
    ilsvrc: Annotated[bool, typer.Option("--ilsvrc", help="Results of the ImageNet challenge by year, and a person's.")
                      ] = False,
    as_json: console.Json = False,
):
    """Compare nets: size, work, memory and the literature's accuracy; draw accuracy against operations."""
    from minicnn.inspect.literature import literature
    from minicnn.inspect.summary_table import mega

    if out:
        console.check_out(out, console.PICTURES)
    if stages or side_by_side or stacks or ilsvrc:
        asked = {"--stages": stages, "--side-by-side": side_by_side, "--stacks": stacks, "--ilsvrc": ilsvrc}
        return _other_table([flag for flag, given in asked.items() if given], models or [], settings, input_size, out,
                            as_json)  # fmt: skip
    rows: list[dict[str, Any]] = []
    for model in models or [name for name, known in literature().items() if known.top1]:
        found = find(model, settings, input_size)
        known = _known(found)
        rows.append({"model": model, **measured(found).totals, "top1": known.top1, "top1_modern": known.top1_modern,
                     "where": known.where if known.top1 else None, "cifar10_error": known.cifar10_error})  # fmt: skip
    missing = _draw([row for row in rows if row["top1"]], area, out) if out else ""
    if as_json:
        return console.print_json(rows)
    cifar = any(r["cifar10_error"] for r in rows)
    accuracies = ("top1", "top1_modern", *["cifar10_error"] * cifar)
    table = console.table("model", ">parameters", ">MACs", ">FLOPs", ">activations", ">inference", ">training",
                          ">top-1, %", ">modern, %", *[">CIFAR-10 error, %"] * cifar)  # fmt: skip
    for r in rows:
        table.add_row(console.escape(r["model"]),
                      *(f"{r[key]:,}" for key in ("parameters", "macs", "flops", "activations")),
                      mega(r["inference_bytes"]), mega(r["training_bytes"]),
                      *(f"{r[key]:.2f}" if r[key] else "·" for key in accuracies))  # fmt: skip
    console.show(table, ("FLOPs", "activations", "training", "inference", "modern, %"))
    console.say("\nCounts are of one image at each net's own input size. Accuracies are from the literature "
                "(`minicnn cite` names the source), not measured here. top-1 is of the classic recipe, the one "
                "in the chart; modern of torchvision's recipe of 2021: compare within a column only.")  # fmt: skip
    if out:
        console.say(missing or f"chart: {out}", markup=False)
    return None


def _other_table(flags: list[str], models: list[str], settings: list[str] | None, input_size: str, out: Path | None,
                 as_json: bool) -> None:
    from minicnn.cli import compare_tables

    flag = flags[0]
    if len(flags) > 1:
        raise console.UsageError(f"{flag} and {flags[1]} are two tables: ask for one")
    if flag in ("--stages", "--side-by-side") and not models:
        raise console.UsageError(f"{flag} needs the names of nets, such as minicnn compare {flag} vgg19 "
                                 "resnet34")
    if flag in ("--stacks", "--ilsvrc") and models:
        raise console.UsageError(f"{flag} takes no nets: leave {models[0]} out")
    if out and flag != "--side-by-side":
        raise console.UsageError(f"--out draws the chart of nets, or --side-by-side; {flag} has no picture")
    if flag == "--stacks":
        return compare_tables.stacks(input_size, as_json)
    if flag == "--ilsvrc":
        return compare_tables.ilsvrc(as_json)
    nets = [find(model, settings, input_size) for model in models]
    if flag == "--side-by-side":
        return compare_tables.side_by_side(nets, out, as_json)
    return compare_tables.stages(nets, as_json)


def _known(found: Named) -> Entry:
    """Its figures in the literature; only for the variant with published weights, and default options."""
    from minicnn import models as zoo
    from minicnn.inspect.literature import Entry, entry

    base, options = found.name.partition(":")[0], {**found.options}
    if base not in zoo.names() or options.pop("variant", None) not in (None, *zoo.variants(base)[:1]) or options:
        return Entry()
    return entry(base)


def _draw(rows: list[dict[str, Any]], area: Area, out: Path) -> str:
    """Draw the chart. → "", or one sentence that says why there is none."""
    if not rows:
        return "no picture: no ImageNet accuracy is known for these nets"
    from minicnn.inspect import accuracy_chart

    key, unit = ("inference_bytes", "MB") if area is Area.memory else ("parameters", "million")
    try:
        accuracy_chart.draw([r["model"] for r in rows], [r["macs"] / 1e9 for r in rows], [r["top1"] for r in rows],
                            [r[key] / 1e6 for r in rows], out, title=AREAS[area], unit=unit)  # fmt: skip
    except ModuleNotFoundError as missing:
        return f"no picture: {missing}"
    return ""
