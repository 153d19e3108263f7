"""The code and the numbers of docs/compiled.md; `python -m benchmarks.render compiled` writes them."""

import ast
import itertools
from pathlib import Path

from matplotlib.ticker import FuncFormatter

from benchmarks.markdown import circumstances, table
from benchmarks.pictures import _save
from minicnn.inspect.plots import figure

CODE = Path(__file__).parent / "kernel_steps.py"
FIRST, SECOND = "ResNet conv2_x", "ResNet conv4_x"
TITLES = {
    "definition": "the definition", "compiled": "compiled", "channels_last": "channels last",
    "one_register": "sums in registers", "block": "a block of sums", "multiply_add": "multiply-adds",
    "tiles": "tiles", "on_threads": "threads", "winograd": "Winograd",
}  # fmt: skip
"""The name of each step on the page."""
SHOWN = {"definition": ("definition",), "compiled": ("SEPARATE", "compiled"), "channels_last": ("channels_last",),
         "one_register": ("one_register",), "block": ("block",), "multiply_add": ("FAST", "multiply_add"),
         "tiles": ("one_tile", "tiles"), "on_threads": ("threaded", "on_threads"), "winograd": ()}  # fmt: skip
"""The functions that the page shows for each step."""


def source(name: str) -> str:
    """The source of a function, or of an assignment, in kernel_steps.py."""
    text = CODE.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        names = [getattr(target, "id", "") for target in getattr(node, "targets", [])]
        if getattr(node, "name", "") == name or name in names:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise ValueError(f"no {name} in {CODE.name}")


def number(rate: float) -> str:
    """"0.0023", "1.2", "93": GFLOP/s."""
    rate /= 1e9
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def peak(document: dict, row: dict) -> float:
    """The peak of the cores that a step uses, FLOP/s."""
    return document["roofs"][f"multiply-adds, {row['threads']}"]


def _step(place: int, name: str):
    """The block of a step: its code, and its speed."""
    def block(document: dict, picture) -> list[str]:
        rows = document["cases"]
        row = rows[place]
        assert row["name"] == name
        rate, cores = row["rates"][FIRST], "the core's peak" if row["threads"] == 1 else f"{row['threads']} cores' peak"
        told = [f"**{number(rate)} GFLOP/s**"]
        if place:
            told.append(f"×{rate / rows[place - 1]['rates'][FIRST]:.{1 if place > 1 else 0}f}")
        told.append(f"{_percent(rate / peak(document, row))} of {cores}")
        if row["part"]:
            told.append("measured on {} image and {} filter{}".format(*row["part"], "s" * (row["part"][1] != 1)))
        other, shown = row["rates"][SECOND], [source(shown) for shown in SHOWN[name]]
        code = shown[0] if shown else ""
        for before, after in itertools.pairwise(shown):
            code += ("\n\n\n" if "\n" in before + after else "\n") + after
        return [*([f"```py\n{code}\n```\n"] if code else []),
                f"{told[0]}: {', '.join(told[1:])}. On {SECOND}: {number(other)} GFLOP/s.\n"]

    block.__name__ = f"step {place}"
    return block


def roofs(document: dict, picture) -> list[str]:
    """What the processor can do."""
    of, most = document["roofs"], max(row["threads"] for row in document["cases"])
    body = [["multiply-adds in registers", "GFLOP/s", *(f"{of[f'multiply-adds, {n}'] / 1e9:.0f}" for n in (1, most))],
            ["loads from the first cache, L1", "GB/s", f"{of['L1'] / 1e9:.0f}", ""],
            ["loads from the second cache, L2", "GB/s", f"{of['L2'] / 1e9:.0f}", ""],
            ["a copy in memory, read and written", "GB/s", *(f"{of[f'copy, {n}'] / 1e9:.0f}" for n in (1, most))]]
    return [f"{document['code']['processor']}:\n", table(["at most", "", "1 core", f"{most} cores"], body)]


def layers(document: dict, picture) -> list[str]:
    """The two layers."""
    body = []
    for name, of in document["layers"].items():
        (N, C, H, W), (O, _, KH, KW) = of["x"], of["w"]
        body.append([name, f"{N}×{C}×{H}×{W} → {O}, {KH}×{KW} p1", f"{2 * of['macs'] / 1e9:.2f}",
                     f"{4 * O * C * KH * KW / 1e6:.2f}"])
    return [table(["layer", "N×C×H×W → O, window", "GFLOP", "filters MB"], body)]


def summary(document: dict, picture) -> list[str]:
    """All steps in a table, and in the roofline."""
    rows, body = document["cases"], []
    for place, row in enumerate(rows):
        rate = row["rates"][FIRST]
        body.append([str(place), TITLES[row["name"]], number(rate), f"{rate / rows[0]['rates'][FIRST]:,.0f}",
                     _percent(rate / peak(document, row)), f"{row['flops'] / row['bytes']:.2f}"])
    link = picture("compiled-roofline.svg", draw_roofline, document)
    return [table(["step", "", "GFLOP/s", "times step 0", "of the peak", "FLOPs per byte"], body),
            f"![Roofline: the FLOPs per byte of each step's innermost loop against its GFLOP/s]({link})\n"]


def machine_code(document: dict, picture) -> list[str]:
    """The innermost loop."""
    of, code = document["code"], "\n".join(document["code"]["loop"])
    return [f"```asm\n{code}\n```\n", f"{of['tally']}. {of['processor']}.\n"]


def measured(document: dict, picture) -> list[str]:
    """How it was measured."""
    return [circumstances(document)]


BLOCKS = (layers, roofs, *(_step(place, name) for place, name in enumerate(TITLES)), summary, machine_code, measured)
"""Each fills the page's block of its name. picture(name, draw, *data) → a link"""


def draw_roofline(document: dict, path: Path) -> None:
    """The innermost loops' FLOPs per byte against GFLOP/s, under the roofs of registers, caches and memory."""
    of, rows = document["roofs"], document["cases"]
    most = max(row["threads"] for row in rows)
    fig = figure(8, 5.5)
    ax, low, high = fig.subplots(), 0.08, 30.0
    top, all_top = of["multiply-adds, 1"], of[f"multiply-adds, {most}"]
    for label, rate, style in (("L1", of["L1"], "-"), ("L2", of["L2"], "--"), ("memory", of["copy, 1"], ":")):
        ax.loglog([low, top / rate, high], [low * rate / 1e9, top / 1e9, top / 1e9], f"k{style}", linewidth=1)
        ax.text(low * 1.1, low * 1.1 * rate / 1e9 * 1.15, f"{label}, {rate / 1e9:.0f} GB/s", fontsize=7, rotation=24)
    ax.loglog([all_top / (most * of["L1"]), high], [all_top / 1e9] * 2, "k-.", linewidth=1)
    for rate, label in ((top, "1 core"), (all_top, f"{most} cores")):
        ax.text(high / 1.1, rate / 1e9 * 1.06, f"{label}, {rate / 1e9:.0f} GFLOP/s", fontsize=7, ha="right")
    for place, row in enumerate(rows):
        x, y = row["flops"] / row["bytes"], row["rates"][FIRST] / 1e9
        ax.loglog([x], [y], "o", color="C1" if row["threads"] > 1 else "C0")
        left = x > 1 and place % 2 == 0                            # or the labels would cover each other
        ax.annotate(f"{place} {TITLES[row['name']]}", (x, y), fontsize=8, xytext=(-7 if left else 7, -3),
                    textcoords="offset points", ha="right" if left else "left")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("FLOPs for each byte that the innermost loop loads and stores")
    ax.set_ylabel(f"GFLOP/s, {FIRST}")
    ax.grid(alpha=0.3)
    _save(fig, path)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"
