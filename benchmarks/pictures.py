"""The pictures of the pages of results, as SVG: a roofline, the nets, growth. Same numbers, same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.ticker import NullFormatter, ScalarFormatter

from minicnn.bench.conv import POLICY, WHAT
from minicnn.inspect.plots import figure


def roofline(rows: list[dict], gemm: float, copy: float, path: Path) -> None:
    """FLOPs per byte against GFLOP/s; what lies under both roofs is possible, but for Winograd's fewer products."""
    fig = figure(8, 5)
    ax = fig.subplots()
    x = [row["intensity"] for row in rows]
    low, high = min(*x, gemm / copy) / 2, max(*x, gemm / copy) * 2
    edge = gemm / copy
    ax.loglog([low, edge, high], [low * copy / 1e9, gemm / 1e9, gemm / 1e9], "k-", linewidth=1,
              label=f"roof: copy {copy / 1e9:.0f} GB/s, matrix product {gemm / 1e9:.0f} GFLOP/s")  # fmt: skip
    ax.loglog(x, [row["algorithms"][POLICY]["forward"]["flops"] / 1e9 for row in rows], "o", label="minicnn")
    book = [row for row in rows if "textbook" in row]
    if book:
        ax.loglog([row["intensity"] for row in book],
                  [2e-9 * row["macs"] / row["textbook"]["forward"]["median"] for row in book], "x", label="textbook")
    theirs = [row for row in rows if "torch" in row]
    if theirs:
        ax.loglog([row["intensity"] for row in theirs],
                  [2e-9 * row["macs"] / row["torch"]["better"]["forward"][1] for row in theirs], "+", markersize=9,
                  label="PyTorch, better layout")
    for row in rows:
        ax.annotate(row["name"], (row["intensity"], row["algorithms"][POLICY]["forward"]["flops"] / 1e9), fontsize=6,
                    xytext=(4, 3), textcoords="offset points")
    ax.set_xlabel("FLOPs for each byte of images, filters and output")
    ax.set_ylabel("GFLOP/s, forward")
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8, loc="lower right")
    _save(fig, path)


def nets(rows: list[dict], path: Path) -> None:
    """For each net PyTorch's time divided by ours, where it was measured; else images a second, as points."""
    compared = [row for row in rows if "vs_torch" in row]
    fig = figure(8, 1.2 + 0.45 * len(rows))
    ax = fig.subplots()
    for i, (what, title) in enumerate((("step", "training step"), ("infer 1", "1 image"), ("infer 32", "32 images"))):
        shown = [(p, row) for p, row in enumerate(compared or rows) if what in row["times"]]
        places = [p + 0.27 * (i - 1) for p, _ in shown]
        if compared:
            ax.barh(places, [row["vs_torch"][what] for _, row in shown], 0.25, label=title)
        else:
            ax.semilogx([row["images_per_second"][what] for _, row in shown], places, "o", label=title)
    if compared:
        ax.axvline(1, color="black", linewidth=1)
    ax.set_yticks(range(len(compared or rows)), [row["name"] for row in compared or rows], fontsize=8)
    ax.set_xlabel("PyTorch's time / minicnn's: right of the line minicnn is faster" if compared else "images a second")
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    ax.legend(fontsize=7)
    _save(fig, path)


def scaling(axes_: dict, path: Path) -> None:
    """Time against each size, both logarithmic: a straight line's slope is the exponent."""
    fig = figure(8, 3)
    for ax, (axis, of) in zip(fig.subplots(1, len(axes_)), axes_.items()):
        sizes = [row["size"] for row in of["rows"]]
        for what in WHAT:
            times = [1000 * row["times"][what]["median"] for row in of["rows"]]
            ax.loglog(sizes, times, marker="o", markersize=3, label=f"{what}, exponent {of['exponents'][what]:.2f}")
        ax.set_xticks(sizes, minor=False)
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(labelsize=6)
        ax.set_title(f"ms against {axis}", fontsize=9)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=6)
    _save(fig, path)


def gpu_nets(rows: list[dict], path: Path) -> None:
    """Images a second in a training step: on the CPU, on the GPU, and in PyTorch on the same GPU."""
    fig = figure(8, 1.2 + 0.45 * len(rows))
    ax = fig.subplots()
    lanes = {"CPU": lambda row: row["cpu"]["step"]["median"], "GPU": lambda row: row["times"]["step"]["fp32"]["median"]}
    if all("torch" in row for row in rows):
        lanes["PyTorch, fp32, better layout"] = lambda row: row["torch"]["better"]["fp32"]["step"][1]
    for i, (label, seconds) in enumerate(lanes.items()):
        places = [p + 0.27 * (i - 1) for p in range(len(rows))]
        ax.barh(places, [row["batch"] / seconds(row) for row in rows], 0.25, label=label)
    ax.set_xscale("log")
    ax.set_yticks(range(len(rows)), [f"{row['name']}, {row['batch']}" for row in rows], fontsize=8)
    ax.set_xlabel("images a second in training")
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    ax.legend(fontsize=7)
    _save(fig, path)


def gpu_growth(rows: list[dict], path: Path) -> None:
    """Time of one convolution against its multiplications: where the lines cross, the GPU begins to be worth it."""
    fig = figure(7, 4)
    ax = fig.subplots()
    macs = [row["macs"] for row in rows]
    ax.loglog(macs, [1e6 * row["cpu"]["median"] for row in rows], "o-", label="CPU")
    for way, label in (("there", "GPU"), ("there and back", "GPU, with the transfers")):
        ax.loglog(macs, [1e6 * row["gpu"][way]["median"] for row in rows], "o-", label=label)
    for row in rows:
        ax.annotate(f"{row['side']}²", (row["macs"], 1e6 * row["cpu"]["median"]), fontsize=6, xytext=(4, -8),
                    textcoords="offset points")  # fmt: skip
    ax.set_xlabel("multiplications with their additions")
    ax.set_ylabel("µs for one image")
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8)
    _save(fig, path)


def _save(fig, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "minicnn"}):       # or the ids in it would differ each time
        fig.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
