"""The tables of `minicnn compare` with a flag of their own: ILSVRC, stages, stacks of filters, layers side by side."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minicnn.cli import console
from minicnn.cli.model_name import Named, find, parse_shape
from minicnn.cli.summary import measured


def ilsvrc(as_json: bool) -> None:
    """The results of the challenge, with the depth that is counted from the net."""
    from minicnn.inspect.ilsvrc import results

    rows: list[dict[str, Any]] = [{**asdict(r), "depth": _depth(r.model) if r.model else None} for r in results()]
    if as_json:
        return console.print_json(rows)
    table = console.table("year", "entry", ">depth", "nets", ">top-5 error, %", "measured on", ">place", "source")
    for r in rows:
        nets = "human" if r["human"] else {0: "·", 1: "single"}.get(r["nets"], f"ensemble of {r['nets']}")
        table.add_row(str(r["year"]), r["entry"] + " (extra images)" * r["extra"], str(r["depth"] or "·"), nets,
                      f"{r['error']:.2f}".removesuffix("0"), r["on"], str(r["place"] or "·"), r["where"])  # fmt: skip
    console.show(table, ("source", "measured on", "nets"))
    console.say("\nErrors are from the literature, not measured here. The depth is counted from minicnn's nets: "
                "layers with weights on the longest way. An ensemble averages several nets, so compare single nets "
                "with single nets.")  # fmt: skip
    return None


@functools.cache
def _depth(model: str) -> int:
    from minicnn.inspect.main_path import main_path

    found = find(model)
    return main_path(found.net, found.shape).depth


def stages(nets: Sequence[Named], as_json: bool) -> None:
    """Each net's work by the size of its maps."""
    from minicnn.inspect.stages import stages as by_size

    rows = []
    for found in nets:
        report = measured(found)
        total = report.totals["macs"]
        rows += [{"model": found.name, **asdict(s), "share": s.macs / total if total else 0.0} for s in by_size(report)]
    if as_json:
        return console.print_json(rows)
    table = console.table("model", "maps", ">layers", ">channels", ">parameters", ">MACs", ">share", ">MACs of a layer")
    before = None
    for r in rows:
        size = "×".join(map(str, r["size"])) if r["size"] else "linear"
        table.add_row(console.escape(r["model"]) if r["model"] != before else "", size, str(r["layers"]),
                      f"{r['channels']:,}", f"{r['parameters']:,}", f"{r['macs']:,}", f"{100 * r['share']:.1f} %",
                      f"{r['typical_macs']:,}" if r["typical_macs"] else "·")  # fmt: skip
        before = r["model"]
    console.show(table, ("channels", "parameters", "layers"))
    console.say("\nA stage has the layers whose outputs have one size; `layers` have weights. `MACs of a layer` is the "
                "most frequent number among its filters larger than 1×1: where it stays the same from stage to stage, "
                "the channels grow as fast as the maps shrink.")  # fmt: skip
    return None


def stacks(input_size: str, as_json: bool) -> None:
    """Small filters against one large filter with the same receptive field."""
    from minicnn.inspect.stages import stacks as pairs

    shape = parse_shape(input_size) if input_size else (64, 56, 56)
    rows = [{**asdict(s), "relus": s.count, "ratio": s.parameters / small.parameters}
            for large, small in pairs(shape) for s in (large, small)]  # fmt: skip
    if as_json:
        return console.print_json(rows)
    table = console.table("filters", ">field", ">ReLUs", ">parameters", ">MACs", ">ratio")
    for r in rows:
        table.add_row(f"{r['count']} of {r['kernel']}×{r['kernel']}", str(r["field"]), str(r["relus"]),
                      f"{r['parameters']:,}", f"{r['macs']:,}", f"{r['ratio']:.3f}")  # fmt: skip
    console.show(table)
    C = shape[0]
    console.say(f"\n{C} channels in and out of every filter, without biases, on maps of {shape[1]}×{shape[2]}. "
                "`ratio`: parameters against those of the 3×3 filters with the same receptive field.")  # fmt: skip
    return None


def side_by_side(nets: Sequence[Named], out: Path | None, as_json: bool) -> None:
    """The layers of nets in columns, maps of one size in one row."""
    from minicnn.inspect import net_columns
    from minicnn.inspect.main_path import main_path

    paths = [main_path(found.net, found.shape) for found in nets]
    totals = [measured(found).totals for found in nets]
    empty = next((found.name for found, path in zip(nets, paths) if not any(s.kind == "conv" for s in path.steps)), "")
    if empty:
        raise ValueError(f"{empty} has no convolution on its way from the image to the scores, so it has no column")
    missing = ""
    if out:
        captions = [f"{p.depth} layers · {t['macs'] / 1e9:.1f}·10⁹ MACs" for p, t in zip(paths, totals)]
        try:
            net_columns.draw([found.name for found in nets], paths, captions, out)
        except ModuleNotFoundError as problem:
            missing = f"no picture: {problem}"
    if as_json:
        return console.print_json([
            {"model": found.name, "depth": path.depth, "parameters": t["parameters"], "macs": t["macs"],
             "steps": [asdict(s) for s in path.steps], "shortcuts": [asdict(s) for s in path.shortcuts]}
            for found, path, t in zip(nets, paths, totals)])  # fmt: skip
    table = console.table("maps", *(console.escape(found.name) for found in nets))
    for size, cells in net_columns.text_rows(paths):
        table.add_row(size, *cells)
    table.add_row("", *[""] * len(nets))
    for name, cells in (("depth", [str(p.depth) for p in paths]),
                        ("parameters", [f"{t['parameters']:,}" for t in totals]),
                        ("MACs", [f"{t['macs']:,}" for t in totals])):  # fmt: skip
        table.add_row(name, *cells)
    console.show(table)
    if out:
        console.say(missing or f"picture: {out}", markup=False)
    return None
