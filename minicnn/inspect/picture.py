"""Pictures of a net: what its filters look like, and what they make of an image. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minicnn.nn import Conv2d, Module, watch
from minicnn.tensor import Tensor, no_grad


def figure(width: float, height: float):
    """An empty matplotlib figure of that many inches, or a sentence about what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ModuleNotFoundError("pictures need matplotlib: install it with `pip install matplotlib`") from None
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def filters(model: Module, x: Tensor, image: np.ndarray, path: str | Path) -> None:
    """Draw the first convolution's filters and, below each, the feature map that it makes of one image.

    x (1,C,H,W): the image as the model takes it.   image (C,H,W) uint8: the same as a person sees it.
    A filter is shown as the mean over its channels, blue where it is negative, red where it is positive; all filters
    share one scale, so that a faint one is faint. A feature map is shown before the activation, on its own scale.
    """
    name, layer = next(((n, m) for n, m in model.named_modules() if isinstance(m, Conv2d)), (None, None))
    if layer is None:
        raise ValueError("filters: the model has no convolution whose filters could be drawn")
    maps: list[np.ndarray] = []
    with no_grad(), watch(lambda module, inputs, output: maps.append(output.numpy()[0]) if module is layer else None):
        model.eval()(x)
    weights = layer.weight.numpy().mean(1)  # (O, KH, KW)
    count = min(len(weights), 16)
    limit = float(np.abs(weights).max())
    fig = figure(1.4 * (count + 1), 3.6)
    axes = fig.subplots(2, count + 1, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    axes[1, 0].imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray")
    axes[1, 0].set_title("the image", fontsize=9)
    for i in range(count):
        shown = axes[0, i + 1].imshow(weights[i], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[0, i + 1].set_title(f"filter {i}", fontsize=9)
        axes[1, i + 1].imshow(maps[0][i], cmap="gray")
        axes[1, i + 1].set_title(f"map {i}", fontsize=9)
    fig.colorbar(shown, ax=axes[0, 0], location="left", fraction=0.5, label="weight")
    fig.suptitle(
        f"{name}: {len(weights)} filters of {'×'.join(map(str, layer.weight.shape[1:]))} "
        f"and the feature maps that they make",
        fontsize=11,
    )
    fig.savefig(path)


def bubbles(names: list[str], macs: list[float], accuracy: list[float], sizes: list[float], path: str | Path,
            title: str = "memory, inference", unit: str = "MB") -> None:
    """Draw top-1 accuracy (%) against operations (10⁹ MACs); the area of a disc is its size (MB, or 10⁶ parameters).

    The chart of Canziani, Paszke & Culurciello 2016, "An analysis of deep neural network models", where the area is the
    number of parameters.
    """
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
    _write(fig, ax, sorted(zip(names, macs, accuracy), key=lambda point: -point[2]), legend)
    fig.savefig(path)


def _write(fig, ax, points: list[tuple[str, float, float]], legend) -> None:
    """Write each point's name beside it: where it covers nothing else, or as little as can be."""
    fig.draw_without_rendering()                           # only now is it known where things lie
    dots = ax.transData.transform([(x, y) for _, x, y in points])
    taken = [legend.get_window_extent()]
    for name, x, y in points:
        text = ax.annotate(name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7, va="center")

        def covered(place, text=text):
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
