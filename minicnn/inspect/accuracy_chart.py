"""A chart of nets: accuracy in the literature against multiply-adds, and memory or parameters. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minicnn import foreign
from minicnn.inspect.plots import figure, write


def draw(names: list[str], macs: list[float], accuracy: list[float], sizes: list[float], path: str | Path,
         title: str = "memory, inference", unit: str = "MB") -> None:
    """Top-1 accuracy (%) against multiply-adds (10⁹ MACs); each disc's area shows its size (MB, or 10⁶ parameters).

    As in Canziani, Paszke & Culurciello 2016, "An analysis of deep neural network models", where the area shows the
    number of parameters.
    """
    if not names:
        raise ValueError("there are no nets to draw: name at least one")
    fig = figure(10, 6.5)
    ax = fig.subplots()
    families = [name.rstrip("0123456789_").split("_")[0].rstrip("0123456789") or name for name in names]
    colours = {family: f"C{i % 10}" for i, family in enumerate(dict.fromkeys(families))}
    scale = 1.5 if unit == "MB" else 6.0                   # a million parameters are 4 MB
    ax.scatter(macs, accuracy, s=[scale * size for size in sizes], c=[colours[f] for f in families], alpha=0.45)
    ax.scatter(macs, accuracy, s=4, c="black")
    for size in (20, 100, 500) if unit == "MB" else (5, 25, 125):
        ax.scatter([], [], s=scale * size, c="grey", alpha=0.45, label=f"{size} {unit}")
    ax.set_xscale("log")
    ax.set_xlim(min(macs) / 2, 2.5 * max(macs))
    ax.set_xlabel("10⁹ multiply-adds for one image")
    ax.set_ylabel("top-1 accuracy on ImageNet in the literature, classic recipe, %")
    ax.grid(alpha=0.3, which="both")
    legend = ax.legend(title=title, loc="lower right", labelspacing=1.6, borderpad=1.2, fontsize=8)
    _label_points(fig, ax, sorted(zip(names, macs, accuracy), key=lambda point: -point[2]), legend)
    write(fig, path)


def _label_points(fig: Any, ax: Any, points: list[tuple[str, float, float]], legend: Any) -> None:
    """Write each point's name beside it, at the place where it covers the least."""
    fig.draw_without_rendering()                           # computes all positions
    dots = ax.transData.transform([(x, y) for _, x, y in points])
    taken = [legend.get_window_extent()]
    for name, x, y in points:
        shown = foreign.picture(name)
        text = ax.annotate(shown, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7, va="center")

        def covered(place: tuple[float, float], text: Any = text) -> float:
            text.set_position(place)
            text.set_ha("left" if place[0] > 0 else "right")
            box = text.get_window_extent().padded(2)
            inside = ax.bbox.x0 < box.x0 and box.x1 < ax.bbox.x1 and ax.bbox.y0 < box.y0 and box.y1 < ax.bbox.y1
            return sum(map(box.overlaps, taken)) + box.count_contains(dots) + 100 * (not inside)

        nearest = sorted(((side * (5 + far), up * 8) for far in (0, 12, 30) for up in range(-5, 6) for side in (1, -1)),
                         key=lambda place: abs(place[0]) - place[0] / 9 + abs(place[1]))  # fmt: skip
        place = min(nearest, key=covered)
        covered(place)
        taken.append(text.get_window_extent())
        if place != nearest[0]:
            ax.annotate("", (x, y), xytext=place, textcoords="offset points",
                        arrowprops={"arrowstyle": "-", "lw": 0.4, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
