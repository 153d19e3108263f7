"""Convolutions: every algorithm on the suite, forward, dx and dw; errors, memory, share of the machine's GEMM rate.

    python -m benchmarks.cpu.conv                               every algorithm
    python -m benchmarks.cpu.conv --vs torch --vs textbook      compared with PyTorch, and with im2col
    python -m benchmarks.cpu.conv --cases depthwise,lenet       some cases
"""

from operator import attrgetter

from benchmarks import harness
from minicnn.bench.conv import BOTH, POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.conv", __doc__, argv)
    cases = harness.selected(SUITE, args.cases, attrgetter("name"))
    with harness.Workers.on_cpu(args) as workers:
        rates = machine_rates(workers, args)
        rows = [measure(case, workers, args, rates["gemm_flops"]) for case in cases]
        rates = {k: max(v, machine_rates(workers, args)[k]) for k, v in rates.items()}
        about = workers.about()
    for row in rows:
        finish(row, rates["gemm_flops"])
    harness.write(args, about, rates=rates, cases=rows,
                  summary=harness.summary(rows, "vs_torch", "vs_default", "vs_textbook"))


def machine_rates(workers: harness.Workers, args) -> dict:
    """The rates of matrix products and of copies, measured now."""
    answer = workers["minicnn"].ask("prepare", spec={"kind": "rates", "small": args.seconds < 0.01})
    return {k: answer[k] for k in ("gemm_flops", "copy_bytes")}


def measure(case: ConvCase, workers: harness.Workers, args, gemm: float) -> dict:
    """One case."""
    spec = {"kind": "conv", "case": case.as_dict()}
    answers, times = workers.measure(case.name, {"minicnn": spec, "torch": spec,
                                                 "textbook": {**spec, "kind": "textbook"}}, args)
    both = times["minicnn"][f"{POLICY}/{BOTH}"]
    row = {**facts(case, answers["minicnn"], times["minicnn"]), "intensity": case.intensity, BOTH: both}
    if "torch" in times:
        row["torch"] = {"times": times["torch"], **{k: answers["torch"][k] for k in ("error", "agreement")}}
    if "textbook" in times:
        row["textbook"] = times["textbook"]
    finish(row, gemm)
    own = row["algorithms"][POLICY]
    share = f"  {100 * own['forward']['of_gemm']:.0f} % of GEMM"
    harness.show(case.name, {**own, BOTH: both}, row.get("vs_torch"), share)
    return row


def facts(case: ConvCase, known: dict, times: dict) -> dict:
    """What a row says of a convolution on any device. known: the worker's answer; times: {call: spread}"""
    return {"name": case.name, "label": case.label, **case.as_dict(), "macs": case.macs, "bytes": case.bytes(),
            "policy": known["policy"],
            "algorithms": {name: {what: {**times[f"{name}/{what}"], **of[what]} for what in WHAT}
                           for name, of in known["algorithms"].items()}}  # fmt: skip


def finish(row: dict, gemm: float) -> None:
    """Add FLOP/s, their share of the GEMM rate, and the ratios of times."""
    for of in row["algorithms"].values():
        for what in WHAT:
            of[what]["flops"] = 2 * row["macs"] / of[what]["median"]
            of[what]["of_gemm"] = of[what]["flops"] / gemm
    own = {what: spread["median"] for what, spread in {**row["algorithms"][POLICY], BOTH: row[BOTH]}.items()}
    if "torch" in row:
        times = row["torch"]["times"]
        harness.versus(row, {"forward": row["algorithms"][POLICY]["forward"], BOTH: row[BOTH]}, times)
        row["vs_default"] = {what: times[f"contiguous/{what}"]["median"] / own[what] for what in ("forward", BOTH)}
    if "textbook" in row:
        book = {what: row["textbook"][what]["median"] for what in WHAT}
        row["vs_textbook"] = {what: book[what] / own[what] for what in WHAT}
        row["vs_textbook"][BOTH] = sum(book.values()) / sum(own[what] for what in WHAT)


if __name__ == "__main__":
    main()
