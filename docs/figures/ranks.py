"""The estimated efficiency of docs/many-machines.md, from benchmarks/results/estimate.json."""

from __future__ import annotations

import json

from matplotlib.figure import Figure

from benchmarks.cpu.estimate import LINKS, MACHINES, efficiency
from benchmarks.harness import RESULTS


def estimate() -> Figure:
    """Efficiency over the number of machines, a line for each link and a part for each net."""
    nets = json.loads((RESULTS / "estimate.json").read_text(encoding="utf-8"))["nets"]
    fig = Figure(figsize=(9.4, 3.2), layout="constrained", dpi=110)
    for ax, net in zip(fig.subplots(1, len(nets), sharey=True, squeeze=False)[0], nets):
        for link, mark in zip(LINKS, "osv"):
            ax.plot(MACHINES, [100 * efficiency(net, k, link) for k in MACHINES], marker=mark, markersize=4, label=link)
        ax.set_xscale("log", base=2)
        ax.set_xticks(MACHINES, list(map(str, MACHINES)))
        ax.set_ylim(0, 105)
        ax.set_title(f"{net['net']}, {net['images']} images a machine", fontsize=9)
        ax.set_xlabel("machines")
        ax.grid(alpha=0.3)
    fig.axes[0].set_ylabel("estimated efficiency, %")
    fig.axes[0].legend(fontsize=8, loc="lower left")
    return fig


FIGURES = {"ranks-estimate.png": estimate}
