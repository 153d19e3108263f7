"""Nets as columns of layers, side by side, with maps of one size at one height: as text and as a picture.

As in He, Zhang, Ren & Sun 2015, figure 3: VGG-19, a plain net and a residual net of 34 layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from minicnn import foreign
from minicnn.inspect.main_path import MainPath, Step
from minicnn.inspect.plots import figure, write


def sizes(paths: Sequence[MainPath]) -> list[int]:
    """The heights of maps that any of the nets has, from large to small."""
    return sorted({step.size for path in paths for step in path.steps}, reverse=True)


def text_rows(paths: Sequence[MainPath]) -> Iterator[tuple[str, list[str]]]:
    """(the size of the maps, a cell for each net): equal layers in a row are one line; a sum counts where it ends."""
    for size in sizes(paths):
        cells = [_lines(path, size) for path in paths]
        for i in range(max(map(len, cells))):
            yield (f"{size}×{size}" if not i else ""), [cell[i] if i < len(cell) else "" for cell in cells]


def _lines(path: MainPath, size: int) -> list[str]:
    lines = []
    for name, group in groupby(str(step) for step in path.steps if step.size == size):
        count = len(list(group))
        lines.append(f"{name}  ×{count}" if count > 1 else name)
    ends = [s for s in path.shortcuts if path.steps[s.end - 1].size == size]
    if ends:
        projected = sum(s.projected for s in ends)
        other = f", {projected} with a 1×1 conv" if projected else ""
        lines.append(f"  + {len(ends)} shortcut{'s' * (len(ends) > 1)}{other}")
    return lines


COLOURS = {"pool": "#dddddd", "linear": "#f6e3b4"}


def draw(names: Sequence[str], paths: Sequence[MainPath], captions: Sequence[str], path: str | Path) -> None:
    """A column of boxes for each net. Shortcuts are arcs, dotted where they change the shape. Needs matplotlib."""
    heights = {size: max(sum(step.size == size for step in p.steps) for p in paths) for size in sizes(paths)}
    rows = sum(heights.values()) + len(heights)
    fig = figure(1.2 + 2.6 * len(paths), 1.4 + 0.19 * rows)
    ax = fig.subplots()
    top = 0.0
    starts = {}
    for size, height in heights.items():
        starts[size] = top
        ax.axhline(top - 0.5, color="#bbbbbb", linewidth=0.6)
        ax.text(-0.75, top, f"{size}×{size}", fontsize=7, va="center")
        top += height + 1
    for column, (name, net, caption) in enumerate(zip(names, paths, captions)):
        ax.text(column, -2.2, foreign.picture(name), ha="center", fontsize=10, weight="bold")
        ax.text(column, -1.1, caption, ha="center", fontsize=6.5)
        _column(ax, column, net, starts)
    ax.set_xlim(-0.8, len(paths) - 0.3)
    ax.set_ylim(top, -3.2)
    ax.set_axis_off()
    write(fig, path)


def _column(ax: Any, column: int, net: MainPath, starts: dict[int, float]) -> None:
    used: dict[int, int] = {}
    places = [_place(step, starts, used) for step in net.steps]
    widest = max(step.channels for step in net.steps if step.kind == "conv")
    for step, y in zip(net.steps, places):
        shade = 0.95 - 0.45 * step.channels / widest
        colour = COLOURS.get(step.kind, (shade, shade + 0.03, 1.0))
        ax.text(column, y, str(step), ha="center", va="center", fontsize=6,
                bbox={"boxstyle": "round,pad=0.18", "fc": colour, "ec": "#666666", "lw": 0.5})  # fmt: skip
    for s in net.shortcuts:
        begin = places[s.start - 1] if s.start else places[0] - 1
        ax.annotate("", (column + 0.3, places[s.end - 1]), (column + 0.3, begin), arrowprops={
            "arrowstyle": "->", "lw": 0.8, "ls": ":" if s.resized else "-", "shrinkA": 0, "shrinkB": 0,
            "connectionstyle": "arc3,rad=-0.6"})  # fmt: skip


def _place(step: Step, starts: dict[int, float], used: dict[int, int]) -> float:
    used[step.size] = used.get(step.size, 0) + 1
    return starts[step.size] + used[step.size] - 1
