"""The pictures of the chapters in docs/learn. Every number in them is computed by minicnn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures.style import BLUE, GREY, ORANGE, PALE_BLUE, frame, matrix, numbers, panels, plain, sign
from minicnn import Tensor, data, nn, ops, optim, reference, seed
from minicnn.cpu.conv.im2col import im2col as columns
from minicnn.explain import samples
from minicnn.geometry import Conv2dGeometry
from minicnn.nn import init
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
        y = reference.conv2d(digit[None, None], taps[None, None])[0, 0]
        below.imshow(y, cmap="PuOr_r", vmin=-abs(y).max(), vmax=abs(y).max())
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


def activations() -> Figure:
    """Sigmoid, tanh and ReLU (blue), and their slopes (orange)."""
    x = np.linspace(-6, 6, 97)
    fig, axes = panels(3, 9.4, 2.8)
    for ax, op in zip(axes, (ops.sigmoid, ops.tanh, ops.relu)):
        at = Tensor(x, requires_grad=True)
        y = op(at)
        values = y.numpy()
        y.sum().backward()
        ax.plot(x, values, color=BLUE, linewidth=2, label="y")
        ax.plot(x, at.grad, color=ORANGE, linewidth=2, linestyle="--", label="slope")
        ax.set_title(f"{op.__name__}: largest slope {sign(at.grad.max(), 3)}", fontsize=10)
        ax.set_ylim(-1.15, 2.15)
        ax.grid(color="0.9")
        ax.legend(loc="upper left", fontsize=9, frameon=False)
    return fig


def gradient_sizes(activation, depth: int = 12, width: int = 64) -> list[float]:
    """The size of the gradient of each layer's weights in a net of dense layers, from the first to the last."""
    seed(0)
    net = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())))
    rng = np.random.default_rng(0)
    y = net(Tensor(rng.standard_normal((32, width), np.float32)))
    y.backward(rng.standard_normal(y.shape, np.float32))
    return [float(np.sqrt((net[2 * k].weight.grad ** 2).sum())) for k in range(depth)]


def vanishing() -> Figure:
    """The gradients of twelve layers, with three activations."""
    fig, (ax,) = panels(1, 7.4, 3.0)
    for activation, colour, mark in ((nn.ReLU, BLUE, "o"), (nn.Tanh, GREY, "s"), (nn.Sigmoid, ORANGE, "^")):
        sizes = gradient_sizes(activation)
        ax.plot(range(1, 13), sizes, color=colour, marker=mark, label=activation.__name__)
    ax.set_yscale("log")
    ax.set_xlabel("layer, 1: the first after the input")
    ax.set_ylabel("size of the gradient")
    ax.grid(color="0.9")
    ax.legend(fontsize=9, frameon=False)
    return fig


def softmax() -> Figure:
    """Scores as probabilities, and the loss as a function of the right class's probability."""
    z = np.array([2.0, 1.0, -1.0])
    fig, (left, middle, right) = panels(3, 9.4, 2.7, width_ratios=(1, 1, 1.3))
    p = ops.softmax(Tensor(z[None])).numpy()[0]
    for ax, values, title in ((left, z, "scores z"), (middle, p, "probabilities p = softmax(z)")):
        ax.bar(range(3), values, color=(BLUE, GREY, GREY))
        for k, value in enumerate(values):
            ax.text(k, max(value, 0), sign(value, 3), ha="center", va="bottom", fontsize=10)
        ax.set_xticks(range(3), ["class 0", "class 1", "class 2"], fontsize=9)
        ax.set_ylim(min(0, values.min()) - 0.1 * np.ptp(values), values.max() * 1.2)
        ax.set_title(title, fontsize=10)
        ax.axhline(0, color="0.4", linewidth=0.8)
    at = np.linspace(0.01, 1, 100)
    right.plot(at, -np.log(at), color=BLUE, linewidth=2)
    right.plot([p[0]], [-np.log(p[0])], "o", color=ORANGE)
    right.annotate(f"p = {sign(p[0], 3)}: L = {sign(-np.log(p[0]), 3)}", (p[0], -np.log(p[0])), (0.42, 1.6), fontsize=9,
                   arrowprops={"arrowstyle": "->"})  # fmt: skip
    right.set_xlabel("probability of the right class")
    right.set_title("loss L = −ln p", fontsize=10)
    right.grid(color="0.9")
    return fig


def every_gradient(loss: Tensor) -> dict[int, tuple[Tensor, float]]:
    """{id: (Tensor, ∂loss/∂Tensor)} of all the numbers that a loss was computed from, by the record of the engine."""
    found = {id(loss): (loss, 1.0)}
    for tensor in sorted(ancestors(loss).values(), key=_depth, reverse=True):
        for parent, vjp in zip(tensor._parents, tensor._vjps):
            if isinstance(parent, Tensor) and vjp is not None:
                dx = float(vjp(np.asarray(found[id(tensor)][1])))
                found[id(parent)] = (parent, found.get(id(parent), (parent, 0.0))[1] + dx)
    return found


def ancestors(tensor: Tensor) -> dict[int, Tensor]:
    """{id: Tensor} of a number and all that it was computed from."""
    parents = [parent for parent in tensor._parents if isinstance(parent, Tensor)]
    return {id(tensor): tensor} | {key: t for parent in parents for key, t in ancestors(parent).items()}


def _depth(tensor: Tensor) -> int:
    return 1 + max((_depth(parent) for parent in tensor._parents if isinstance(parent, Tensor)), default=0)


def backpropagation() -> Figure:
    """The graph of one neuron with a shortcut: each number (blue) and its gradient (orange)."""
    x, w, b, t = (Tensor(np.array(value), requires_grad=True) for value in (2.0, 3.0, -1.0, 4.0))
    a = w * x
    s = a + b
    h = ops.relu(s)
    y = h + x
    e = y - t
    L = e * e
    gradients = every_gradient(L)
    places = {"x": (0, 0), "w": (0, 2.3), "a = w·x": (2, 1.9), "b": (2, 3.5), "s = a + b": (4, 1.9),
              "h = relu(s)": (6, 1.9), "y = h + x": (8, 0.9), "t": (8, 2.6), "e = y − t": (10, 0.9),
              "L = e²": (12, 0.9)}  # fmt: skip
    named = dict(zip(places, (x, w, a, b, s, h, y, t, e, L)))
    at = {id(tensor): places[name] for name, tensor in named.items()}
    fig, (ax,) = panels(1, 9.4, 3.4)
    for tensor, _ in gradients.values():
        for parent in {id(p): p for p in tensor._parents if isinstance(p, Tensor)}.values():
            (x0, y0), (x1, y1) = at[id(parent)], at[id(tensor)]
            ax.annotate("", (x1 - 0.72, y1), (x0 + 0.72, y0), arrowprops={"arrowstyle": "->", "color": "0.5"})
    for name, tensor in named.items():
        (cx, cy), colour = places[name], PALE_BLUE if tensor._parents else "white"
        back = f"∂L/∂{name.split()[0]} = {sign(gradients[id(tensor)][1])}"
        ax.add_patch(Rectangle((cx - 0.7, cy - 0.42), 1.4, 0.84, facecolor=colour, edgecolor=BLUE))
        ax.text(cx, cy + 0.2, name, ha="center", va="center", fontsize=8.5)
        ax.text(cx, cy - 0.17, sign(float(tensor.data)), ha="center", va="center", fontsize=11, color=BLUE)
        ax.text(cx, cy - 0.68, back, ha="center", va="center", fontsize=10, color=ORANGE)
    plain(ax, -0.9, 12.9, -1.0, 4.1)
    return fig


def normalisation() -> Figure:
    """Batch norm on the values of one map, LRN on the maps at one pixel, and dropout on sixty-four numbers."""
    rng = np.random.default_rng(0)
    fig, (left, middle, right) = panels(3, 9.4, 2.9)
    x = 3 + 2 * rng.standard_normal((16, 1, 12, 12))
    y = ops.batch_norm(Tensor(x), None, None).numpy()
    for values, colour, name in ((x, BLUE, "before"), (y, ORANGE, "after")):
        counts, edges = np.histogram(values, np.arange(-4, 10.1, 0.5))
        label = f"{name}: mean {sign(round(values.mean(), 2))}, std {sign(round(values.std(), 2))}"
        left.stairs(counts, edges, color=colour, label=label)
        left.plot((edges[1:] + edges[:-1]) / 2, counts, ".", color=colour)
    left.set_ylim(0, 800)
    left.legend(fontsize=8, frameon=False, loc="upper right")
    left.set_title("batch norm: one map of a batch", fontsize=10)
    maps = np.array([1, 1, 1, 1, 6, 1, 1, 1, 1], float)
    after = ops.local_response_norm(Tensor(maps.reshape(1, 9, 1, 1)), size=5, alpha=0.1, beta=0.75, k=1.0,
                                    variant="paper").numpy()[0, :, 0, 0]  # fmt: skip
    middle.bar(np.arange(9) - 0.2, maps, 0.4, color=BLUE, label="before")
    middle.bar(np.arange(9) + 0.2, after, 0.4, color=ORANGE, label="after")
    middle.set_xlabel("map")
    middle.legend(fontsize=8, frameon=False)
    middle.set_title("LRN: nine maps at one pixel", fontsize=10)
    mask = rng.random((6, 6)) >= 0.5
    dropped = ops.dropout(Tensor(np.ones((6, 6))), Tensor(mask), p=0.5).numpy()
    matrix(right, dropped, "dropout, p = 0.5, of ones", 10)
    for i, j in np.argwhere(~mask):
        right.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="0.85", edgecolor="none", zorder=0.5))
    return fig


STARTS = {"normal, 0.01": lambda shape: init.normal(shape, 0.01), "Glorot": init.glorot_uniform, "He": init.he_normal}


def sizes_by_layer(start, depth: int = 20, width: int = 128) -> list[float]:
    """The standard deviation of the numbers after each of `depth` dense layers with ReLU."""
    seed(0)
    x = np.random.default_rng(0).standard_normal((64, width)).astype(np.float32)
    sizes = []
    for _ in range(depth):
        x = np.maximum(x @ start((width, width)).T, 0)
        sizes.append(float(x.std()))
    return sizes


def initialisation() -> Figure:
    """How large the numbers of twenty layers are, with three kinds of first weights."""
    fig, (ax,) = panels(1, 7.4, 3.0)
    for (name, start), colour, mark in zip(STARTS.items(), (ORANGE, GREY, BLUE), "^so"):
        ax.plot(range(1, 21), sizes_by_layer(start), color=colour, marker=mark, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("layer")
    ax.set_ylabel("size of its numbers")
    ax.grid(color="0.9")
    ax.legend(fontsize=9, frameon=False)
    return fig


def path(make, steps: int) -> np.ndarray:
    """The points that an optimiser visits on L = (u² + 20·v²)/2, from (−8, 2): (steps + 1, 2)."""
    point = nn.Parameter(np.array([-8.0, 2.0]))
    optimizer, points = make([point]), [point.numpy().copy()]
    for _ in range(steps):
        optimizer.zero_grad()
        (point * point * np.array([0.5, 10.0])).sum().backward()
        optimizer.step()
        points.append(point.numpy().copy())
    return np.array(points)


def optimisers() -> Figure:
    """Thirty steps of three optimisers in a long valley."""
    cases = (("SGD, lr 0.09", lambda p: optim.SGD(p, 0.09)),
             ("SGD, lr 0.03, momentum 0.8", lambda p: optim.SGD(p, 0.03, momentum=0.8)),
             ("Adam, lr 0.5", lambda p: optim.Adam(p, 0.5)))  # fmt: skip
    fig, axes = panels(3, 9.4, 2.8)
    u, v = np.meshgrid(np.linspace(-9, 4, 80), np.linspace(-2.6, 2.6, 80))
    for ax, (name, make) in zip(axes, cases):
        ax.contour(u, v, (u**2 + 20 * v**2) / 2, levels=[0.5, 2, 6, 14, 26, 42, 62], colors="0.75", linewidths=0.8)
        points = path(make, 30)
        ax.plot(*points.T, color=BLUE, marker=".", linewidth=1)
        ax.plot(*points[-1:].T, "o", color=ORANGE)
        loss = float((points[-1] ** 2 * [0.5, 10]).sum())
        ax.set_title(f"{name}\nL: 72 → {sign(loss, 2)}", fontsize=10)
        ax.set_xlim(-9, 4)
        ax.set_ylim(-2.6, 2.6)
    return fig


def costs() -> dict[str, tuple[int, int]]:
    """{algorithm: (multiplications, bytes to and from memory)} of the layer of docs/convolution-algorithms.md."""
    g = Conv2dGeometry.of((16, 64, 56, 56), (64, 64, 3, 3), padding=1)
    x, w, y = g.N * g.C * g.H * g.W, g.O * g.C * g.KH * g.KW, g.N * g.O * g.OH * g.OW
    macs, cols = y * g.C * g.KH * g.KW, g.N * g.C * g.KH * g.KW * g.OH * g.OW
    padded, tiles = g.N * g.C * g.vertical.padded * g.horizontal.padded, g.N * (g.OH // 4) * (g.OW // 4)
    transforms = tiles * (2 * 6**3 * g.C + (4 * 6 * 6 + 4 * 6 * 4) * g.O) + 36 * 9 * g.C * g.O
    return {"im2col": (macs, 4 * (x + padded + 3 * cols + w + y)), "tiled": (macs, 4 * (x + 3 * w + y)),
            "winograd": (36 * tiles * g.C * g.O + transforms, 4 * (x + 3 * w + 2 * 36 * g.C * g.O + y))}  # fmt: skip


def algorithms() -> Figure:
    """Three algorithms of one layer: multiplications, and bytes to and from main memory."""
    fig, axes = panels(2, 9.4, 2.2)
    found = costs()
    for ax, unit, part, title in zip(axes, (1e9, 1e6), (0, 1), ("10⁹ multiplications", "MB to and from main memory")):
        values = [cost[part] / unit for cost in found.values()]
        ax.barh(list(found), values, color=(BLUE, ORANGE)[part])
        for k, value in enumerate(values):
            ax.text(value, k, f" {sign(value, 3)}", va="center", fontsize=10)
        ax.set_xlim(0, max(values) * 1.15)
        ax.invert_yaxis()
        ax.set_title(title, fontsize=10)
    return fig


def tiles() -> Figure:
    """A product of matrices, split into tiles: what one block of the result reads."""
    fig, (ax,) = panels(1, 7.4, 3.0)
    for x, y, wide, high, text in ((0, 0, 4, 6, "windows × taps"), (5, 6.6, 8, 4, "taps × filters"),
                                   (5, 0, 8, 6, "windows × filters")):  # fmt: skip
        ax.add_patch(Rectangle((x, y), wide, high, facecolor="white", edgecolor="0.4"))
        ax.text(x + 0.15, y + 0.2, text, ha="left", va="bottom", fontsize=9, color=GREY)
    for k in range(1, 4):
        ax.plot([5, 13], [1.5 * k] * 2, color="0.8", linewidth=0.8)
        ax.plot([5 + 2 * k] * 2, [0, 6], color="0.8", linewidth=0.8)
    ax.add_patch(Rectangle((0, 3), 4, 1.5, facecolor=BLUE, alpha=0.4))
    ax.add_patch(Rectangle((9, 6.6), 2, 4, facecolor=BLUE, alpha=0.4))
    ax.add_patch(Rectangle((9, 3), 2, 1.5, facecolor=ORANGE, alpha=0.8))
    ax.annotate("", (9, 3.75), (4.1, 3.75), arrowprops={"arrowstyle": "->", "color": BLUE})
    ax.annotate("", (10, 4.6), (10, 6.5), arrowprops={"arrowstyle": "->", "color": BLUE})
    ax.text(13.4, 3.75, "one tile of the result:\na block of threads on a GPU,\na thread's work on a CPU", va="center",
            fontsize=9, color=ORANGE)  # fmt: skip
    plain(ax, -0.3, 21, -0.3, 10.9)
    return fig


FIGURES = {"learn-image.png": image, "learn-bits.png": bits, "learn-filters.png": filters, "learn-windows.png": windows,
           "learn-im2col.png": im2col, "learn-field.png": field, "learn-influence.png": influence,
           "learn-pooling.png": pooling, "learn-activations.png": activations, "learn-vanishing.png": vanishing,
           "learn-softmax.png": softmax, "learn-backpropagation.png": backpropagation,
           "learn-normalisation.png": normalisation, "learn-initialisation.png": initialisation,
           "learn-optimisers.png": optimisers, "learn-algorithms.png": algorithms,
           "learn-tiles.png": tiles}  # fmt: skip
