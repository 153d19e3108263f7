"""Convolutions: every algorithm on the suite, forward, dx and dw; errors, memory, share of the machine's GEMM rate.

    python -m benchmarks.conv                               every algorithm
    python -m benchmarks.conv --vs torch --vs textbook      beside PyTorch, and beside im2col
    python -m benchmarks.conv --cases depthwise,lenet       some cases
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace

from benchmarks import harness
from minicnn.bench.conv import POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import geometric_mean

LAYOUTS = ("contiguous", "channels_last")
BOTH = "forward+backward"


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("--algorithms", default="all", help='"all", "policy" (what is chosen), or names with commas')
    parser.add_argument("--batch", type=int, default=0, help="N of every case; by default its own")
    args = parser.parse_args(argv)
    cases = [SUITE[i] for i in harness.selected([case.name for case in SUITE], args.cases)]
    if args.batch:
        cases = [replace(case, input=(args.batch, *case.input[1:])) for case in cases]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(harness.ours(args.threads))
        others = {}
        if "torch" in args.vs:
            others["torch"] = stack.enter_context(harness.pytorch(args.torch_python, args.threads))
        if "textbook" in args.vs:
            others["textbook"] = stack.enter_context(harness.ours(args.threads, "textbook"))
        about = [c.ask("about") | {"name": c.name} for c in (ours, *others.values())]
        rates = machine_rates(ours, args)
        rows = [measure(case, ours, others, args, rates) for case in cases]
        rates = {k: max(v, machine_rates(ours, args)[k]) for k, v in rates.items()}
    for row in rows:
        finish(row, rates["gemm_flops"])
    harness.write("conv", args, argv, about, rates=rates, cases=rows, summary=summary(rows))


def machine_rates(ours: harness.Competitor, args) -> dict:
    """What matrix products and copies reach, measured now."""
    answer = ours.ask("prepare", kind="rates", spec={"small": args.seconds < 0.01})
    return {k: answer[k] for k in ("gemm_flops", "copy_bytes")}


def measure(case: ConvCase, ours: harness.Competitor, others: dict[str, harness.Competitor], args, rates) -> dict:
    """One case: first whether it is right, then how long it takes."""
    wanted = {"all": None, "policy": []}.get(args.algorithms, args.algorithms.split(","))
    torch = others.get("torch")
    spec = {"case": case.as_dict(), "algorithms": wanted}
    with harness.shared_file() as path:
        known = ours.ask("prepare", kind="conv", spec={**spec, "share": path if torch else None})
        lanes, theirs = {ours: known["calls"]}, None
        if torch:
            theirs = torch.ask("prepare", kind="conv", spec={**spec, "compare": path})
            lanes[torch] = theirs["calls"]
        if book := others.get("textbook"):
            lanes[book] = book.ask("prepare", kind="textbook", spec=spec)["calls"]
    must_be_right(case, known, theirs)
    taken = harness.race(lanes, args.rounds, args.seconds, args.pause)
    for competitor in lanes:
        competitor.ask("drop")
    times = harness.spreads(taken[ours.name])
    algorithms = {name: {what: {**times[f"{name}/{what}"], **of[what]} for what in WHAT}
                  for name, of in known["algorithms"].items()}  # fmt: skip
    row = {"name": case.name, "label": case.label, **case.as_dict(), "macs": case.macs, "bytes": case.bytes(),
           "intensity": case.intensity, "policy": known["policy"], "algorithms": algorithms,
           BOTH: times[BOTH]}  # fmt: skip
    if theirs:
        spread = harness.spreads(taken[torch.name])
        row["torch"] = {"times": spread, "error": theirs["error"], "agreement": theirs["agreement"],
                        "better": {what: harness.better(spread, what) for what in ("forward", BOTH)}}  # fmt: skip
    if book:
        row["textbook"] = harness.spreads(taken[book.name])
    print(line(row, rates["gemm_flops"]), flush=True)
    return row


def must_be_right(case: ConvCase, known: dict, theirs: dict | None = None, tolerance: float = 1e-3) -> None:
    """Stop before a wrong result is timed."""
    errors = {f"{name} {what}": of[what]["error"] for name, of in known["algorithms"].items() for what in WHAT}
    if theirs:
        errors |= {f"against torch's float64, {what}": error for what, error in theirs["agreement"].items()}
    for what, error in errors.items():
        if not error <= tolerance:
            raise SystemExit(f"error: {case.name}, {what}: error {error:.1e} is above {tolerance:.0e}: "
                             "what is wrong is not timed")


def finish(row: dict, gemm: float) -> None:
    """Add what follows from the times: FLOP/s, their share of the GEMM rate, ratios."""
    flops = 2 * row["macs"]
    for of in row["algorithms"].values():
        for what in WHAT:
            of[what]["flops"] = flops / of[what]["median"]
            of[what]["of_gemm"] = of[what]["flops"] / gemm
    mine = row["algorithms"][POLICY]
    if "torch" in row:
        better = row["torch"]["better"]
        own = {"forward": mine["forward"]["median"], BOTH: row[BOTH]["median"]}
        row["vs_torch"] = {what: better[what][1] / own[what] for what in own}
        row["vs_default"] = {what: row["torch"]["times"][f"contiguous/{what}"]["median"] / own[what] for what in own}
    if "textbook" in row:
        row["vs_textbook"] = {what: row["textbook"][what]["median"] / mine[what]["median"] for what in WHAT}
        whole = [sum(of[what]["median"] for what in WHAT) for of in (row["textbook"], mine)]
        row["vs_textbook"][BOTH] = whole[0] / whole[1]


def summary(rows: list[dict]) -> dict:
    """Geometric means over the cases; above 1 minicnn is the faster one."""
    found: dict = {}
    for key in ("vs_torch", "vs_default", "vs_textbook"):
        for what in sorted({what for row in rows for what in row.get(key, {})}):
            ratios = [row[key][what] for row in rows if key in row]
            found.setdefault(key, {})[what] = {"geometric_mean": geometric_mean(ratios), "worst": min(ratios),
                                               "best": max(ratios), "cases": len(ratios),
                                               "faster": sum(r >= 1 for r in ratios)}  # fmt: skip
    return found


def line(row: dict, gemm: float) -> str:
    """One case, for somebody who watches."""
    mine = row["algorithms"][POLICY]
    text = f"{row['name']:20}" + "".join(f" {what} {harness.milliseconds(mine[what]['median'])}" for what in WHAT)
    text += f"  {100 * 2 * row['macs'] / mine['forward']['median'] / gemm:4.0f} % of GEMM"
    if "torch" in row:
        for what, (layout, seconds) in row["torch"]["better"].items():
            own = row[BOTH]["median"] if what == BOTH else mine["forward"]["median"]
            text += f"   torch {what} {harness.milliseconds(seconds)} ({layout}), ×{seconds / own:.2f}"
    return text


if __name__ == "__main__":
    main()
