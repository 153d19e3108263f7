"""Writes the tables of counts into the pages of this folder. The numbers are computed from the nets' own code.

    python docs/models/make_tables.py             rewrite the text between the markers
    python docs/models/make_tables.py --check     change nothing; exit code 1 if a page is not up to date

In a page `<!-- counts: SPEC SPEC … -->` begins a table, `<!-- zoo -->` the table of all nets, and `<!-- end -->` ends
both. A SPEC is a model's name; after a colon its variant and options, after an @ the images' side:

    alexnet      alexnet:paper      alexnet:paper,groups=1      mobilenet_v1:width=0.5@128
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicnn import inspect, models
from minicnn.nn import init

HERE = Path(__file__).parent
TABLE = re.compile(r"<!-- (?:counts:\s+(?P<specs>[^>]+?)\s+|zoo )-->\n.*?<!-- end -->", re.S)


@dataclass(frozen=True)
class Measured:
    """A net, counted."""

    model: str
    options: str
    report: inspect.Summary

    @property
    def input(self) -> str:
        """Such as 3×224×224."""
        return "×".join(map(str, self.report.input))

    @property
    def field(self) -> tuple[str, str]:
        """The receptive field of the last map, in pixels across, and its total stride."""
        maps = [layer for layer in self.report.layers if len(layer.output) == 3]
        sides = [layer.output[2] for layer in maps]
        if any(side > before for side, before in zip(sides[1:], sides)):
            return "all", "·"      # squeeze-and-excitation multiplies every element by means of whole maps
        windows = [layer for layer in maps if layer.kernel]
        return f"{max(layer.field[1] for layer in windows):,}", str(windows[-1].total_stride[1])


@functools.cache
def measure(spec: str) -> Measured:
    """What a SPEC stands for."""
    name, _, side = spec.partition("@")
    model, _, words = name.partition(":")
    options: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        key, given, value = word.partition("=")
        options |= {key: ast.literal_eval(value)} if given else {"variant": key}
    shape = models.input_shape(model, options.get("variant", ""))
    if side:
        shape = (shape[0], int(side), int(side))
    with init.shapes_only():
        net = models.build(model, **options)
    said = ", ".join([f"variant={v}" if k == "variant" else f"{k}={v}" for k, v in options.items()])
    return Measured(model, said, inspect.summary(net, shape))


def counts(specs: str) -> str:
    """A family's table, one row for each SPEC."""
    lines = ["| net | input | parameters | buffers | MACs | receptive field | stride |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for spec in specs.split():
        it, totals = measure(spec), measure(spec).report.totals
        name = f"`{it.model}`" + (f", `{it.options}`" if it.options else "")
        figures = [f"{totals[key]:,}" if totals[key] else "·" for key in ("parameters", "buffers", "macs")]
        lines.append(f"| {name} | {it.input} | {' | '.join([*figures, *it.field])} |")
    return "\n".join(lines)


def zoo() -> str:
    """The table of all nets, each with a link to its family's page and to its file."""
    pages = {model: page for page in pages_of_families() for model in models_on(page)}
    lines = ["| net | input | parameters | MACs | page | file |", "|---|---|---:|---:|---|---|"]
    for file, _, nets in models.PAPERS:
        for name in nets.split():
            it, page, code = measure(name), pages[name], file.__name__.rpartition(".")[2] + ".py"
            totals = it.report.totals
            lines.append(f"| `{name}` | {it.input} | {totals['parameters']:,} | {totals['macs']:,} "
                         f"| [{page.stem}]({page.name}) | [{code}](../../minicnn/models/{code}) |")  # fmt: skip
    return "\n".join(lines)


def pages_of_families() -> list[Path]:
    """Every page but the index."""
    return [page for page in sorted(HERE.glob("*.md")) if page.name != "index.md"]


def specs_on(page: Path) -> list[str]:
    """The SPECs of a page's tables."""
    return [spec for found in TABLE.finditer(page.read_text("utf-8")) for spec in (found["specs"] or "").split()]


def models_on(page: Path) -> set[str]:
    """The models of a page's tables."""
    return {measure(spec).model for spec in specs_on(page)}


def updated(text: str) -> str:
    """A page's text, with its tables counted now."""

    def table(found):
        begin = found[0].partition("-->")[0] + "-->"
        return f"{begin}\n\n{counts(found['specs']) if found['specs'] else zoo()}\n\n<!-- end -->"

    return TABLE.sub(table, text)


def main() -> int:
    """The program."""
    stale = []
    for page in sorted(HERE.glob("*.md")):
        text = page.read_text("utf-8")
        if updated(text) != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(updated(text), "utf-8")
    if stale:
        print("not up to date:" if "--check" in sys.argv else "rewritten:", ", ".join(stale))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
