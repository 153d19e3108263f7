"""The GPU: convolutions and whole nets on it, beside two threads of the CPU and beside PyTorch with cuDNN; transfers.

    python -m benchmarks.gpu --vs torch          everything, in about four minutes
    python -m benchmarks.gpu --only conv --cases depthwise

Times on the GPU are taken by its own events. A case that fails is written down and the next one begins; no new one
begins after --limit seconds. PyTorch is measured with TF32 off (fp32) and on (tf32), in both memory layouts.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from benchmarks import harness
from benchmarks.gpu_team import Report, Team
from benchmarks.scaling import family
from minicnn.bench.conv import POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import geometric_mean

BOTH = "forward+backward"
TF32 = "auto, TF32"
PRECISIONS = ("fp32", "tf32")
GPU_NETS = {"resnet50": ({}, 32), "resnet20": (None, 128), "lenet5": (None, 128), "vgg11_cifar": (None, 64),
            "alexnet": (None, 16), "squeezenet1_1": (None, 8), "mobilenet_v1": (None, 16)}  # fmt: skip
"""name: (options of the zoo's net, or None for the net of minicnn.bench.model; images in a step of training)"""
SIDES = (4, 8, 16, 32, 64, 128, 256)
"""Of the images of the convolution that grows until the GPU is the faster one."""
BYTES = tuple(4**k for k in range(6, 15))
"""Of the transfers: 4 KiB to 256 MiB."""
WAYS = ("to the GPU", "to the host")
TINY = (ConvCase("tiny", (1, 4, 6, 6), 4, padding=(1, 1)), ConvCase("tiny depthwise", (2, 3, 5, 5), 3, groups=3))
WRONG = {"fp32": 1e-3, "tf32": 3e-2}
"""Shares of the largest value that no result may be off by."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.set_defaults(rounds=3, seconds=0.02, pause=0.02)
    parser.add_argument("--only", default="", help=f"sections, with commas: {', '.join(MEASURES)}")
    parser.add_argument("--cpu-threads", type=int, default=2, help="of the CPU that the GPU is compared with")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which no new case begins")
    parser.add_argument("--tiny", action="store_true",
                        help="try all of it on small cases; the times mean nothing")
    args = parser.parse_args(argv)
    wanted = list(MEASURES) if not args.only else args.only.split(",")
    for name in wanted:
        if name not in MEASURES:
            sys.exit(f"error: there is no section {name!r}: there are {', '.join(MEASURES)}")
    if os.environ.get("MINICNN_BENCH_DEVICE") and args.out is None:
        sys.exit("error: MINICNN_BENCH_DEVICE is for rehearsals, and benchmarks/results for measurements: say --out")
    team = Team(args)
    report = Report(args, argv, team.close, summary)
    try:
        for name in list(team.makers):
            told = report.attempt(f"start of {name}", lambda name=name: team.get(name).ask("about"), True)
            if told:
                report.about.append(told | {"name": name})
            elif name == "torch":
                team.makers.pop(name)                              # all others go on without it
            else:
                sys.exit(f"error: {report.problems[-1]['problem']}")
        for name in wanted:
            report.sections[name] = MEASURES[name](team, report)
            report.write()
    finally:
        team.close()
    if report.problems:
        sys.exit(f"error: {len(report.problems)} of the measurements failed: see \"problems\" in the JSON file")


# -------------------------------------------------------------------------------------------------------- the sections


def rates(team: Team, report: Report) -> dict | None:
    """What the GPU reaches at best."""
    spec = {"matrix": 64, "copy_bytes": 4096} if report.args.tiny else {"matrix": 8192, "copy_bytes": 2**30}

    def work():
        member = team.get("gpu")
        known = member.ask("prepare", kind="rates", spec=spec)
        taken = clocked({member: known["calls"]}, 3, 0.1, 0)["gpu"]
        found = {"copy_bytes": known["bytes"] / taken["copy"]["median"],
                 "product_flops": known["flops"] / taken["product"]["median"],
                 "product_tf32_flops": known["flops"] / taken["product, TF32"]["median"],
                 "launch": taken["launch"]["median"]}  # fmt: skip
        print(f"copy {found['copy_bytes'] / 1e9:.0f} GB/s, product {found['product_flops'] / 1e12:.1f} TFLOP/s, with "
              f"TF32 {found['product_tf32_flops'] / 1e12:.1f}, launch {1e6 * found['launch']:.1f} µs", flush=True)
        return found

    found = report.attempt("rates", work)
    team.drop()
    return found


def transfer(team: Team, report: Report) -> dict | None:
    """What it costs to bring so many bytes to the GPU and back."""
    sizes = BYTES[:2] if report.args.tiny else BYTES

    def work():
        member = team.get("gpu")
        known = member.ask("prepare", kind="transfer", spec={"bytes": sizes})
        taken = clocked({member: known["calls"]}, 1, report.args.seconds, 0)["gpu"]
        return {way: [{"bytes": size, **taken[f"{way}/{size}"]} for size in sizes] for way in WAYS}

    found = report.attempt("transfer", work)
    team.drop()
    return found


def conv(team: Team, report: Report) -> list[dict]:
    """The convolutions of the suite."""
    rows: list[dict] = []
    cases = TINY if report.args.tiny else SUITE
    for i in harness.selected([case.name for case in cases], report.args.cases):
        report.collect("conv", rows, cases[i].name, lambda case=cases[i]: conv_row(case, team, report), conv_line)
        team.drop()
    return rows


def conv_row(case: ConvCase, team: Team, report: Report) -> dict:
    """One case: what is wrong is not timed."""
    members = team.members("cpu", "gpu", "torch")
    spec = {"case": case.as_dict()}
    with harness.shared_file() as path:
        mine = members["gpu"].ask("prepare", kind="conv", spec={**spec, "share": path if "torch" in members else None})
        lanes = {members["gpu"]: mine["calls"]}
        if "torch" in members:
            theirs = members["torch"].ask("prepare", kind="conv", spec={**spec, "compare": path})
            lanes[members["torch"]] = theirs["calls"]
    host = members["cpu"].ask("prepare", kind="conv", spec={**spec, "algorithms": []})
    lanes[members["cpu"]] = host["calls"]
    for name, problem in mine["failed"].items():
        report.problems.append({"what": f"{case.name}, {name}", "problem": problem})
    right(case.name, {f"{name} {what}": (of[what]["error"], name == TF32)
                      for name, of in mine["algorithms"].items() for what in WHAT})  # fmt: skip
    if "torch" in members:
        right(case.name, {f"against torch's float64, {what}": (e, False) for what, e in theirs["agreement"].items()})
    args = report.args
    taken = clocked(lanes, args.rounds, args.seconds, args.pause)
    row = {"name": case.name, "label": case.label, **case.as_dict(), "macs": case.macs, "bytes": case.bytes(),
           "policy": mine["policy"], BOTH: {name: taken["gpu"][f"{name}/{BOTH}"] for name in (POLICY, TF32)},
           "algorithms": {name: {what: {**taken["gpu"][f"{name}/{what}"], **of[what]} for what in WHAT}
                          for name, of in mine["algorithms"].items()},
           "cpu": {**{what: taken["cpu"][f"{POLICY}/{what}"] for what in WHAT}, BOTH: taken["cpu"][BOTH]}}  # fmt: skip
    row["vs_cpu"] = row["cpu"][BOTH]["median"] / row[BOTH][POLICY]["median"]
    if "torch" in members:
        fastest = better(taken["torch"], ("forward", BOTH))
        row["torch"] = {"times": taken["torch"], "error": theirs["error"], "better": fastest}
        row["vs_torch"] = against(fastest, {
            "fp32": {"forward": row["algorithms"][POLICY]["forward"], BOTH: row[BOTH][POLICY]},
            "tf32": {"forward": row["algorithms"][TF32]["forward"], BOTH: row[BOTH][TF32]}})  # fmt: skip
    return row


def nets(team: Team, report: Report) -> list[dict]:
    """Whole nets."""
    names = [list(GPU_NETS)[i] for i in harness.selected(list(GPU_NETS), report.args.cases if report.args.only else "")]
    rows: list[dict] = []
    for name in ["lenet5"] if report.args.tiny else names:
        report.collect("nets", rows, name, lambda name=name: net_row(name, team, report), net_line)
        team.drop()
    return rows


def net_row(name: str, team: Team, report: Report) -> dict:
    """One net: that all compute the same, then times in turn."""
    members = team.members("cpu", "gpu", "torch")
    options, batch = GPU_NETS[name]
    batch, infer = (2, [1, 2]) if report.args.tiny else (batch, [1, 32])
    spec = {"name": name, "options": options, "batch": batch, "infer": infer, "images": max(infer)}
    with harness.shared_file() as path:
        mine = members["gpu"].ask("prepare", kind="net", spec={**spec, "share": path if "torch" in members else None})
        lanes = {members["gpu"]: mine["calls"]}
        if "torch" in members:
            theirs = members["torch"].ask("prepare", kind="net", spec={**spec, "compare": path})
            lanes[members["torch"]] = theirs["calls"]
    if "torch" in members:
        for layout, off in theirs["logits"].items():
            if not (off <= 1e-3 and theirs["parameters"] == mine["parameters"]):
                raise ValueError(f"{name} ({layout}) is another net in torch_nets.py: logits off by {off:.1e}, "
                                 f"{theirs['parameters']:,} parameters there and {mine['parameters']:,} here")
    args = report.args
    taken = clocked(lanes, args.rounds, args.seconds, args.pause)
    host = members["cpu"].ask("prepare", kind="net", spec=spec)    # seconds a call: once is enough to say how many
    taken |= clocked({members["cpu"]: host["calls"]}, 1, 0.001, args.pause)
    calls = ["step", *(f"infer {count}" for count in infer)]
    row = {"name": name, "batch": mine["batch"], "shape": mine["shape"], "parameters": mine["parameters"],
           "gpu_bytes": mine["bytes"], "to_gpu": taken["gpu"]["batch to the GPU"],
           "times": {what: {"fp32": taken["gpu"][what], "tf32": taken["gpu"][f"{what}, TF32"]} for what in calls},
           "cpu": taken["cpu"]}  # fmt: skip
    row["vs_cpu"] = {what: taken["cpu"][what]["median"] / row["times"][what]["fp32"]["median"] for what in calls}
    if "torch" in members:
        row["torch"] = {"times": taken["torch"], "better": better(taken["torch"], calls), "logits": theirs["logits"]}
        row["vs_torch"] = against(row["torch"]["better"], {p: {what: row["times"][what][p] for what in calls}
                                                           for p in PRECISIONS})  # fmt: skip
    return row


def growth(team: Team, report: Report) -> list[dict]:
    """One convolution of growing images, as somebody waits for it: from which size on is the GPU the faster one?"""
    rows: list[dict] = []
    for side in SIDES[:2] if report.args.tiny else SIDES:
        case = replace(family("side", side), input=(1, 16, side, side), filters=16)

        def work(case=case, side=side):
            members = team.members("cpu", "gpu")
            spec = {"case": case.as_dict(), "algorithms": []}
            members["cpu"].ask("prepare", kind="conv", spec=spec)
            lanes = {members["gpu"]: members["gpu"].ask("prepare", kind="single", spec=spec)["calls"],
                     members["cpu"]: [f"{POLICY}/forward"]}  # fmt: skip
            taken = clocked(lanes, report.args.rounds, report.args.seconds, report.args.pause)
            return {"side": side, "macs": case.macs, "cpu": taken["cpu"][f"{POLICY}/forward"], "gpu": taken["gpu"]}

        report.collect("growth", rows, f"a convolution of side {side}", work, growth_line)
        team.drop()
    return rows


MEASURES = {"rates": rates, "transfer": transfer, "growth": growth, "conv": conv, "nets": nets}


# ------------------------------------------------------------------------------------------------------ what follows


def clocked(lanes: dict[harness.Competitor, list[str]], rounds: int, seconds: float, pause: float) -> dict:
    """{competitor's name: {call: its Spread as a dictionary}}"""
    return {name: harness.spreads(times) for name, times in harness.race(lanes, rounds, seconds, pause).items()}


def right(case: str, errors: dict[str, tuple[float, bool]]) -> None:
    """ValueError if a result is off by more than its precision explains."""
    for what, (error, tf32) in errors.items():
        if not error <= WRONG["tf32" if tf32 else "fp32"]:
            raise ValueError(f"{case}, {what}: error {error:.1e}: what is wrong is not timed")


def better(times: dict, calls) -> dict:
    """{precision: {call: [the faster layout, its median]}} of {"fp32 contiguous/forward": spread}."""
    found: dict = {}
    for precision in PRECISIONS:
        own = {name.removeprefix(f"{precision} "): t for name, t in times.items() if name.startswith(precision)}
        found[precision] = {call: list(harness.better(own, call)) for call in calls}
    return found


def against(theirs: dict, mine: dict) -> dict:
    """{precision: {call: PyTorch's time / ours}}"""
    return {p: {call: theirs[p][call][1] / t["median"] for call, t in calls.items()} for p, calls in mine.items()}


def summary(sections: dict) -> dict:
    """Geometric means over the cases; above 1 our GPU path is the faster one."""
    found: dict = {}
    rows = sections.get("conv") or []
    for precision in PRECISIONS:
        for what in ("forward", BOTH):
            ratios = [row["vs_torch"][precision][what] for row in rows if "vs_torch" in row]
            if ratios:
                found[f"convolutions, {what}, {precision}, against PyTorch"] = spread_of(ratios)
        ratios = [row["vs_torch"][precision]["step"] for row in sections.get("nets") or [] if "vs_torch" in row]
        if ratios:
            found[f"training steps, {precision}, against PyTorch"] = spread_of(ratios)
    if rows:
        found[f"convolutions, {BOTH}, against the CPU"] = spread_of([row["vs_cpu"] for row in rows])
    if sections.get("nets"):
        found["training steps, against the CPU"] = spread_of([row["vs_cpu"]["step"] for row in sections["nets"]])
    return found


def spread_of(ratios: list[float]) -> dict:
    """What a list of ratios comes to."""
    return {"geometric_mean": geometric_mean(ratios), "worst": min(ratios), "best": max(ratios), "cases": len(ratios),
            "faster": sum(r >= 1 for r in ratios)}  # fmt: skip


def crossing(rows: list[dict], way: str) -> int | None:
    """The smallest side from which on the GPU is always the faster one; None if it never is."""
    found = None
    for row in sorted(rows, key=lambda row: -row["side"]):
        if row["gpu"][way]["median"] > row["cpu"]["median"]:
            break
        found = row["side"]
    return found


def conv_line(row: dict) -> str:
    """One convolution, for somebody who watches."""
    text = f"{row['name']:20} {row['policy']:13}"
    for what in WHAT:
        text += f" {what} {1e6 * row['algorithms'][POLICY][what]['median']:8.1f} µs"
    text += f"   ×{row['vs_cpu']:.0f} the CPU"
    for precision, of in row.get("vs_torch", {}).items():
        text += f"   {precision}: forward ×{of['forward']:.2f}, all ×{of[BOTH]:.2f} PyTorch"
    return text


def growth_line(row: dict) -> str:
    """One size, for somebody who watches."""
    times = {"CPU": row["cpu"], **{f"GPU, {way}": of for way, of in row["gpu"].items()}}
    return f"side {row['side']:4}" + "".join(f"   {who} {1e6 * of['median']:.0f} µs" for who, of in times.items())


def net_line(row: dict) -> str:
    """One net, for somebody who watches."""
    text = f"{row['name']:14}"
    for what, of in row["times"].items():
        text += f" {what} {1000 * of['fp32']['median']:8.2f} ms (×{row['vs_cpu'][what]:.0f} the CPU"
        text += "".join(f", {p} ×{v[what]:.2f} PyTorch" for p, v in row.get("vs_torch", {}).items()) + ")"
    return text


if __name__ == "__main__":
    main()
