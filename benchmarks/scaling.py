"""How the cost grows: with images, pixels, channels and threads. Exponents are fitted, log against log.

    python -m benchmarks.scaling

A convolution's exact work grows with N¹, with side², and with channels² (in and out together). Less than that means
that small cases pay for something else; more, that large ones fall out of a cache.
"""

from __future__ import annotations

import sys

from benchmarks import harness
from benchmarks.conv import must_be_right
from minicnn.bench import machine
from minicnn.bench.conv import POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import exponent, geometric_mean

BATCHES, SIDES, CHANNELS = (1, 2, 4, 8, 16, 32, 64, 128, 256), (14, 28, 56, 112, 224), (16, 32, 64, 128, 256)


def family(axis: str, size: int) -> ConvCase:
    """A 3×3 convolution of 64 channels on 28×28 pixels (batch), of 8 images (side, channels), one extent changed."""
    N, C, H = {"batch": (size, 64, 28), "side": (4, 64, size), "channels": (8, size, 28)}[axis]
    return ConvCase(f"{axis} {size}", (N, C, H, H), C, padding=(1, 1))


EXPECTED = {"batch": 1, "side": 2, "channels": 2}
"""The exponents of the exact work."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("--largest", type=int, default=256, help="leave out sizes above this one")
    args = parser.parse_args(argv)
    with harness.ours(args.threads) as ours:
        about = [ours.ask("about") | {"name": ours.name}]
        axes = {}
        for axis, sizes in (("batch", BATCHES), ("side", SIDES), ("channels", CHANNELS)):
            axes[axis] = grow(axis, [size for size in sizes if size <= args.largest], ours, args)
    threads = speed_up(args)
    harness.write("scaling", args, argv, about, axes=axes, threads=threads)


def grow(axis: str, sizes: list[int], ours: harness.Competitor, args) -> dict:
    """The times of one family, and the exponents fitted to them."""
    rows = []
    for size in sizes:
        times = clock(family(axis, size), [ours], args)[ours.name]
        rows.append({"size": size, "label": family(axis, size).label, "macs": family(axis, size).macs, "times": times})
    fitted = {what: exponent(sizes, [row["times"][what]["median"] for row in rows]) for what in WHAT}
    print(f"{axis:10}" + "  ".join(f"{what} grows as size^{p:.2f}" for what, p in fitted.items()) +
          f"   (the work: {EXPECTED[axis]})", flush=True)
    found = {"rows": rows, "exponents": fitted, "work": EXPECTED[axis]}
    if axis == "batch":
        at = {row["size"]: row["times"] for row in rows}
        small, large = (8, max(at)) if 8 in at else (min(at), max(at))
        found["per_image"] = {"from": small, "to": large, "ratio": {
            what: at[large][what]["median"] / large / (at[small][what]["median"] / small) for what in WHAT}}
    return found


def speed_up(args) -> dict:
    """The suite by 1, 2, 4, … threads, up to the cores that there are; each count a process of its own."""
    most = args.threads or machine.describe()["cores"]
    counts = sorted({1, most, *(2**i for i in range(1, most.bit_length()) if 2**i <= most)})
    teams = [harness.ours(count, str(count)) for count in counts]
    rows = []
    try:
        for i in harness.selected([case.name for case in SUITE], args.cases):
            times = clock(SUITE[i], teams, args)
            gain = {str(count): {what: times["1"][what]["median"] / times[str(count)][what]["median"] for what in WHAT}
                    for count in counts}  # fmt: skip
            rows.append({"name": SUITE[i].name, "label": SUITE[i].label, "times": times, "speed_up": gain})
            print(f"{SUITE[i].name:20}" + "".join(
                f"  {n} threads ×{gain[n]['forward']:.2f} ×{gain[n]['dx']:.2f} ×{gain[n]['dw']:.2f}" for n in gain
                if n != "1"), flush=True)
    finally:
        for team in teams:
            team.close()
    means = {str(count): {what: geometric_mean([row["speed_up"][str(count)][what] for row in rows]) for what in WHAT}
             for count in counts}  # fmt: skip
    return {"counts": counts, "cases": rows, "geometric_mean": means}


def clock(case: ConvCase, teams: list[harness.Competitor], args) -> dict:
    """{competitor: {"forward": spread, "dx": …, "dw": …}} for the policy's choice."""
    for team in teams:
        must_be_right(case, team.ask("prepare", kind="conv", spec={"case": case.as_dict(), "algorithms": []}))
    taken = harness.race({team: [f"{POLICY}/{what}" for what in WHAT] for team in teams}, args.rounds, args.seconds,
                         args.pause)
    for team in teams:
        team.ask("drop")
    return {name: {call.split("/")[1]: spread for call, spread in harness.spreads(calls).items()}
            for name, calls in taken.items()}  # fmt: skip


if __name__ == "__main__":
    main()
