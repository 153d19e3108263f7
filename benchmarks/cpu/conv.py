"""Convolutions: every algorithm on the suite, forward, dx and dw; errors, memory, share of the machine's GEMM rate.

    python -m benchmarks.cpu.conv                               every algorithm of each path
    python -m benchmarks.cpu.conv --peers torch,textbook        compared with PyTorch, and with im2col
    python -m benchmarks.cpu.conv --cases depthwise,lenet       some cases
"""

from operator import attrgetter

from benchmarks import harness, ratios
from minicnn.bench.conv import BOTH, POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase

ABLE = ("compiled", "numpy", "textbook", "torch")


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.conv", __doc__, argv)
    cases = harness.selected(SUITE, args.cases, attrgetter("name"))
    with harness.Workers.on_cpu(args, *ABLE) as workers:
        rates = machine_rates(workers, args)
        rows = [measure(case, workers, args) for case in cases]
        rates = {k: max(v, machine_rates(workers, args)[k]) for k, v in rates.items()}
        about = workers.about()
    for row in rows:
        for of in row["paths"].values():
            for found in of["algorithms"].values():
                for what in WHAT:
                    found[what]["flops"] = 2 * row["macs"] / found[what]["median"]
                    found[what]["of_gemm"] = found[what]["flops"] / rates["gemm_flops"]
    harness.write(args, about, rates=rates, cases=rows, summary=ratios.summary_of(rows), left_out=workers.problems)


def machine_rates(workers: harness.Workers, args) -> dict:
    """The rates of matrix products and of copies, measured now."""
    answer = workers[args.path[0]].ask("prepare", spec={"kind": "rates", "small": args.seconds < 0.01})
    return {k: answer[k] for k in ("gemm_flops", "copy_bytes")}


def measure(case: ConvCase, workers: harness.Workers, args) -> dict:
    """One case."""
    spec = {"kind": "conv", "case": case.as_dict()}
    answers, times = workers.measure(case.name, {**dict.fromkeys(args.path, spec), "torch": spec,
                                                 "textbook": {**spec, "kind": "textbook"}}, args)
    paths = [name for name in args.path if name in times]
    found = {name: facts(case, answers[name], times[name]) for name in paths}
    row = {**{k: v for k, v in found[paths[0]].items() if k not in ("policy", "algorithms")},
           "intensity": case.intensity,
           "paths": {name: {k: of[k] for k in ("policy", "algorithms")} for name, of in found.items()}}  # fmt: skip
    peers = {}
    if "torch" in times:
        peers["torch"] = times["torch"]
        row["torch"] = {k: answers["torch"][k] for k in ("error", "agreement")}
    if "textbook" in times:
        peers["textbook"] = {f"im2col/{what}": spread for what, spread in times["textbook"].items()}
    own = {name: {what: times[name][f"{POLICY}/{what}"] for what in (*WHAT, BOTH)} for name in paths}
    ratios.compare(row, own, peers)
    ratios.show_paths(row)
    return row


def facts(case: ConvCase, known: dict, times: dict) -> dict:
    """What a row says of a convolution on any device. known: the worker's answer; times: {call: spread}"""
    return {"name": case.name, "label": case.label, **case.as_dict(), "macs": case.macs, "bytes": case.bytes(),
            "policy": known["policy"],
            "algorithms": {name: {what: {**times[f"{name}/{what}"], **of[what]} for what in WHAT}
                           for name, of in known["algorithms"].items()}}  # fmt: skip


if __name__ == "__main__":
    main()
