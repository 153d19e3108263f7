"""Drawing what saliency.py, grad_cam.py, occlusion.py and deconvnet.py compute, and filters and maps. Needs matplotlib.

An `image` is what a person sees, (C,H,W) uint8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicnn.inspect.picture import figure


@dataclass(frozen=True)
class Pair:
    """A part of the image, and what a unit made of it: both (C,h,w); a title of two short lines."""

    title: str
    part: np.ndarray
    projection: np.ndarray


def heat(image: np.ndarray, values: np.ndarray, path: str | Path, title: str, label: str,
         reverse: bool = False) -> None:  # fmt: skip
    """The image, the values (h,w) as colours, and both together. reverse: small values are what matters."""
    fig = figure(10.5, 3.7)
    axes = fig.subplots(1, 3)
    H, W = image.shape[1:]
    colours = {"cmap": "inferno_r" if reverse else "inferno", "extent": (-0.5, W - 0.5, H - 0.5, -0.5)}
    _show(axes[0], image)
    shown = axes[1].imshow(values, **colours)
    fig.colorbar(shown, ax=axes[1], fraction=0.046, label=label)
    _show(axes[2], image.mean(0, keepdims=True))
    axes[2].imshow(values, **colours, alpha=0.6, interpolation="bilinear")
    axes[1].set_axis_off()
    _write(fig, title, path)


def signed(image: np.ndarray, values: np.ndarray, path: str | Path, title: str) -> None:
    """The image, and values (C,H,W) of both signs as colours around grey."""
    fig = figure(7.4, 3.9)
    for ax, shown in zip(fig.subplots(1, 2), (image, around_grey(values))):
        _show(ax, shown)
    _write(fig, title, path)


def filters(weights: np.ndarray, path: str | Path, title: str) -> None:
    """Filters (O,C,KH,KW) on one scale: in colour where they look at RGB, otherwise a filter a row.

    Of filters with many channels the first twelve are shown, and of each the first eight channels.
    """
    C = weights.shape[1]
    limit = max(float(np.abs(weights).max()), 1e-12)
    cells = list(weights) if C in (1, 3) else [channel[None] for w in weights[:12] for channel in w[:8]]
    columns = min(12, len(cells)) if C in (1, 3) else min(8, C)
    rows = math.ceil(len(cells) / columns)
    fig = figure(0.8 * columns + 0.4, 0.8 * rows + 0.6)
    axes = [*fig.subplots(rows, columns, squeeze=False).flat]
    for ax, cell in zip(axes, cells):
        if C == 3:
            _show(ax, around_grey(cell, limit))
        else:
            ax.imshow(cell[0], cmap="RdBu_r", vmin=-limit, vmax=limit)
    for ax in axes:
        ax.set_axis_off()
    _write(fig, title, path)


def maps(image: np.ndarray, layers: dict[str, np.ndarray], path: str | Path, title: str, columns: int = 8) -> None:
    """A row for each layer: its brightest maps, brightest first, each on its own scale; (C,h,w) of each layer.

    Of a single layer all maps are shown, up to 64 of them.
    """
    one = len(layers) == 1
    rows: list[tuple[str, list[tuple[int, np.ndarray]]]] = []
    for name, values in layers.items():
        order = np.argsort(-values.mean((1, 2)), kind="stable")[: 64 if one else columns]
        cells = [(int(c), values[c]) for c in order]
        rows += [(name if i == 0 else "", cells[i : i + columns]) for i in range(0, len(cells), columns)]
    fig = figure(1.05 * (columns + 1), 1.12 * len(rows) + 0.4)
    grid = fig.subplots(len(rows), columns + 1, squeeze=False)
    for line, (name, shown) in zip(grid, rows):
        for ax in line:
            ax.set_axis_off()
        if name:
            size = "×".join(map(str, layers[name].shape))
            line[0].text(1, 0.5, f"{name}\n{size}", ha="right", va="center", fontsize=6, transform=line[0].transAxes)
        for ax, (c, values) in zip(line[1:], shown):
            ax.imshow(values, cmap="gray")
            ax.set_title(str(c), fontsize=5, pad=1)
    if rows:
        _show(grid[0, 0].inset_axes((0, 0.35, 0.3, 0.3)), image)
    _write(fig, title, path)


def pairs(image: np.ndarray, found: Sequence[Pair], path: str | Path, title: str) -> None:
    """The image, then a column for each unit: its projection above the part of the image that it looks at."""
    fig = figure(1.45 * (len(found) + 2), 3.7)
    grid = fig.add_gridspec(2, len(found) + 2)
    _show(fig.add_subplot(grid[:, :2]), image)
    for i, pair in enumerate(found):
        for row, shown in enumerate((around_grey(pair.projection), pair.part)):
            ax = fig.add_subplot(grid[row, i + 2])
            _show(ax, shown)
            if row == 0:
                ax.set_title(pair.title, fontsize=7)
    _write(fig, title, path)


def around_grey(values: np.ndarray, limit: float = 0.0) -> np.ndarray:
    """Values of both signs (C,H,W) as bytes: 0 is grey, ±limit black and white.

    limit: by default what 99.8 % of the values other than 0 stay below, so that a few do not grey out the rest.
    """
    lit = np.abs(values[values != 0])
    limit = limit or (float(np.quantile(lit, 0.998)) if lit.size else 1.0)
    return np.clip(127.5 + 127.5 * values / limit, 0, 255).astype(np.uint8)


def _show(ax, image: np.ndarray) -> None:
    """An image of 1 or 3 channels, pixel by pixel."""
    ax.set_axis_off()
    if len(image) == 3:
        ax.imshow(image.transpose(1, 2, 0))
    else:
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=255)


def _write(fig, title: str, path: str | Path) -> None:
    fig.suptitle(title, fontsize=10)
    fig.savefig(path)
