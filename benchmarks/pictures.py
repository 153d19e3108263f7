"""The pictures of the pages of results, as SVG. The same numbers give the same bytes."""

from pathlib import Path

import matplotlib
from matplotlib.ticker import NullFormatter, ScalarFormatter

from minicnn.bench.conv import WHAT
from minicnn.inspect.plots import figure


def roofline(rows: list[dict], gemm: float, copy: float, path: Path) -> None:
    """FLOPs per byte against GFLOP/s; only Winograd's algorithm, with its fewer products, can lie above the roofs."""
    fig = figure(8, 5)
    ax, x, edge = fig.subplots(), [row["intensity"] for row in rows], gemm / copy
    low, high = min(*x, edge) / 2, max(*x, edge) * 2
    ax.loglog([low, edge, high], [low * copy / 1e9, gemm / 1e9, gemm / 1e9], "k-", linewidth=1,
              label=f"roof: copy {copy / 1e9:.0f} GB/s, matrix product {gemm / 1e9:.0f} GFLOP/s")  # fmt: skip
    for name, mark in (("compiled", "o"), ("numpy", "s"), ("textbook", "x"), ("torch", "+")):
        points = [(row["intensity"], 2e-9 * row["macs"] / (row["better"][name]["forward"][1] if name in row["better"]
                                                           else row["times"][name]["forward"]["median"]))
                  for row in rows if name in row["times"]]  # fmt: skip
        if points:
            ax.loglog(*zip(*points), mark, label=name)
    for row in rows:
        first = next(iter(row["times"].values()))["forward"]["median"]
        ax.annotate(row["name"], (row["intensity"], 2e-9 * row["macs"] / first), fontsize=6, xytext=(4, 3),
                    textcoords="offset points")  # fmt: skip
    _finish(fig, ax, path, "FLOPs for each byte of images, filters and output", "GFLOP/s, forward", fontsize=8,
            loc="lower right")


def nets(rows: list[dict], path: Path) -> None:
    """For each net PyTorch's time divided by minicnn's, or images a second where PyTorch was not measured."""
    compared = any("torch" in row["vs"] for row in rows)
    text = "PyTorch's time / minicnn's: right of the line minicnn is faster" if compared else "images a second"
    own = dict.fromkeys(name for row in rows for name in row["images_per_second"])
    lanes = {f"{title}, {name}": [(row["vs"].get("torch", {}) if compared else row["images_per_second"]).get(
                name, {}).get(what) for row in rows]
             for name in own for what, title in (("step", "training step"), ("infer 1", "1 image"),
                                                   ("infer 32", "32 images"))}  # fmt: skip
    lanes = {label: values for label, values in lanes.items() if any(values)}
    _bars([row["name"] for row in rows], lanes, text, path, line=1 if compared else None)


def gpu_nets(rows: list[dict], path: Path) -> None:
    """Images a second in a training step: on the CPU, on the GPU, and in PyTorch on the same GPU."""
    lanes = {"CPU": lambda row: row["cpu"]["step"]["median"], "GPU": lambda row: row["times"]["step"]["fp32"]["median"]}
    if all("torch" in row for row in rows):
        lanes["PyTorch, fp32, better layout"] = lambda row: row["better"]["step, fp32"][1]
    _bars([f"{row['name']}, {row['batch']}" for row in rows],
          {label: [row["batch"] / seconds(row) for row in rows] for label, seconds in lanes.items()},
          "images a second in training", path)  # fmt: skip


def scaling(axes_: dict, path: Path) -> None:
    """Time against each size, both logarithmic: the slope of a straight line is the exponent."""
    fig = figure(8, 3)
    for ax, (axis, of) in zip(fig.subplots(1, len(axes_)), axes_.items()):
        sizes = [row["size"] for row in of["rows"]]
        for path_, form in zip(of["exponents"], ("-", ":")):
            for color, what in enumerate(WHAT):
                times = [1000 * row["times"][path_][what]["median"] for row in of["rows"]]
                ax.loglog(sizes, times, form, color=f"C{color}", marker="o", markersize=3,
                          label=f"{path_} {what}, exponent {of['exponents'][path_][what]:.2f}")
        ax.set_xticks(sizes, minor=False)
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(labelsize=6)
        ax.set_title(f"ms against {axis}", fontsize=9)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=6)
    _save(fig, path)


def gpu_growth(rows: list[dict], path: Path) -> None:
    """The time of one convolution against its multiplications: the GPU is faster where its line is below the CPU's."""
    fig = figure(7, 4)
    ax, macs = fig.subplots(), [row["macs"] for row in rows]
    for label, of in (("CPU", lambda row: row["cpu"]), ("GPU", lambda row: row["gpu"]["there"]),
                      ("GPU, with the transfers", lambda row: row["gpu"]["there and back"])):
        ax.loglog(macs, [1e6 * of(row)["median"] for row in rows], "o-", label=label)
    for row in rows:
        ax.annotate(f"{row['side']}²", (row["macs"], 1e6 * row["cpu"]["median"]), fontsize=6, xytext=(4, -8),
                    textcoords="offset points")  # fmt: skip
    _finish(fig, ax, path, "multiply-adds", "µs for one image", fontsize=8)


def _bars(names: list[str], lanes: dict[str, list], text: str, path: Path, line: float | None = None) -> None:
    """Horizontal bars, from top to bottom; line: where a vertical line is drawn, instead of a logarithmic axis."""
    fig, high = figure(8, 1.2 + 0.15 * len(names) * max(3, len(lanes))), 0.81 / len(lanes)
    ax = fig.subplots()
    for i, (label, values) in enumerate(lanes.items()):
        shown = [(place + high * (i - (len(lanes) - 1) / 2), value) for place, value in enumerate(values) if value]
        ax.barh([place for place, _ in shown], [value for _, value in shown], 0.9 * high, label=label)
    if line is not None:
        ax.axvline(line, color="black", linewidth=1)
    else:
        ax.set_xscale("log")
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    _finish(fig, ax, path, text, axis="x", fontsize=7)


def _finish(fig, ax, path: Path, x: str, y: str = "", axis: str = "both", **legend) -> None:
    ax.set_xlabel(x)
    if y:
        ax.set_ylabel(y)
    ax.grid(alpha=0.3, axis=axis, which="both" if axis == "both" else "major")
    ax.legend(**legend)
    _save(fig, path)


def _save(fig, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "minicnn"}):       # or its ids would differ each time
        fig.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
