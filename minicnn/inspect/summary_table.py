"""A `Summary` as a table: plain text for print, HTML for a notebook, cells for `minicnn summary`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minicnn.inspect.summary import Layer, Summary


def title(report: Summary) -> str:
    """Such as "resnet18 on 3×224×224"."""
    return f"{report.name} on {times(report.input)}"


def cells(report: Summary) -> tuple[list[str], list[list[str]]]:
    """(headings, rows), the last row with the totals. A heading that starts with > is aligned to the right.

    The column of buffers is left out where the net has none.
    """
    buffers = any(layer.buffers for layer in report.layers)
    headings = ["layer", "kind", ">window", ">output", ">parameters", *[">buffers"] * buffers, ">MACs", ">FLOPs",
                ">activations", ">field", ">stride", ">offset"]  # fmt: skip
    rows = [[x.name, x.kind, window(x), times(x.output),
             *counts(x.parameters, *[x.buffers] * buffers, x.macs, 2 * x.macs, x.activations), *_field(x)]
            for x in report.layers]  # fmt: skip
    t = report.totals
    sums = counts(t["parameters"], *[t["buffers"]] * buffers, t["macs"], t["flops"], t["activations"])
    return headings, [*rows, ["total", "", "", "", *sums, "", "", ""]]


def notes(report: Summary) -> list[str]:
    """The sentences below the table."""
    t = report.totals
    return [
        f"One image: {t['activations']:,} activations, the image included; inference {mega(t['inference_bytes'])}, "
        f"training {mega(t['training_bytes'])} in float32 (weights, gradients, the output of every layer).",
        "MACs: multiply-adds of convolutions and linear layers; FLOPs = 2·MACs. field: receptive field, how many "
        "pixels of the image an output element depends on; stride: how many pixels further the field of the next "
        "element begins; offset: the first pixel of the first field, negative in the padding.",
    ]


def text(report: Summary) -> str:
    """The table and its notes as plain text."""
    headings, rows = cells(report)
    right = [heading.startswith(">") for heading in headings]
    lines = [[heading.lstrip(">") for heading in headings], *rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = ["  ".join(cell.rjust(width) if r else cell.ljust(width) for cell, width, r in zip(line, widths, right))
             for line in lines]  # fmt: skip
    return "\n".join(line.rstrip() for line in (title(report), *table, "", *notes(report)))


def html(report: Summary) -> str:
    """The same as HTML, for a notebook."""
    headings, rows = cells(report)
    styles = ["text-align: " + ("right" if heading.startswith(">") else "left") for heading in headings]

    def line(tag: str, values: Sequence[str]) -> str:
        return "<tr>" + "".join(f'<{tag} style="{style}">{escape(value)}</{tag}>'
                                for style, value in zip(styles, values)) + "</tr>"  # fmt: skip

    return "\n".join([
        f"<table><caption>{escape(title(report))}</caption>",
        "<thead>" + line("th", [heading.lstrip(">") for heading in headings]) + "</thead><tbody>",
        *(line("td", row) for row in rows[:-1]), line("th", rows[-1]), "</tbody></table>",
        *(f"<p>{escape(note)}</p>" for note in notes(report)),
    ])  # fmt: skip


def times(shape: Sequence[int]) -> str:
    """"3×224×224" for (3, 224, 224)."""
    return "×".join(map(str, shape))


def counts(*numbers: int) -> Iterator[str]:
    """Numbers with commas, a dot for 0."""
    return (f"{n:,}" if n else "·" for n in numbers)


def mega(count: int) -> str:
    """Bytes as MB, of a million."""
    return f"{count / 1e6:,.1f} MB"


def window(layer: Layer) -> str:
    """Such as "3×3/2 g32": kernel, stride unless it is 1, groups unless there is 1; "" for a layer without a window."""
    if layer.kernel is None:
        return ""
    stride = "" if layer.stride in (None, (1, 1)) else f"/{both(layer.stride)}"
    return f"{times(layer.kernel)}{stride}" + (f" g{layer.groups}" if layer.groups > 1 else "")


def _field(layer: Layer) -> tuple[str, str, str]:
    """Field, stride and offset; of a flattened map only the field means something."""
    if not layer.output:                                   # works in training only
        return "", "", ""
    if len(layer.output) < 3:
        return both(layer.field), "", ""
    return both(layer.field), both(layer.total_stride), both(layer.offset)


def both(pair: Sequence[int] | None) -> str:
    """"11" for (11, 11), "1×7" for (1, 7)."""
    return "" if pair is None else str(pair[0]) if pair[0] == pair[1] else times(pair)
