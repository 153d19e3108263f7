"""The pictures of the ten-minute tour and of transfer learning.

Every number in them is computed by minicnn: the digit is in the package, the sums and shapes come from its code.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures.style import BLUE, ORANGE, numbers
from minicnn import data, inspect, models, reference
from minicnn.geometry import Axis


def image_as_matrix() -> Figure:
    """A digit, and the numbers that it consists of."""
    image = data.load("digits").test.images[0, 0]
    fig = Figure(figsize=(8.4, 4.1), layout="constrained", dpi=110)
    left, right = fig.subplots(1, 2)
    left.imshow(image, cmap="gray", vmin=0, vmax=255)
    top, start, side = 6, 9, 11
    left.add_patch(Rectangle((start - 0.5, top - 0.5), side, side, fill=False, edgecolor=ORANGE, linewidth=2))
    left.set_title("what people see: 28×28 pixels", fontsize=10)
    left.axis("off")
    part = image[top:top + side, start:start + side]
    right.imshow(part, cmap="gray", vmin=0, vmax=255)
    numbers(right, part, 7, lambda value: "black" if value > 127 else "white")
    right.set_title("what a net gets: the same pixels as numbers, 0 to 255", fontsize=10)
    return fig


def one_filter() -> Figure:
    """One window of the image of docs/convolution.md, times the filter, summed."""
    x = np.array([[1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 1, 2]], float)
    w = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float)
    y = reference.conv2d(x[None, None], w[None, None])[0, 0]
    fig = Figure(figsize=(9.4, 2.7), layout="constrained", dpi=110)
    axes = fig.subplots(1, 4, width_ratios=(4, 3, 3, 2))
    panels = ((x, "image x"), (w, "filter w"), (x[:3, :3] * w + 0.0, "window × filter"), (y, "output y"))
    for ax, (matrix, title) in zip(axes, panels):
        ax.imshow(np.zeros_like(matrix), cmap="gray_r", vmin=0, vmax=1)
        numbers(ax, matrix, 12)
        ax.set_title(title, fontsize=10)
    for ax, side, colour in ((axes[0], 3, ORANGE), (axes[1], 3, BLUE), (axes[3], 1, ORANGE)):
        ax.add_patch(Rectangle((-0.5, -0.5), side, side, fill=False, edgecolor=colour, linewidth=3, clip_on=False))
    axes[2].set_xlabel(f"sum: {(x[:3, :3] * w).sum():g}".replace("-", "−"), fontsize=12, color=ORANGE)
    return fig


def windows() -> Figure:
    """Windows of 3 pixels with stride 2 on 8 pixels: floor leaves one pixel out, ceil reaches past the edge."""
    size, kernel, stride = 8, 3, 2
    fig = Figure(figsize=(7.4, 2.5), layout="constrained", dpi=110)
    for ax, ceil in zip(fig.subplots(1, 2), (False, True)):
        count = Axis(size, kernel, stride, 0, 0, 1, ceil=ceil).out
        for pixel in range(size):
            ax.add_patch(Rectangle((pixel, 0), 1, 0.8, facecolor="0.92", edgecolor="0.5"))
            ax.text(pixel + 0.5, 0.4, str(pixel), ha="center", va="center", fontsize=9)
        for k in range(count):
            over = k * stride + kernel > size
            ax.add_patch(Rectangle((k * stride + 0.05, -0.75 * k - 0.75), kernel - 0.1, 0.55, alpha=0.8,
                                   facecolor=ORANGE if over else BLUE))  # fmt: skip
        ax.set_xlim(-0.2, size + 1.3)
        ax.set_ylim(-3.3, 1)
        ax.axis("off")
        rule = "ceil: the last reaches past the edge" if ceil else "floor: pixel 7 is in no window"
        ax.set_title(f"{count} windows by {rule}", fontsize=10)
    return fig


def lenet_shapes() -> Figure:
    """LeNet-5 from the image to ten numbers: every shape as `inspect.summary` finds it."""
    report = inspect.summary(models.build("lenet5"), (1, 28, 28))
    stages = [("image", report.input)]
    stages += [(x.kind, x.output) for x in report.layers if x.kind in ("Conv2d", "Linear", "MaxPool2d")]
    fig = Figure(figsize=(9.4, 2.9), layout="constrained", dpi=110)
    ax, x = fig.subplots(), 0.0
    for kind, shape in stages:
        if len(shape) == 3:
            C, H, _ = shape
            drawn = min(C, 16)
            for c in range(drawn)[::-1]:
                ax.add_patch(Rectangle((x + 0.9 * c, -H / 2 + 0.9 * c), H, H, facecolor="#dbe7f5", edgecolor=BLUE,
                                       linewidth=0.8))  # fmt: skip
            wide, label = H + 0.9 * drawn, "×".join(map(str, shape))
        else:
            tall = shape[0] / 4
            ax.add_patch(Rectangle((x, -tall / 2), 3, tall, facecolor="#f6e2cc", edgecolor=ORANGE, linewidth=0.8))
            wide, label = 8.0, str(shape[0])
        ax.text(x + wide / 2, -21, f"{kind}\n{label}", ha="center", va="top", fontsize=8)
        x += wide + 9
    ax.set_xlim(-2, x)
    ax.set_ylim(-34, 24)
    ax.set_aspect("equal")
    ax.axis("off")
    return fig


def transfer() -> Figure:
    """Transfer learning: the parameters of the body and of the head that is solved, counted for four classes."""
    net = models.build("squeezenet1_1", num_classes=4)
    sizes = {name: p.size for name, p in net.named_parameters()}
    head = sum(size for name, size in sizes.items() if name.startswith("classifier."))
    body, features = sum(sizes.values()) - head, net.state_dict()["classifier.1.weight"].shape[1]
    fig = Figure(figsize=(9.4, 2.3), layout="constrained", dpi=110)
    ax = fig.subplots()
    boxes = [("a picture\n3×224×224", 14, "white", "0.4"),
             (f"body: {body:,} weights\ntrained on ImageNet, kept", 34, "#dbe7f5", BLUE),
             (f"{features} features\ncomputed once", 16, "white", "0.4"),
             (f"head: {head:,} weights\nsolved", 20, "#f6e2cc", ORANGE), ("4 classes", 10, "white", "0.4")]
    x = 0.0
    for text, wide, colour, edge in boxes:
        ax.add_patch(Rectangle((x, 0), wide, 10, facecolor=colour, edgecolor=edge))
        ax.text(x + wide / 2, 5, text, ha="center", va="center", fontsize=9)
        if x:
            ax.annotate("", (x, 5), (x - 4, 5), arrowprops={"arrowstyle": "->"})
        x += wide + 4
    ax.set_xlim(-1, x)
    ax.set_ylim(-1, 11)
    ax.axis("off")
    return fig


FIGURES = {"tour-image.png": image_as_matrix, "tour-filter.png": one_filter, "tour-windows.png": windows,
           "tour-lenet.png": lenet_shapes, "transfer.png": transfer}  # fmt: skip
