"""The pictures of the chapters in docs/learn. Every number in them is computed by minicnn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures.style import BLUE, ORANGE, PALE_BLUE, frame, matrix, numbers, panels, plain, sign
from minicnn import Tensor, data, ops
from minicnn.cpu.conv.im2col import im2col as columns
from minicnn.explain import samples
from minicnn.geometry import Conv2dGeometry
from minicnn.receptive_field import Field

HAND = np.array([[1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 1, 2]], float)
"""The image of docs/convolution.md."""

SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float)


def image() -> Figure:
    """A colour image of 3×3 pixels and its three matrices."""
    picture = np.array([[[255, 0, 0], [0, 160, 0], [0, 0, 255]], [[255, 200, 0], [128, 128, 128], [160, 0, 200]],
                        [[255, 255, 255], [0, 200, 200], [0, 0, 0]]])  # fmt: skip
    fig, (left, *channels) = panels(4, 9.4, 2.7)
    left.imshow(picture)
    left.set_title("what people see: 3×3 pixels", fontsize=10)
    left.set_xticks([])
    left.set_yticks([])
    for ax, name, c in zip(channels, ("red", "green", "blue"), range(3)):
        ax.imshow(picture[:, :, c], cmap="gray", vmin=0, vmax=255)
        numbers(ax, picture[:, :, c], 11, lambda value: "black" if value > 127 else "white")
        ax.set_title(f"channel {c}: how {name}", fontsize=10)
    return fig


def bits() -> Figure:
    """The same digit with fewer and fewer bits for each pixel."""
    digit = data.load("digits").test.images[0, 0].astype(float)
    fig, axes = panels(4, 9.4, 2.6)
    for ax, depth in zip(axes, (8, 3, 2, 1)):
        levels = 2**depth - 1
        ax.imshow(np.rint(digit * levels / 255) * 255 / levels, cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"{depth} bit{'s' * (depth > 1)}: {levels + 1} levels", fontsize=10)
        ax.axis("off")
    return fig


def filters() -> Figure:
    """A seven, three filters made by hand, and their maps."""
    digit = data.load("digits").test.images[0, 0].astype(float) / 255
    cases = {name: samples.FILTERS[name][0] for name in ("vertical", "horizontal")} | {"mean": np.full((3, 3), 1 / 9)}
    fig, axes = panels(4, 9.4, 4.3)
    fig.clear()
    axes = fig.subplots(2, 4, height_ratios=(1, 1.9))
    axes[0, 0].axis("off")
    axes[1, 0].imshow(digit, cmap="gray")
    axes[1, 0].set_title("image", fontsize=10)
    for (top, below), (name, taps) in zip(axes.T[1:], cases.items()):
        matrix(top, taps, f"filter “{name}”", 10, digits=2)
        y = ops.conv2d(Tensor(digit[None, None]), Tensor(taps[None, None])).numpy()[0, 0]
        below.imshow(y, cmap="PuOr", vmin=-3, vmax=3)
        below.set_title(f"map: {sign(y.min(), 2)} … {sign(y.max(), 2)}", fontsize=10)
    for ax in axes[1]:
        ax.axis("off")
    return fig


def windows() -> Figure:
    """The first two windows of a row, with stride, padding and dilation; which pixels of a row each reads."""
    cases = (("stride 1", {}), ("stride 2", {"stride": 2}), ("padding 1", {"padding": 1}),
             ("dilation 2", {"dilation": 2}))  # fmt: skip
    fig, axes = panels(4, 9.4, 2.9)
    for ax, (name, how) in zip(axes, cases):
        g = Conv2dGeometry.of((1, 1, 5, 5), (1, 1, 3, 3), **how)
        P, S, D = (how.get("padding", 0), how.get("stride", 1), how.get("dilation", 1))
        for i, j in np.ndindex(5 + 2 * P, 5 + 2 * P):
            inside = P <= i < 5 + P and P <= j < 5 + P
            ax.add_patch(Rectangle((j - P, i - P), 1, 1, facecolor="0.93" if inside else "white", edgecolor="0.6",
                                   linewidth=0.7, linestyle="-" if inside else ":"))  # fmt: skip
        for k, colour in ((1, ORANGE), (0, BLUE)):
            if k < g.OW:
                for p, q in np.ndindex(3, 3):
                    ax.add_patch(Rectangle((k * S + q * D - P + 0.18 + 0.12 * k, p * D - P + 0.18 + 0.12 * k), 0.5, 0.5,
                                           facecolor=colour, alpha=0.75, edgecolor="none"))  # fmt: skip
        plain(ax, -1.2, 6.2, 6.2, -1.2)
        ax.set_aspect("equal")
        ax.set_title(f"{name}\n5×5 → {g.OH}×{g.OW}", fontsize=10)
    return fig


def im2col() -> Figure:
    """The windows of docs/convolution.md become the columns of a matrix."""
    g = Conv2dGeometry.of((1, 1, 4, 4), (1, 1, 3, 3))
    cols = columns(HAND[None, None], g).reshape(9, 4)
    fig, axes = panels(4, 9.4, 3.5, width_ratios=(4, 9, 4, 4))
    matrix(axes[0], HAND, "image x", 11)
    frame(axes[0], 0, 0, 3, 3, BLUE)
    frame(axes[0], 1, 1, 3, 3, ORANGE, linestyle="--")
    matrix(axes[1], SOBEL.reshape(1, 9), "filter, as a row", 11)
    matrix(axes[2], cols, "cols: a window\nin each column", 11)
    frame(axes[2], 0, 0, 9, 1, BLUE)
    frame(axes[2], 0, 3, 9, 1, ORANGE, linestyle="--")
    y = SOBEL.reshape(1, 9) @ cols
    matrix(axes[3], y, "row · cols = y", 11)
    frame(axes[3], 0, 0, 1, 1, BLUE)
    frame(axes[3], 0, 3, 1, 1, ORANGE, linestyle="--")
    return fig


def field() -> Figure:
    """The cone of pixels below one number: two 3-wide convolutions, a pooling, and another convolution."""
    layers = (("image", 1, 1), ("conv 3", 3, 1), ("conv 3", 3, 1), ("pool 2/2", 2, 2), ("conv 3", 3, 1))
    sizes, fields = [14], [Field()]
    for _, K, S in layers[1:]:
        sizes.append((sizes[-1] - K) // S + 1)
        fields.append(Field(fields[-1].size + (K - 1) * fields[-1].jump, fields[-1].jump * S))
    reads, rows = {len(layers) - 1: {1}}, []
    for level in range(len(layers) - 1, 0, -1):
        _, K, S = layers[level]
        reads[level - 1] = {k * S + tap for k in reads[level] for tap in range(K)}
    fig, (ax,) = panels(1, 9.4, 3.3)
    for level, ((name, K, S), size, f) in enumerate(zip(layers, sizes, fields)):
        centre = [f.start + k * f.jump + (f.size - 1) / 2 for k in range(size)]
        rows.append(centre)
        for k, x in enumerate(centre):
            hot = k in reads[level]
            ax.plot([x], [level], "o", markersize=13, color=ORANGE if hot else PALE_BLUE, markeredgecolor=BLUE)
            for tap in range(K) if level else ():
                below = rows[level - 1][k * S + tap]
                ax.plot([x, below], [level - 0.16, level - 0.84], color=ORANGE if hot else "0.85", linewidth=1.2,
                        zorder=0 if not hot else 1)  # fmt: skip
        ax.text(-1.2, level, name, ha="right", va="center", fontsize=10)
        ax.text(14.2, level, f"reads {f.size} pixel{'s' * (f.size > 1)}", ha="left", va="center", fontsize=10)
    plain(ax, -4, 18, -0.4, 4.4)
    return fig


def influence() -> Figure:
    """How many paths lead from each pixel to one number, after 1, 2 and 3 layers of 3×3."""
    fig, axes = panels(3, 9.4, 3.3)
    for ax, depth in zip(axes, (1, 2, 3)):
        x = y = Tensor(np.zeros((1, 1, 9, 9)), requires_grad=True)
        for _ in range(depth):
            y = ops.conv2d(y, Tensor(np.ones((1, 1, 3, 3))), padding=1)
        dy = np.zeros((1, 1, 9, 9))
        dy[0, 0, 4, 4] = 1
        y.backward(dy)
        paths = x.grad[0, 0][1:8, 1:8]
        ax.imshow(np.sqrt(paths / paths.max()), cmap="Blues", vmin=0, vmax=1.6)
        numbers(ax, paths, 9)
        ax.set_title(f"{depth} layer{'s' * (depth > 1)} of 3×3: {2 * depth + 1}×{2 * depth + 1} pixels", fontsize=10)
    return fig


def pooling() -> Figure:
    """Four poolings of sixteen numbers, with what each window's number comes from."""
    x = samples.PICTURES["numbers"][0]
    cases = (("max, 2×2/2", "max", 2, 2), ("average, 2×2/2", "average", 2, 2), ("L2, 2×2/2", "l2", 2, 2),
             ("max, 3×3/1: overlapping", "max", 3, 1))  # fmt: skip
    fig, _ = panels(4, 9.4, 4.4)
    fig.clear()
    axes = fig.subplots(2, 4, height_ratios=(2, 1.15))
    for (top, below), (name, kind, K, S) in zip(axes.T, cases):
        matrix(top, x, name, 11)
        for i, j in np.ndindex((4 - K) // S + 1, (4 - K) // S + 1):
            if K == S:
                frame(top, i * S, j * S, K, K, "0.55", 1.4)
            if kind == "max":
                window = x[i * S:i * S + K, j * S:j * S + K]
                p, q = np.unravel_index(window.argmax(), window.shape)
                frame(top, i * S + p + 0.12, j * S + q + 0.12, 0.76, 0.76, ORANGE)
        matrix(below, POOLS[kind](x, K, S), "", 11, digits=3)
    return fig


def _pool(op, **how):
    def pooled(x, K, S):
        return op(Tensor(x[None, None]), kernel_size=K, stride=S, **how).numpy()[0, 0]
    return pooled


POOLS = {"max": _pool(ops.max_pool2d), "average": _pool(ops.avg_pool2d), "l2": _pool(ops.lp_pool2d, norm_type=2.0)}

FIGURES = {"learn-image.png": image, "learn-bits.png": bits, "learn-filters.png": filters, "learn-windows.png": windows,
           "learn-im2col.png": im2col, "learn-field.png": field, "learn-influence.png": influence,
           "learn-pooling.png": pooling}  # fmt: skip
