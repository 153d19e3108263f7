"""minicnn cite MODEL"""

from __future__ import annotations

import inspect as python
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from minicnn.cli import console
from minicnn.cli.model_name import ModelSettings, find, of_zoo
from minicnn.cli.summary import measured

FULL = 109
"""A docstring line that the next word would make longer than this continues on the next line."""


def cite(
    model: Annotated[str, typer.Argument(help="A net: NAME, such as googlenet, or NAME:VARIANT.")],
    settings: ModelSettings = None,
    as_json: console.Json = False,
):
    """Show a net's paper and its figures, our exact count of each variant, and why they differ."""
    from minicnn import models
    from minicnn.inspect.literature import entry
    from minicnn.inspect.summary_table import times

    model, options = of_zoo(model, settings)
    builder = models.MODELS[model][0]
    known, variants = entry(model), _counted(model, options)
    paper = python.cleandoc(sys.modules[builder.__module__].__doc__ or "")
    if as_json:
        return console.print_json({
            "model": model, "paper": paper, "about": python.getdoc(builder), "claims": [vars(c) for c in known.claims],
            "counts": variants, "top1": known.top1, "top1_where": known.where if known.top1 else None,
            "top1_modern": known.top1_modern,
            "remarks": list(known.remarks)})  # fmt: skip
    say = console.say
    say(f"[bold]{model}[/]\n")
    _print(paper)
    _print(f"{model}: {python.getdoc(builder)}")
    if known.claims:
        say("[bold]What the paper says[/]")
        for claim in known.claims:
            say(f"  {claim.words} ({claim.what}; {claim.where})", markup=False)
        say("")
    say("[bold]What we count[/]")
    table = console.table("variant", ">input", ">parameters", ">MACs", ">FLOPs")
    for row in variants:
        figures = (f"{row[key]:,}" for key in ("parameters", "macs", "flops"))
        table.add_row(row["variant"], times(row["input"]), *figures)
    console.show(table, ("FLOPs",))
    if known.top1:
        modern = f"; with torchvision's recipe of 2021 {known.top1_modern} %" if known.top1_modern else ""
        say(f"\nTop-1 accuracy on ImageNet in the literature: {known.top1} % ({known.where}){modern}; "
            "not measured here.")
    for remark in known.remarks:
        say(f"\n- {remark}", markup=False)
    return None


def _print(text: str) -> None:
    """Print a docstring; in a terminal narrower than the source, wrap its paragraphs again."""
    if console.out.is_terminal:
        text = "\n".join(_broken(text.splitlines(), console.out.width))
    console.out.print(text + "\n", markup=False, soft_wrap=True)


def _broken(lines: list[str], width: int) -> Iterator[str]:
    """Paragraphs wrapped at `width`. A line continues if the first word of the next one did not fit on it."""
    joined: list[str] = []
    last = ""
    for line in lines:
        words = line.split()
        indents = [len(x) - len(x.lstrip()) for x in (last, line)]
        if words and last.strip() and indents[0] == indents[1] and len(last) + 1 + len(words[0]) >= FULL:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
        last = line
    for line in joined:
        indent = " " * (len(line) - len(line.lstrip()))
        table = "  " in line.strip().replace(".   ", ". ")
        yield from [line] if table else textwrap.wrap(line, width, subsequent_indent=indent) or [""]


def _counted(model: str, options: dict[str, Any]) -> list[dict]:
    """Parameters, MACs and FLOPs of every variant, or of one, with these options, counted now."""
    from minicnn import models

    rows, only = [], options.get("variant")
    for variant in [only] if only else models.variants(model) or [""]:
        found = find(model, {**options, "variant": variant} if variant else options)
        totals = measured(found).totals
        rows.append({"variant": variant or "the only one", "input": list(found.shape),
                     **{key: totals[key] for key in ("parameters", "macs", "flops")}})  # fmt: skip
    return rows
