"""What the figures share: two colours that everybody can tell apart, and matrices with their numbers."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, ORANGE = "#1f5fa8", "#d9822b"
PALE_BLUE, PALE_ORANGE, GREY = "#dbe7f5", "#f6e2cc", "#666666"


def panels(count: int, width: float, height: float, **how) -> tuple[Figure, list]:
    """A figure of `count` axes beside each other."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    axes = np.atleast_1d(figure.subplots(1, count, **how))
    for ax in axes:
        ax.title.set_fontsize(10)
    return figure, list(axes)


def sign(value: float, digits: int = 4) -> str:
    """A number as text, with the sign that formulas have."""
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def numbers(ax, matrix, size=9, colour="black", digits=6) -> None:
    """A matrix as a grid with its numbers."""
    H, W = matrix.shape
    for i, j in np.ndindex(H, W):
        shown = colour(matrix[i, j]) if callable(colour) else colour
        ax.text(j, i, sign(matrix[i, j], digits), ha="center", va="center", fontsize=size, color=shown)
    ax.set_xticks(np.arange(W + 1) - 0.5, [])
    ax.set_yticks(np.arange(H + 1) - 0.5, [])
    ax.tick_params(length=0)
    ax.grid(color="0.75", linewidth=0.6)


def matrix(ax, values, title="", size=9, digits=6) -> None:
    """Numbers on a white grid."""
    ax.imshow(np.zeros(np.shape(values)), cmap="gray_r", vmin=0, vmax=1)
    numbers(ax, np.asarray(values, float), size, digits=digits)
    ax.set_title(title, fontsize=10)


def frame(ax, top, left, height, width, colour, line=2.5, **how) -> None:
    """A frame around the pixels of a matrix."""
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line,
                           clip_on=False, **how))  # fmt: skip


def plain(ax, left, right, bottom, top) -> None:
    """Axes without axes, of a size."""
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.axis("off")
