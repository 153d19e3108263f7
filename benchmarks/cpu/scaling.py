"""How the cost grows with images, pixels, channels and threads. Exponents are fitted, log against log.

    python -m benchmarks.cpu.scaling

A convolution's exact work grows with N¹, with side², and with channels² (in and out together). A smaller exponent means
that small cases have a fixed cost, a larger one that large cases do not fit into a cache.
"""

from operator import attrgetter
from statistics import geometric_mean

from benchmarks import harness
from minicnn.bench import machine
from minicnn.bench.conv import POLICY, WHAT
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import exponent

SIZES = {"batch": (1, 2, 4, 8, 16, 32, 64, 128, 256), "side": (14, 28, 56, 112, 224),
         "channels": (16, 32, 64, 128, 256)}  # fmt: skip
EXPECTED = {"batch": 1, "side": 2, "channels": 2}
"""The exponents of the exact work."""


def family(axis: str, size: int) -> ConvCase:
    """A 3×3 convolution of 64 channels on 28×28 pixels (batch), 4 images (side) or 8 (channels), one extent changed."""
    N, C, H = {"batch": (size, 64, 28), "side": (4, 64, size), "channels": (8, size, 28)}[axis]
    return ConvCase(f"{axis} {size}", (N, C, H, H), C, padding=(1, 1))


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.scaling", __doc__, argv)
    with harness.Workers.on_cpu(args) as workers:
        about = [workers["minicnn"].ask("about") | {"name": "minicnn"}]
        axes = {axis: grow(axis, sizes, workers, args) for axis, sizes in SIZES.items()}
    harness.write(args, about, axes=axes, threads=speed_up(args))


def grow(axis: str, sizes: tuple[int, ...], workers: harness.Workers, args) -> dict:
    """The times of one family, and the exponents fitted to them."""
    rows = []
    for size in sizes:
        case = family(axis, size)
        times = clock(case, workers, ["minicnn"], args)["minicnn"]
        rows.append({"size": size, "label": case.label, "macs": case.macs, "times": times})
    fitted = {what: exponent(sizes, [row["times"][what]["median"] for row in rows]) for what in WHAT}
    print(f"{axis:10}" + "  ".join(f"{what} grows as size^{p:.2f}" for what, p in fitted.items()) +
          f"   (the work: {EXPECTED[axis]})", flush=True)
    found = {"rows": rows, "exponents": fitted, "work": EXPECTED[axis]}
    if axis == "batch":
        each = {row["size"]: {what: row["times"][what]["median"] / row["size"] for what in WHAT} for row in rows}
        small, large = 8 if 8 in each else min(each), max(each)
        found["per_image"] = {"from": small, "to": large,
                              "ratio": {what: each[large][what] / each[small][what] for what in WHAT}}
    return found


def speed_up(args) -> dict:
    """The suite on 1, 2, 4, … threads, up to the number of cores; each count has its own process."""
    most = args.threads or machine.describe()["cores"]
    counts = sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})
    names, rows = list(map(str, counts)), []
    start = {str(n): lambda n=n: harness.minicnn(n, str(n)) for n in counts}
    with harness.Workers(start) as workers:
        for case in harness.selected(SUITE, args.cases, attrgetter("name")):
            times = clock(case, workers, names, args)
            gain = {n: {what: times["1"][what]["median"] / times[n][what]["median"] for what in WHAT} for n in names}
            rows.append({"name": case.name, "label": case.label, "times": times, "speed_up": gain})
            print(f"{case.name:20}" + "".join(
                f"  {n} threads ×{gain[n]['forward']:.2f} ×{gain[n]['dx']:.2f} ×{gain[n]['dw']:.2f}"
                for n in names if n != "1"), flush=True)
    means = {n: {what: geometric_mean([row["speed_up"][n][what] for row in rows]) for what in WHAT} for n in names}
    return {"counts": counts, "cases": rows, "geometric_mean": means}


def clock(case: ConvCase, workers: harness.Workers, names: list[str], args) -> dict:
    """{name of a process: {"forward": spread, "dx": …, "dw": …}} for the policy's choice."""
    spec = {"kind": "conv", "case": case.as_dict(), "algorithms": [], "whole": False}
    times = workers.measure(case.name, dict.fromkeys(names, spec), args)[1]
    return {name: {what: times[name][f"{POLICY}/{what}"] for what in WHAT} for name in names}


if __name__ == "__main__":
    main()
