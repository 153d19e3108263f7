"""The block of sums of docs/compiled.md."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, ORANGE, GREEN = "#1f5fa8", "#d9822b", "#3c8a4e"
WINDOWS, FILTERS, LANES = 6, 16, 8


def register(ax, x: float, y: float, colour: str, texts: list[str], text: str = "") -> None:
    """Eight lanes from (x, y) to the right."""
    for lane, label in enumerate(texts):
        ax.add_patch(Rectangle((x + lane, y), 1, 0.8, facecolor=colour, alpha=0.25, edgecolor="none"))
        ax.text(x + lane + 0.5, y + 0.4, label, ha="center", va="center", fontsize=6)
    ax.add_patch(Rectangle((x, y), LANES, 0.8, fill=False, edgecolor=colour, linewidth=1.4))
    if text:
        ax.text(x + LANES / 2, y + 1.1, text, ha="center", fontsize=8, color=colour)


def block() -> Figure:
    """One value of each of 6 windows, times one of each of 16 filters, added to 12 registers of sums."""
    fig = Figure(figsize=(9.4, 4.2), layout="constrained", dpi=110)
    ax = fig.subplots()
    for half in range(FILTERS // LANES):
        names = [f"w{half * LANES + lane}" for lane in range(LANES)]
        register(ax, 5 + 8.6 * half, WINDOWS + 1, BLUE, names, f"filters {half * LANES} … {half * LANES + LANES - 1}")
    for m in range(WINDOWS):
        y = WINDOWS - 1 - m
        ax.add_patch(Rectangle((1.6, y), 1.6, 0.8, facecolor=ORANGE, alpha=0.35, edgecolor=ORANGE, linewidth=1.4))
        ax.text(2.4, y + 0.4, f"x{m}", ha="center", va="center", fontsize=9)
        ax.annotate("", (4.85, y + 0.4), (3.3, y + 0.4), arrowprops={"arrowstyle": "->", "color": ORANGE})
        for half in range(FILTERS // LANES):
            register(ax, 5 + 8.6 * half, y, GREEN, [f"+x{m}w{half * LANES + lane}" for lane in range(LANES)])
    ax.text(2.4, WINDOWS + 0.1, "a pixel of\neach window", ha="center", fontsize=8, color=ORANGE)
    ax.text(13.3, -0.75, f"{WINDOWS} × {FILTERS} sums in {WINDOWS * FILTERS // LANES} registers; the next channel or "
            "tap is added to the same registers", ha="center", fontsize=9, color=GREEN)  # fmt: skip
    ax.set_xlim(0.8, 22)
    ax.set_ylim(-1.1, WINDOWS + 2.8)
    ax.axis("off")
    return fig


FIGURES = {"compiled-block.png": block}
