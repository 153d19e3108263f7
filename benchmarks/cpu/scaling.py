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
    with harness.Workers.on_cpu(args, "compiled", "numpy") as workers:
        about = workers.about()
        axes = {axis: grow(axis, sizes, workers, args) for axis, sizes in SIZES.items()}
    harness.write(args, about, axes=axes, threads=speed_up(args))


def grow(axis: str, sizes: tuple[int, ...], workers: harness.Workers, args) -> dict:
    """The times of one family by each path, and the exponents fitted to them."""
    rows, paths = [], list(workers.start)
    for size in sizes:
        case = family(axis, size)
        rows.append({"size": size, "label": case.label, "macs": case.macs, "times": clock(case, workers, paths, args)})
    found: dict = {"rows": rows, "work": EXPECTED[axis], "exponents": {}, "per_image": {}}
    for path in paths:
        times = {what: [row["times"][path][what]["median"] for row in rows] for what in WHAT}
        found["exponents"][path] = fitted = {what: exponent(sizes, times[what]) for what in WHAT}
        print(f"{axis:10}{path:10}" + "  ".join(f"{what} grows as size^{p:.2f}" for what, p in fitted.items()) +
              f"   (the work: {EXPECTED[axis]})", flush=True)
        if axis == "batch":
            small = sizes.index(8) if 8 in sizes else 0
            found["per_image"][path] = {"from": sizes[small], "to": sizes[-1], "ratio": {
                what: times[what][-1] / sizes[-1] / times[what][small] * sizes[small] for what in WHAT}}  # fmt: skip
    return found


def speed_up(args) -> dict:
    """The suite on 1, 2, 4, … threads, up to the number of cores; each count has its own process."""
    most = args.threads or machine.describe()["cores"]
    counts = sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})
    paths, rows = [path for path in args.path if path != "plan"], []
    start = {f"{path} {n}": lambda path=path, n=n: harness.minicnn(n, f"{path} {n}", by=path)
             for path in paths for n in counts}  # fmt: skip
    with harness.Workers(start) as workers:
        for case in harness.selected(SUITE, args.cases, attrgetter("name")):
            times = clock(case, workers, list(start), args)
            gain = {path: {str(n): {what: times[f"{path} 1"][what]["median"] / times[f"{path} {n}"][what]["median"]
                                    for what in WHAT} for n in counts if n > 1} for path in paths}  # fmt: skip
            rows.append({"name": case.name, "label": case.label, "times": times, "speed_up": gain})
            print(f"{case.name:20}" + "".join(f"  {path}, {n} threads " + " ".join(f"×{x:.2f}" for x in of.values())
                                              for path in paths for n, of in gain[path].items()), flush=True)
    means = {path: {str(n): {what: geometric_mean([row["speed_up"][path][str(n)][what] for row in rows])
                             for what in WHAT} for n in counts if n > 1} for path in paths}  # fmt: skip
    return {"counts": counts, "cases": rows, "geometric_mean": means}


def clock(case: ConvCase, workers: harness.Workers, names: list[str], args) -> dict:
    """{name of a process: {"forward": spread, "dx": …, "dw": …}} for the policy's choice."""
    spec = {"kind": "conv", "case": case.as_dict(), "algorithms": [], "whole": False}
    times = workers.measure(case.name, dict.fromkeys(names, spec), args)[1]
    return {name: {what: times[name][f"{POLICY}/{what}"] for what in WHAT} for name in names}


if __name__ == "__main__":
    main()
