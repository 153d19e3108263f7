"""One picture for each claim: every seed of every arm, and each comparison's interval beside its threshold."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from minicnn import foreign
from minicnn.claims.claim import FAILS, HOLDS, UNKNOWN, Claim
from minicnn.claims.statistics import t_interval
from minicnn.data.figures import figure

BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
"""A legend below the axes, where it covers nothing."""
COLOURS = {HOLDS: "tab:green", FAILS: "tab:red", UNKNOWN: "tab:grey"}


def draw(claim: Claim, result: Mapping[str, Any]) -> Any:
    """The picture of a result, as `engine.summary` gives it. → a matplotlib figure"""
    rows = len(result["outcomes"])
    fig = figure(11, max(3.4, 1.2 + 0.75 * rows))
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    if isinstance(claim.shown, str) and claim.shown.startswith("layers:"):
        _layers(left, result, claim.shown.removeprefix("layers:"))
    else:
        _points(left, claim, result)
    left.set_title(foreign.picture(claim.shown_label), fontsize=9)
    _intervals(right, claim, result)
    fig.suptitle(foreign.picture(f"{claim.name}, {result['size']}: {result['verdict']}"), fontsize=10)
    return fig


def shown(claim: Claim, result: Mapping[str, Any]) -> dict[str, list[float]]:
    """{column of the picture: the number of each seed; NaN where it is missing}"""
    if isinstance(claim.shown, str):
        found = {arm: told["values"].get(claim.shown) for arm, told in result["arms"].items()}
    else:
        told = next(iter(result["arms"].values()))
        found = {quantity: told["values"].get(quantity) for quantity in claim.shown}
    return {name: [np.nan if x is None else x for x in numbers] for name, numbers in found.items() if numbers}


def _points(ax: Any, claim: Claim, result: Mapping[str, Any]) -> None:
    columns = shown(claim, result)
    values = np.array(list(columns.values()))                                 # (arms, seeds)
    at = np.arange(len(values))
    ax.plot(at, values, color="lightgrey", linewidth=0.7, zorder=1)           # a line for each seed: its pair
    ax.plot(at, values, ".", color="tab:blue", markersize=6, alpha=0.7, zorder=2)
    for x, numbers in zip(at, values):
        if np.isfinite(numbers).all():
            mean, low, high = t_interval(numbers)
            ax.errorbar(x + 0.18, mean, [[mean - low], [high - mean]], fmt="o", color="black", markersize=4, capsize=3)
    ax.set_xticks(at, [foreign.picture(name) for name in columns], fontsize=8,
                  rotation=35 if len(values) > 4 else 0, ha="right" if len(values) > 4 else "center")  # fmt: skip
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.grid(axis="y", alpha=0.3)


def _layers(ax: Any, result: Mapping[str, Any], quantity: str) -> None:
    for i, (arm, told) in enumerate(result["arms"].items()):
        norms = np.array(told["values"][quantity], float)                     # (seeds, layers)
        ax.plot(np.arange(1, norms.shape[1] + 1), np.exp(np.log(norms).mean(0)), label=foreign.picture(arm),
                color=f"C{i // 4}", linestyle=("-", "--", ":", "-.")[i % 4], marker=".", markersize=3)  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("layer (geometric mean over the seeds)", fontsize=8)
    ax.legend(fontsize=6, ncols=3, **BELOW)
    ax.grid(alpha=0.3)


def _intervals(ax: Any, claim: Claim, result: Mapping[str, Any]) -> None:
    names = []
    outcomes = result["outcomes"]
    for row, (comparison, outcome) in enumerate(zip(claim.comparisons, outcomes)):
        y = len(outcomes) - 1 - row
        names.append(textwrap.fill(foreign.picture(f"{comparison.says} ({comparison.unit})"), 38))
        ax.plot([outcome["threshold"]] * 2, [y - 0.3, y + 0.3], color="black", linestyle="--", linewidth=1)
        ax.plot(outcome["values"], [y + 0.16] * len(outcome["values"]), ".", color="tab:blue", markersize=4, alpha=0.6)
        if outcome["estimate"] is not None:
            ax.errorbar(outcome["estimate"], y, xerr=[[outcome["estimate"] - outcome["low"]],
                                                      [outcome["high"] - outcome["estimate"]]],
                        fmt="o", color=COLOURS[outcome["verdict"]], markersize=5, capsize=4)  # fmt: skip
        if comparison.published is not None:
            ax.plot(comparison.published, y, "D", color="tab:orange", markersize=6)
    ax.plot([], [], color="black", linestyle="--", label="threshold")
    ax.plot([], [], "o-", color="grey", label="mean, interval")
    if any(comparison.published is not None for comparison in claim.comparisons):
        ax.plot([], [], "D", color="tab:orange", label="the source's number")
    ax.legend(fontsize=7, ncols=3, **BELOW)
    ax.set_yticks(range(len(outcomes))[::-1], names, fontsize=7)
    ax.set_ylim(-0.6, len(outcomes) - 0.4)
    if all(comparison.ratio for comparison in claim.comparisons):
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        if high < 100 * low:                               # 3 and not 3·10⁰, with room between the numbers
            ticks = [m * 10.0**k for k in range(-6, 7) for m in (1, 2, 3, 5)]
            ax.set_xticks([tick for tick in ticks if low <= tick <= high])
            ax.minorticks_off()
            ax.xaxis.set_major_formatter(lambda x, place: f"{x:g}")
    ax.grid(axis="x", alpha=0.3)
    ax.set_title("difference or ratio, for each comparison", fontsize=9)
