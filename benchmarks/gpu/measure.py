"""The GPU: convolutions and whole nets, compared with the CPU and with PyTorch's cuDNN; transfers.

    python -m benchmarks.gpu.measure --peers torch          everything
    python -m benchmarks.gpu.measure --only conv --cases depthwise

The GPU's own events time it. A case that fails is recorded, and the next one starts; none starts after --limit seconds.
PyTorch is measured with TF32 off (fp32) and on (tf32), in both memory layouts.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import takewhile
from operator import attrgetter

from benchmarks import harness, ratios
from benchmarks.cpu.conv import facts
from benchmarks.cpu.scaling import family
from minicnn.bench.conv import BOTH, POLICY, TF32, WHAT
from minicnn.bench.suite import SUITE, ConvCase

PRECISIONS = {"fp32": POLICY, "tf32": TF32}
NETS = {"lenet5": (None, 128), "resnet20": (None, 128), "vgg11_cifar": (None, 64), "mobilenet_v1": (None, 16),
        "squeezenet1_1": (None, 8), "alexnet": (None, 16), "resnet50": ({}, 32)}  # fmt: skip
"""name: (options of the zoo's net, or None for the net of minicnn.bench.model; images in a training step)"""
SIDES = (4, 8, 16, 32, 64, 128, 256)
"""Image sizes of the convolution that shows where the GPU becomes faster."""
BYTES = tuple(4**k for k in range(6, 15))
"""Sizes of the transfers: 4 KiB to 256 MiB."""
TINY = (ConvCase("tiny", (1, 4, 6, 6), 4, padding=(1, 1)), ConvCase("tiny depthwise", (2, 3, 5, 5), 3, groups=3))


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("gpu.measure", __doc__, argv, {
        "--only": {"nargs": "+", "choices": list(SECTIONS), "help": "some of the sections"},
        "--cpu-threads": {"type": int, "default": 0, "help": "threads of the CPU in the comparison; 0: one per core"},
        "--limit": {"type": float, "default": 600, "help": "no case starts after this many seconds"},
        "--tiny": {"action": "store_true", "help": "small cases, to try everything out"},
        "--device": {"default": "cuda:0", "help": "or emulated, to try everything out; needs --out"},
        "--torch-device": {"default": "cuda", "help": "or cpu, to try everything out"},
    }, rounds=3, seconds=0.01, pause=0.02)  # fmt: skip
    if args.device == "emulated" and not args.out:
        sys.exit("error: --device emulated needs --out: benchmarks/results is for real measurements")
    report = Report(args)
    with report.workers as workers:
        for name in list(workers.start):
            if not report.attempt(f"start of {name}", lambda name=name: workers[name].ask("about"), always=True):
                del workers.start[name]                            # the others are measured without it
        if not {"cpu", "gpu"} <= workers.start.keys():
            sys.exit(f"error: {report.problems[0]['problem']}")
        report.about = workers.about()
        for name in args.only or SECTIONS:
            report.collect(name, SECTIONS[name](report))
    if report.problems:
        sys.exit(f"error: {len(report.problems)} of the measurements failed: see \"problems\" in the JSON file")


class Report:
    """The worker processes, and everything measured so far, which goes to disk after each case."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.started = args, time.monotonic()
        self.about, self.sections, self.problems = [], {}, []
        start = {"cpu": lambda: harness.minicnn(args.cpu_threads, "cpu"),
                 "gpu": lambda: harness.minicnn(name="gpu", device=args.device)}  # fmt: skip
        if "torch" in args.peers:
            start["torch"] = lambda: harness.pytorch(args.torch_python, args.torch_device, *PRECISIONS)
        self.workers = harness.Workers(start)

    def attempt(self, what: str, work, always: bool = False):
        """The result of `work`; None, and a recorded problem, if it fails or there is no time left for it."""
        if not always and time.monotonic() - self.started > self.args.limit:
            self.problems.append({"what": what, "problem": f"not started: --limit {self.args.limit:.0f} s is over"})
            return None
        try:
            return work()
        except (Exception, SystemExit) as problem:                 # the harness raises SystemExit
            self.problems.append({"what": what, "problem": str(problem)})
            print(f"{what}: {problem}", file=sys.stderr, flush=True)
            self.workers.close()                                   # a GPU process may be unusable now: start all again
            return None

    def collect(self, section: str, cases: dict) -> None:
        """One row for each case that succeeds; a section of one case is that row. cases: {name: function → row}"""
        rows = self.sections[section] = []
        for name, work in cases.items():
            row = self.attempt(name, work)
            rows += [row] if row else []
            self.sections[section] = row if name == section else rows
            found = {**self.sections, "problems": self.problems, "summary": summary(self.sections)}
            harness.write(self.args, self.about, **found)

    def measure(self, case: str, specs: dict, **settings) -> tuple[dict, dict]:
        """Workers.measure with this program's options."""
        return self.workers.measure(case, specs, self.args, **settings)


def rates(report: Report) -> dict:
    """The highest rates that the GPU reaches."""
    spec = {"kind": "rates", "small": report.args.tiny}
    answers, times = report.measure("rates", {"gpu": spec}, rounds=3, seconds=0.1, pause=0)
    known, taken = answers["gpu"], {call: spread["median"] for call, spread in times["gpu"].items()}
    ratios.show("rates", times["gpu"])
    return {"copy_bytes": known["bytes"] / taken["copy"], "product_flops": known["flops"] / taken["product"],
            "product_tf32_flops": known["flops"] / taken["product, TF32"], "launch": taken["launch"]}


def transfer(report: Report) -> dict:
    """The time of a transfer to the GPU and back, by its size."""
    sizes, ways = BYTES[:2] if report.args.tiny else BYTES, ("to the GPU", "to the host")
    times = report.measure("transfer", {"gpu": {"kind": "transfer", "bytes": sizes}}, rounds=1, pause=0)[1]["gpu"]
    return {way: [{"bytes": size, **times[f"{way}/{size}"]} for size in sizes] for way in ways}


def growth(report: Report) -> dict:
    """One convolution with growing images, including the wait for its result: from which size on is the GPU faster?"""
    def work(side):
        case = replace(family("side", side), input=(1, 16, side, side), filters=16)
        spec = {"kind": "conv", "case": case.as_dict(), "algorithms": [], "whole": False}
        times = report.measure(case.name, {"gpu": {**spec, "kind": "single"}, "cpu": spec})[1]
        ratios.show(case.name, {"CPU": times["cpu"][f"{POLICY}/forward"], **times["gpu"]})
        return {"side": side, "macs": case.macs, "cpu": times["cpu"][f"{POLICY}/forward"], "gpu": times["gpu"]}

    return {f"side {side}": partial(work, side) for side in (SIDES[:2] if report.args.tiny else SIDES)}


def conv(report: Report) -> dict:
    """The convolutions of the suite."""
    cases = TINY if report.args.tiny else SUITE
    chosen = harness.selected(cases, report.args.cases, attrgetter("name"))
    return {case.name: partial(conv_row, case, report) for case in chosen}


def conv_row(case: ConvCase, report: Report) -> dict:
    """One convolution."""
    spec = {"kind": "conv", "case": case.as_dict()}
    answers, times = report.measure(case.name, {"gpu": spec, "torch": spec, "cpu": {**spec, "algorithms": []}})
    gpu, cpu, own = answers["gpu"], times["cpu"], times["gpu"]
    report.problems += [{"what": f"{case.name}, {k}", "problem": problem} for k, problem in gpu["problems"].items()]
    row = {**facts(case, gpu, own), BOTH: {name: own[f"{name}/{BOTH}"] for name in PRECISIONS.values()},
           "cpu": {what: cpu[f"{POLICY}/{what}"] for what in (*WHAT, BOTH)}}  # fmt: skip
    row["vs_cpu"] = {BOTH: row["cpu"][BOTH]["median"] / row[BOTH][POLICY]["median"]}
    if "torch" in times:
        row["torch"] = {"times": times["torch"], "error": answers["torch"]["error"]}
        ratios.versus(row, {f"{what}, {p}": own[f"{name}/{what}"] for p, name in PRECISIONS.items()
                             for what in ("forward", BOTH)}, times["torch"])  # fmt: skip
    ratios.show(f"{case.name}, {gpu['policy']}", {what: own[f"{POLICY}/{what}"] for what in (*WHAT, BOTH)})
    return row


def nets(report: Report) -> dict:
    """Whole nets."""
    names = harness.selected(NETS, report.args.cases if report.args.only else "")
    names = ["lenet5"] if report.args.tiny else names
    return {name: partial(net_row, name, report) for name in names}


def net_row(name: str, report: Report) -> dict:
    """One net."""
    options, batch = NETS[name]
    batch, infer = (2, [1, 2]) if report.args.tiny else (batch, [1, 32])
    spec = {"kind": "net", "name": name, "options": options, "batch": batch, "infer": infer, "images": max(infer)}
    answers, times = report.measure(name, {"gpu": spec, "torch": spec})
    cpu = report.measure(name, {"cpu": spec}, rounds=1, seconds=0.001)[1]["cpu"]        # a call takes seconds
    gpu, own, calls = answers["gpu"], times["gpu"], ["step", *(f"infer {count}" for count in infer)]
    row = {"name": name, **{k: gpu[k] for k in ("batch", "shape", "parameters")}, "gpu_bytes": gpu["bytes"],
           "to_gpu": own["batch to the GPU"], "cpu": cpu,
           "times": {what: {"fp32": own[what], "tf32": own[f"{what}, TF32"]} for what in calls}}  # fmt: skip
    row["vs_cpu"] = {what: cpu[what]["median"] / own[what]["median"] for what in calls}
    if "torch" in times:
        row["torch"] = {"times": times["torch"], "logits": answers["torch"]["logits"]}
        ratios.versus(row, {f"{what}, {p}": row["times"][what][p] for p in PRECISIONS for what in calls},
                       times["torch"])
    ratios.show(name, {what: own[what] for what in calls})
    return row


SECTIONS = {"rates": lambda report: {"rates": partial(rates, report)},
            "transfer": lambda report: {"transfer": partial(transfer, report)},
            "growth": growth, "nets": nets, "conv": conv}  # fmt: skip
"""name: function(report) → its cases, {name: function → row}"""


def summary(sections: dict) -> dict:
    """{what was compared: its mean ratio} over the convolutions and over the nets."""
    return {f"{title}, {what}, against {whom}": of
            for section, title in (("conv", "convolutions"), ("nets", "nets"))
            for key, whom in (("vs_cpu", "the CPU"), ("vs_torch", "PyTorch"))
            for what, of in ratios.summary(sections.get(section, []), key).get(key, {}).items()}  # fmt: skip


def crossing(rows: list[dict], way: str) -> int | None:
    """The smallest side from which on the GPU is always faster; None if there is none."""
    largest_first = sorted(rows, key=lambda row: -row["side"])
    wins = takewhile(lambda row: row["gpu"][way]["median"] <= row["cpu"]["median"], largest_first)
    return min((row["side"] for row in wins), default=None)


if __name__ == "__main__":
    main()
