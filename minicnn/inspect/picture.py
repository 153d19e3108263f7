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


def bubbles(names: list[str], macs: list[float], accuracy: list[float], memory: list[float], path: str | Path) -> None:
    """Draw top-1 accuracy (%) against operations (10⁹ MACs), the area of each disc being its memory (MB).

    The chart of Canziani, Paszke & Culurciello 2016, "An analysis of deep neural network models".
    """
    fig = figure(10, 6.5)
    ax = fig.subplots()
    families = [name.rstrip("0123456789_").split("_")[0].rstrip("0123456789") or name for name in names]
    colours = {family: f"C{i % 10}" for i, family in enumerate(dict.fromkeys(families))}
    ax.scatter(macs, accuracy, s=[1.5 * m for m in memory], c=[colours[f] for f in families], alpha=0.45)
    ax.scatter(macs, accuracy, s=4, c="black")
    placed: list[tuple[float, float]] = []
    for name, x, y in sorted(zip(names, macs, accuracy), key=lambda point: -point[2]):
        below = 0.0                                        # a label steps down until no other is in its way
        while any(abs(np.log10(x / u)) < 0.13 and abs(y - below - v) < 0.55 for u, v in placed):
            below += 0.2
        placed.append((x, y - below))
        ax.annotate(name, (x, y), xytext=(x * 1.03, y - below + 0.12), fontsize=7)
    for mb in (20, 100, 500):
        ax.scatter([], [], s=1.5 * mb, c="grey", alpha=0.45, label=f"{mb} MB")
    ax.legend(title="memory, inference", loc="lower right", labelspacing=1.6, borderpad=1.2, fontsize=8)
    ax.set_xscale("log")
    ax.set_xlim(right=1.7 * max(macs))
    ax.set_xlabel("10⁹ multiply-adds for one image")
    ax.set_ylabel("top-1 accuracy on ImageNet in the literature, %")
    ax.grid(alpha=0.3, which="both")
    fig.savefig(path)
