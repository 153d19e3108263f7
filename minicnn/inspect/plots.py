"""Plots of filters, feature maps, and the results of saliency, Grad-CAM, occlusion, deconvnet. Needs matplotlib.

An `image` is the picture before normalisation, (C,H,W) uint8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments, foreign
from minicnn.data.figures import figure
from minicnn.nn import Conv2d, Module, watch
from minicnn.tensor import Tensor, no_grad


def write(fig: Any, path: str | Path) -> None:
    """Write a figure to a file. ValueError for a format that matplotlib does not write."""
    path = arguments.file_to_write(path)
    known = fig.canvas.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in known:
        raise ValueError(f"{path} must end in one of .{', .'.join(sorted(known))}")
    fig.savefig(path)


@dataclass(frozen=True)
class Projection:
    """The projection of a unit and the part of the image in its receptive field, both (C,h,w); a title of two lines."""

    title: str
    part: np.ndarray
    projection: np.ndarray


def heatmap(image: np.ndarray, values: np.ndarray, path: str | Path, title: str, label: str,
         reverse: bool = False) -> None:  # fmt: skip
    """The image, the values (h,w) as colours, and both together. reverse: small values are the important ones."""
    fig = figure(10.5, 3.7)
    axes = fig.subplots(1, 3)
    H, W = image.shape[-2:]
    colours = {"cmap": "inferno_r" if reverse else "inferno", "extent": (-0.5, W - 0.5, H - 0.5, -0.5)}
    _show(axes[0], image)
    shown = axes[1].imshow(values, **colours)
    fig.colorbar(shown, ax=axes[1], fraction=0.046, label=label)
    _show(axes[2], image.mean(0, keepdims=True))
    axes[2].imshow(values, **colours, alpha=0.6, interpolation="bilinear")
    axes[1].set_axis_off()
    _save(fig, title, path)


def signed(image: np.ndarray, values: np.ndarray, path: str | Path, title: str) -> None:
    """The image, and values (C,H,W) of both signs, with 0 in grey."""
    fig = figure(7.4, 3.9)
    for ax, shown in zip(fig.subplots(1, 2), (image, around_grey(values))):
        _show(ax, shown)
    _save(fig, title, path)


def first_layer(model: Module, x: Tensor, image: np.ndarray, path: str | Path) -> None:
    """The filters of the first convolution and, below each, its feature map for one image.

    x (1,C,H,W): the input of the model.   image (C,H,W) uint8: the same picture before normalisation.
    A filter is shown as the mean over its channels, negative in blue and positive in red, all on one scale. A feature
    map is shown before the activation, on its own scale.
    """
    name, layer = next(((n, m) for n, m in model.named_modules() if isinstance(m, Conv2d)), (None, None))
    if layer is None:
        raise ValueError("the model has no convolution whose filters could be drawn: it needs a Conv2d")
    maps: list[np.ndarray] = []

    def keep(module: Module, inputs: Any, output: Any) -> None:
        if module is layer:
            maps.append(output.numpy()[0])

    with no_grad(), model.evaluating(), watch(keep):
        model(x)
    weights = layer.weight.numpy().mean(1)  # (O, KH, KW)
    count = min(len(weights), 16)
    limit = float(np.abs(weights).max())
    fig = figure(1.4 * (count + 1), 3.6)
    axes = fig.subplots(2, count + 1, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    _show(axes[1, 0], image)
    axes[1, 0].set_title("the image", fontsize=9)
    for i in range(count):
        shown = axes[0, i + 1].imshow(weights[i], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[0, i + 1].set_title(f"filter {i}", fontsize=9)
        axes[1, i + 1].imshow(maps[0][i], cmap="gray")
        axes[1, i + 1].set_title(f"map {i}", fontsize=9)
    fig.colorbar(shown, ax=axes[0, 0], location="left", fraction=0.5, label="weight")
    fig.suptitle(
        f"{foreign.picture(name)}: {len(weights)} filters of {'×'.join(map(str, layer.weight.shape[1:]))} "
        f"and their feature maps",
        fontsize=11,
    )
    write(fig, path)


def filters(weights: np.ndarray, path: str | Path, title: str) -> None:
    """Filters (O,C,KH,KW) on one scale: in colour for RGB, otherwise one filter in each row.

    With more than 3 channels the first 12 filters are shown, and the first 8 channels of each.
    """
    if weights.ndim != 4:
        raise ValueError(f"filters must be (O, C, KH, KW), not {weights.shape}")
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
    _save(fig, title, path)


def feature_maps(image: np.ndarray, layers: dict[str, np.ndarray], path: str | Path, title: str,
                 columns: int = 8) -> None:  # fmt: skip
    """One row for each layer {name: (C,h,w)}: its feature maps with the highest means, each on its own scale.

    For a single layer all maps are shown, up to 64.
    """
    if not layers:
        raise ValueError("there are no feature maps to draw: give at least one layer")
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
            label = f"{foreign.picture(name)}\n{size}"
            line[0].text(1, 0.5, label, ha="right", va="center", fontsize=6, transform=line[0].transAxes)
        for ax, (c, values) in zip(line[1:], shown):
            ax.imshow(values, cmap="gray")
            ax.set_title(str(c), fontsize=5, pad=1)
    if rows:
        _show(grid[0, 0].inset_axes((0, 0.35, 0.3, 0.3)), image)
    _save(fig, title, path)


def projections(image: np.ndarray, found: Sequence[Projection], path: str | Path, title: str) -> None:
    """The image, then a column for each unit: its projection above the part of the image in its receptive field."""
    fig = figure(1.45 * (len(found) + 2), 3.7)
    grid = fig.add_gridspec(2, len(found) + 2)
    _show(fig.add_subplot(grid[:, :2]), image)
    for i, unit in enumerate(found):
        for row, shown in enumerate((around_grey(unit.projection), unit.part)):
            ax = fig.add_subplot(grid[row, i + 2])
            _show(ax, shown)
            if row == 0:
                ax.set_title(unit.title, fontsize=7)
    _save(fig, title, path)


def around_grey(values: np.ndarray, limit: float = 0.0) -> np.ndarray:
    """Values of both signs (C,H,W) as bytes: 0 is grey, −limit black, +limit white.

    limit: by default the 99.8 % quantile of the non-zero magnitudes, so that a few large values do not hide the rest.
    """
    lit = np.abs(values[values != 0])
    limit = limit or (float(np.quantile(lit, 0.998)) if lit.size else 1.0)
    return np.clip(127.5 + 127.5 * values / limit, 0, 255).astype(np.uint8)


def _show(ax: Any, image: np.ndarray) -> None:
    """Draw an image of 1 or 3 channels."""
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(f"an image must be (1, H, W) or (3, H, W), not {image.shape}")
    ax.set_axis_off()
    if len(image) == 3:
        ax.imshow(image.transpose(1, 2, 0))
    else:
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=255)


def _save(fig: Any, title: str, path: str | Path) -> None:
    fig.suptitle(foreign.picture(title), fontsize=10)
    write(fig, path)
