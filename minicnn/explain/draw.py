"""An explanation as a picture: its matrices side by side, small ones with their numbers. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minicnn.data.figures import figure
from minicnn.explain import show
from minicnn.explain.answer import Answer
from minicnn.inspect.plots import write

WITH_NUMBERS = 12
"""A matrix of at most this many rows and columns is drawn with its numbers."""


def draw(answer: Answer, path: str | Path) -> None:
    """Write the panels of an answer to a picture file. ValueError for a format that matplotlib does not write."""
    panels = answer.panels()
    fig = figure(3.6 * len(panels), 3.9)
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels):
        values = np.array(panel.values, np.float64)
        values[np.isinf(values)] = np.nan                  # padding
        most = float(np.nanmax(np.abs(values), initial=0)) or 1.0
        signed = bool((values < 0).any())
        ax.imshow(values, cmap="coolwarm" if signed else "gray", vmin=-most if signed else 0, vmax=most)
        if max(values.shape) <= WITH_NUMBERS:
            texts = show.numbers(np.nan_to_num(values, nan=-np.inf))
            for i, row in enumerate(values):
                for j, v in enumerate(row):
                    dark = not signed and v < most / 2
                    ax.text(j, i, texts[i][j], ha="center", va="center", fontsize=7, color="white" if dark else "black")
        for row, column, rows, columns in panel.boxes:
            ax.add_patch(_box(row, column, rows, columns))
        ax.set_title(panel.title, fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    write(fig, path)


def _box(row: int, column: int, rows: int, columns: int):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), columns, rows, fill=False, edgecolor="#d62728", linewidth=1.6)
