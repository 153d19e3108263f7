"""Where the figures of the compiled CPU backend come from: which kernel computes a layer, when a thread is worth it.

    python -m benchmarks.cpu.tuning                  a grid of layers, each by every kernel; the cost of a wake by size
    python -m benchmarks.cpu.tuning --cases wake     only that, for team.MIN_WORK and team.TURNS

The layers are for `_choose` in minicnn/cpu/compiled/conv.py: its choice has an asterisk, *loss* is its time divided by
the best one's.
"""

from functools import partial
from statistics import geometric_mean

from benchmarks import harness
from minicnn.bench import machine, wake
from minicnn.bench.conv import WHAT, ConvRun
from minicnn.bench.suite import ConvCase
from minicnn.bench.timing import medians
from minicnn.cpu import conv as numpy_conv
from minicnn.cpu import path, threads

WAKE = "wake"
GRID = [ConvCase(name, (N, C, side, side), C, (k, k), (1, 1), (k // 2, k // 2), C if name == "depthwise" else 1)
        for name, k, widths in (("3×3", 3, (8, 16, 32, 64, 128, 256, 512)), ("1×1", 1, (16, 64, 256)),
                                ("5×5", 5, (6, 32)), ("depthwise", 3, (32, 256)))
        for C in widths for side in (7, 14, 28, 56) for N in (1, 16)]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.tuning", __doc__, argv, rounds=3, seconds=0.01)
    threads.set_num_threads(args.threads or threads.num_threads())
    chosen = harness.selected([*GRID, WAKE], args.cases, lambda case: getattr(case, "name", case))
    with path.cpu_path("compiled"):
        rows = [layer(case, args) for case in chosen if case != WAKE]
        wakes = wake.by_size(args.seconds, args.rounds) if WAKE in chosen else []
        for row in wakes:
            print("  ".join(f"{k} {1e6 * v:.1f} µs" if k != "size" else f"{v:8,} values" for k, v in row.items()))
    losses = {what: [row["loss"][what] for row in rows] for what in WHAT if rows}
    summary = {what: {"geometric_mean": geometric_mean(of), "worst": max(of)} for what, of in losses.items()}
    about = {**machine.versions(), "threads": threads.num_threads(), "name": "compiled"}
    harness.write(args, [about], cases=rows, wakes=wakes, summary=summary)


def layer(case: ConvCase, args) -> dict:
    """The median times of one layer by every kernel that can compute it, and by the NumPy backend."""
    from minicnn.cpu.compiled import conv

    g, (x, w, b, dy) = case.geometry, ConvRun(case).on_device
    kernels = {k: module for k, module in conv.ALGORITHMS.items() if module.supports(g, x.dtype)}
    kernels["numpy"] = numpy_conv
    calls = {(name, what): call for name, module in kernels.items() for what, call in zip(WHAT, (
        partial(module.conv2d, x, w, b, g), partial(module.conv2d_dx, dy, w, g), partial(module.conv2d_dw, dy, x, g)))}
    taken = medians(calls, args.seconds, args.rounds)
    seconds = {name: {what: taken[name, what] for what in WHAT} for name in kernels}
    choice = next((name for name, module in kernels.items() if module is conv.choose(g, x.dtype)), "numpy")
    loss = {what: seconds[choice][what] / min(of[what] for of in seconds.values()) for what in WHAT}
    print(f"{case.label:34}" + "".join(
        f"  {name}{' *' * (name == choice)} " + " ".join(f"{1000 * t:.3f}" for t in of.values())
        for name, of in seconds.items()) + "  loss " + " ".join(f"{x:.2f}" for x in loss.values()), flush=True)
    return {"name": case.name, "label": case.label, "seconds": seconds, "chosen": choice, "loss": loss}


if __name__ == "__main__":
    main()
