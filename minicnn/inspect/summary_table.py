"""The layers of a net as a table: plain text for print, HTML for a notebook, cells for `minicnn summary`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from minicnn import foreign

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Layer:
    """One layer of a net, or one block of layers where `Summary.at_depth` merged them. All counts are for one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    """The output's shape without the batch axis."""
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    groups: int
    parameters: int
    """A layer that is used twice has two rows; its parameters are counted in the first."""
    buffers: int
    macs: int
    activations: int
    """Output values of layers that multiply or have a window: the activations that papers count."""
    values: int
    """Output values of any layer: training keeps them all."""
    field: tuple[int, int]
    """The receptive field: how many pixels down and across an output element depends on."""
    total_stride: tuple[float, float]
    """The distance in pixels between the fields of neighbouring elements."""
    offset: tuple[int, int]
    """The first pixel of the field of element (0, 0); negative inside the padding."""


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a net in the order in which they compute.

    `print(summary)` shows the table of `minicnn summary`; a notebook shows it as HTML.
    """

    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    peak: int
    blocks: dict[str, Layer] = field(default_factory=dict, compare=False, repr=False)
    """Output and receptive field of each block of layers, by name; without counts of its own."""
    name: str = ""
    """The name in the title: that of the net's class, unless `named` changed it."""

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html(self)

    def named(self, name: str) -> Summary:
        """The same, with another name in the title."""
        return replace(self, name=name)

    @property
    def totals(self) -> dict[str, int]:
        """The counts of the whole net for one image.

        parameters; buffers (running statistics: state that no gradient changes); macs; flops = 2·macs; activations, the
        input included; training_bytes: parameters, their gradients and every layer's output, in float32;
        inference_bytes: parameters, buffers and the largest input and output that one layer holds at the same time.
        """
        keys = ("parameters", "buffers", "macs", "activations", "values")
        sums = {key: sum(getattr(layer, key) for layer in self.layers) for key in keys}
        pixels = math.prod(self.input)
        values = sums.pop("values") + pixels
        state = sums["parameters"] + sums["buffers"]
        return {
            **sums,
            "flops": 2 * sums["macs"],
            "activations": sums["activations"] + pixels,
            "training_bytes": BYTES * (state + sums["parameters"] + values),
            "inference_bytes": BYTES * (state + self.peak),
        }

    @property
    def rows(self) -> tuple[Layer, ...]:
        """The layers: one row of the table each."""
        return self.layers

    def as_dict(self) -> dict:
        """For --json: input, layers, totals."""
        return {"input": list(self.input), "layers": [asdict(layer) for layer in self.layers], "totals": self.totals}

    def at_depth(self, depth: int) -> Summary:
        """The same with layers merged into blocks: at depth 1, `layer1.0.conv1` is part of `layer1`."""
        rows: list[list[Layer]] = []
        for layer in self.layers:
            block = ".".join(layer.name.split(".")[:depth])
            if rows and ".".join(rows[-1][0].name.split(".")[:depth]) == block:
                rows[-1].append(layer)
            else:
                rows.append([layer])
        return replace(self, layers=tuple(self._merged(row, depth) for row in rows))

    def _merged(self, row: list[Layer], depth: int) -> Layer:
        name = ".".join(row[0].name.split(".")[:depth])
        if name == row[0].name:
            return row[0]
        keys = ("parameters", "buffers", "macs", "activations", "values")
        return replace(self.blocks.get(name, row[-1]), name=name, **{k: sum(getattr(x, k) for x in row) for k in keys})


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
        return "<tr>" + "".join(f'<{tag} style="{style}">{foreign.html(value)}</{tag}>'
                                for style, value in zip(styles, values)) + "</tr>"  # fmt: skip

    return "\n".join([
        f"<table><caption>{foreign.html(title(report))}</caption>",
        "<thead>" + line("th", [heading.lstrip(">") for heading in headings]) + "</thead><tbody>",
        *(line("td", row) for row in rows[:-1]), line("th", rows[-1]), "</tbody></table>",
        *(f"<p>{foreign.html(note)}</p>" for note in notes(report)),
    ])  # fmt: skip


def times(shape: Sequence[float]) -> str:
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
    """Field, stride and offset; for a flattened map only the field is defined."""
    if not layer.output:                                   # computes in training only
        return "", "", ""
    if len(layer.output) < 3:
        return both(layer.field), "", ""
    return both(layer.field), both(layer.total_stride), both(layer.offset)


def both(pair: Sequence[float] | None) -> str:
    """"11" for (11, 11), "1×7" for (1, 7)."""
    return "" if pair is None else str(pair[0]) if pair[0] == pair[1] else times(pair)
