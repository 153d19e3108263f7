"""The pictures of the pages about using minicnn: data, training, padding, plans, ranks and the GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import minicnn
from docs.figures.style import BLUE, GREY, ORANGE, PALE_BLUE, PALE_ORANGE, panels, plain
from minicnn import data, models, optim
from minicnn.geometry import around
from minicnn.nn import Parameter
from minicnn.piece import piece
from minicnn.train import build

PHOTOS = Path(__file__).parent.parent / "pictures"
WORDS = ("none", "random-resized:0.3", "flip:1", "pad-crop:6", "jitter:0.6", "cutout:14", "mixup:1")
SEED = 2
SCHEDULES = {"constant": {}, "cosine": {}, "linear": {}, "exponential": {"gamma": 0.01}, "step": {"gamma": 0.1},
             "multistep": {"gamma": 0.1, "milestones": (4, 9)}, "onecycle": {}}  # fmt: skip


def augmentations() -> Figure:
    """One small photograph, changed by each word; mixup needs a second one."""
    prepare = data.Preprocessing((36, 36), mean=(0.0,) * 3, std=(1.0,) * 3)
    pictures = []
    for name, part in (("seeing-smooth.jpg", (5, 54, 367, 416)), ("seeing-cup.jpg", (190, 51, 375, 236))):
        with Image.open(PHOTOS / name) as photo:                   # the photograph in this figure
            small = photo.convert("RGB").crop(part).resize((48, 48), Image.Resampling.BOX)
        pictures.append(np.asarray(small).transpose(2, 0, 1))
    fig, axes = panels(len(WORDS), 9.4, 1.75)
    for ax, word in zip(axes, WORDS):
        transform = data.Transform(prepare, word)
        images, _ = transform(pictures, np.array([0, 1]), np.random.default_rng(SEED))
        ax.imshow((images[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8))
        ax.set_title(word.replace("random-resized", "random-\nresized"), fontsize=8)
        ax.axis("off")
    return fig


def schedules() -> Figure:
    """The learning rate over ten epochs of twenty steps, as a share of --lr, after a warm-up of one epoch."""
    fig, axes = panels(len(SCHEDULES), 9.6, 1.9, sharey=True)
    for ax, (name, settings) in zip(axes, SCHEDULES.items()):
        optimizer = optim.SGD([Parameter(np.zeros(1))], lr=1.0)
        schedule = build.schedule(name, optimizer, 10, 20, warmup=1.0, **settings)  # type: ignore[arg-type]
        rates = []
        for _ in range(200):
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        ax.plot(np.arange(200) / 20, rates, color=BLUE)
        ax.set_title(name, fontsize=9)
        ax.set_xticks([0, 5, 10])
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel("share of --lr", fontsize=8)
    axes[len(axes) // 2].set_xlabel("epoch", fontsize=8)
    return fig


def same_and_valid() -> Figure:
    """13 pixels, windows of 6, stride 5: the windows of VALID, SAME and padding 1."""
    size, K, S = 13, 6, 5
    fig, axes = panels(3, 9.4, 1.5)
    paddings = {"VALID": (0, 0), "SAME": around("same", (size, size), (K, K), (S, S), (1, 1))[0], "padding=1": (1, 1)}
    for ax, (name, (before, after)) in zip(axes, paddings.items()):
        count = (size + before + after - K) // S + 1
        last = (count - 1) * S + K - before
        for pixel in range(-before, size + after):
            inside = 0 <= pixel < size
            colour = "white" if not inside else PALE_BLUE if pixel < last else PALE_ORANGE
            ax.add_patch(_box(pixel, 0, 1, 1, colour, "0.6"))
            ax.text(pixel + 0.5, 0.5, str(pixel + 1) if inside else "0", ha="center", va="center", fontsize=7,
                    color="black" if inside else GREY)  # fmt: skip
        for window in range(count):
            left = window * S - before
            ax.plot([left + 0.1, left + K - 0.1], [1.35 + 0.4 * (window % 2)] * 2, color=BLUE, linewidth=3)
        dropped = max(0, size - last)
        ax.set_title(f"{name}: {count} windows" + f", {dropped} pixels in none" * (dropped > 0), fontsize=9)
        plain(ax, -1.3, size + 2.3, -0.2, 2)
    return fig


def ranks() -> Figure:
    """Which images of a batch of ten each of four ranks computes; and what they send to each other."""
    N, size = 10, 4
    fig, (ax,) = panels(1, 9.0, 2.6)
    colours = (PALE_BLUE, PALE_ORANGE, "#dcefdc", "#ead9ee")
    for rank in range(size):
        rows = piece(N, rank, size).rows
        for row in range(rows.start, rows.stop):
            ax.add_patch(_box(2.2 * row, 3, 2, 1, colours[rank], "0.5"))
            ax.text(2.2 * row + 1, 3.5, f"image {row}", ha="center", va="center", fontsize=7)
        middle = 1.1 * (rows.start + rows.stop) - 0.1
        ax.add_patch(_box(middle - 2, 1.2, 4, 1.1, colours[rank], "0.5"))
        ax.text(middle, 1.75, f"rank {rank}\nits own gradient", ha="center", va="center", fontsize=7)
        ax.annotate("", (middle, 2.35), (middle, 2.95), arrowprops={"arrowstyle": "->", "color": GREY})
        ax.annotate("", (middle, 0.7), (middle, 1.15), arrowprops={"arrowstyle": "<->", "color": GREY})
    ax.add_patch(_box(0, 0, 2.2 * N - 0.2, 0.65, "white", "0.3"))
    ax.text(1.1 * N, 0.32, "all-reduce: the sum of all gradients, the same on every rank; then the same step on each",
            ha="center", va="center", fontsize=8)  # fmt: skip
    plain(ax, -0.2, 2.2 * N, -0.1, 4.1)
    return fig


def warp() -> Figure:
    """The addresses that the 32 threads of a warp read: neighbours, every second number, and every eighth."""
    fig, axes = panels(1, 9.0, 2.0)
    (ax,) = axes
    for row, step in enumerate((1, 2, 8)):
        addresses = 4 * step * np.arange(32)
        sectors = sorted({int(address) // 32 for address in addresses})
        y = 2 - row
        for sector in sectors:
            ax.add_patch(_box(32 * sector, y + 0.1, 32, 0.55, PALE_BLUE, "0.6"))
        for address in addresses:
            ax.add_patch(_box(int(address), y + 0.1, 4, 0.55, ORANGE, "none"))
        ax.text(-12, y + 0.37, f"step {step}: {len(sectors)} sectors", ha="right", va="center", fontsize=8)
    ax.text(512, -0.12, "addresses, in bytes; a sector has 32 bytes, a float 4", ha="center", va="top", fontsize=8)
    plain(ax, -190, 1030, -0.45, 2.8)
    return fig


def planned() -> list[tuple[str, ...]]:
    """The first steps of ResNet-20's plan: for each, the ops of the net that it computes."""
    plan = minicnn.compile(models.build("resnet20").eval(), (1, 3, 32, 32))
    return [(row.op, *row.folded) for row in plan.explain().rows[:4]]


def folded() -> Figure:
    """The ops of ResNet-20 up to its first sum, and the steps of the plan that compute them."""
    fig, (ax,) = panels(1, 9.4, 1.7)
    x = 0
    for step in planned():
        colour = PALE_BLUE if step[0] == "conv2d" else PALE_ORANGE
        for place, name in enumerate(step):
            ax.add_patch(_box(x + place + 0.04, 1.2, 0.92, 0.6, colour, "0.5"))
            ax.text(x + place + 0.5, 1.5, name.replace("_inference", "").replace("_", "\n"), ha="center", va="center",
                    fontsize=8)  # fmt: skip
            middle = x + place + 0.5
            ax.annotate("", (middle, 0.85), (middle, 1.15), arrowprops={"arrowstyle": "->", "color": GREY})
        ax.add_patch(_box(x + 0.04, 0.2, len(step) - 0.08, 0.6, colour, "0.5"))
        ax.text(x + len(step) / 2, 0.5, "one step", ha="center", va="center", fontsize=8)
        x += len(step)
    ax.text(-0.15, 1.5, "the net", ha="right", va="center", fontsize=9)
    ax.text(-0.15, 0.5, "the plan", ha="right", va="center", fontsize=9)
    plain(ax, -1.1, x + 0.1, 0, 1.9)
    return fig


def _box(x: float, y: float, width: float, height: float, colour: str, edge: str):
    return Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, linewidth=0.8)


FIGURES = {"data-augment.png": augmentations, "training-schedules.png": schedules,
           "tensorflow-same.png": same_and_valid, "ranks-batch.png": ranks, "gpu-warp.png": warp,
           "inference-plan.png": folded}  # fmt: skip
