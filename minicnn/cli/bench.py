"""minicnn bench conv, minicnn bench model NAME: measure minicnn's speed on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from statistics import geometric_mean
from typing import Annotated, Any

import typer
from rich.progress import track

from minicnn import devices, models
from minicnn.bench import conv as convolution
from minicnn.bench import machine
from minicnn.bench.conv import POLICY, WHAT, ConvRun
from minicnn.bench.model import NETS, NetRun
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import Spread, peak_memory, time_calls
from minicnn.cli import console
from minicnn.cli.model_name import ModelSettings, find, is_file, loaded, of_zoo, parse_shape
from minicnn.cpu import threads as pool
from minicnn.geometry import Conv2dGeometry
from minicnn.inspect.summary_table import mega, times
from minicnn.io.model_file import is_onnx

app = typer.Typer(no_args_is_help=True, add_completion=False,
                  help="Measure this machine: one convolution or the suite, or a whole net.")

Seconds = Annotated[float, typer.Option(help="How long to repeat each measurement.", min=0.001)]
Threads = Annotated[int, typer.Option(help="Threads; 0: MINICNN_NUM_THREADS, or one per core.", min=0)]

EXPLAIN_CONV = """\
ms: the median time of a call; --json has its quartiles, too.
GFLOP/s: 2·N·O·(C/G)·KH·KW·OH·OW operations (a multiplication and its addition are two) in that time.
% GEMM: the same as a share of {gemm:.0f} GFLOP/s, the rate of a large matrix product here on {threads}.
Starting an empty task on each of them takes {wake:.0f} µs.
Winograd's algorithm multiplies less than the formula says, so it can be above 100.
workspace: the peak memory besides the arguments and the result, without the buffers of compiled kernels.
error: the largest error against float64, as a share of the result's largest value; float32 itself has 6e-08.
* marks the algorithm that minicnn chooses. dx and dw are the gradients of the images and of the filters."""

EXPLAIN_MODEL = """\
training step: forward, backward and SGD with momentum, on {batch} of {shape}. compiled: inference by the plan of
minicnn.compile. ms: the median; half of the calls took between the quartiles. GFLOP/s: 2 operations for each
multiply-add of convolutions and linear layers; a training step counts as three passes. memory: the peak of the whole
process, Python and NumPy included."""


@app.command("conv")
def conv(
    input_: Annotated[
        str, typer.Option("--input", help="The images, N,C,H,W, such as 16,64,56,56; without it, a suite of 20 layers.")
    ] = "",
    filters: Annotated[int, typer.Option(help="How many filters, O; by default as many as channels.", min=0)] = 0,
    kernel: Annotated[str, typer.Option("--kernel", "-k", help="Size of a filter: 3, or 1,7 (height, width).")] = "3",
    stride: Annotated[str, typer.Option("--stride", "-s", help="Step of the window: 1, or 2,1 (down, across).")] = "1",
    padding: Annotated[str, typer.Option("--padding", "-p", help="Pixels added on each side: 1, or 0,3.")] = "0",
    groups: Annotated[int, typer.Option("--groups", "-g", help="Groups of channels.", min=1)] = 1,
    algorithm: Annotated[
        str, typer.Option(help="all: each that supports the layer; auto: minicnn's choice; or one by its name.")
    ] = "",
    seconds: Seconds = 0.3,
    threads: Threads = 0,
    as_json: console.Json = False,
):
    """Time convolutions, forward, dx and dw, by each algorithm: speed, memory, error against float64."""
    cases = [_case(input_, filters, kernel, stride, padding, groups)] if input_ else list(SUITE)
    wanted = console.choose("algorithm", algorithm or ("all" if input_ else POLICY),
                            ("all", POLICY, *convolution.algorithms()))  # fmt: skip
    plan = [(case, name) for case in cases for name in _names(case, wanted)]
    _use(threads)
    gemm, wake = machine.gemm_rate(seconds=seconds), machine.wake_cost(seconds)
    rows, run = [], None
    for case, name in _progress(plan, as_json):
        if run is None or run.case is not case:
            run = ConvRun(case)
        for row in _measure(run, name, seconds, gemm):
            rows.append(row)
            _say(f"{case.name or case.label}: {row['what']} by {row['algorithm']}", row["seconds"], as_json)
    report = {**_about(), "gemm_flops_per_second": gemm, "wake_seconds": wake, "rows": rows}
    if as_json:
        return console.print_json(report)
    for case in cases:
        _show(case, [row for row in rows if row["case"] == case.label])
    if len(cases) > 1:
        share = geometric_mean([row["of_gemm"] for row in rows if row["what"] == "forward" and row["chosen"]])
        console.say(f"Geometric mean over the suite, forward: {100 * share:.0f} % of the GEMM rate.\n", markup=False)
    count = pool.num_threads()
    console.say(EXPLAIN_CONV.format(gemm=gemm / 1e9, wake=1e6 * wake, threads=f"{count} thread{'s' * (count != 1)}"),
                markup=False)  # fmt: skip


def _measure(run: ConvRun, name: str, seconds: float, gemm: float) -> Iterator[dict[str, Any]]:
    """Error, memory and time of forward, dx and dw by one algorithm."""
    errors, policy = run.errors(name), convolution.chosen(run.case)
    for what, call in run.calls(name).items():
        memory = convolution.workspace(call)
        call()
        spread = Spread.of(time_calls(call, seconds, least=3, most=1000))
        flops = run.case.flops / spread.median
        used = policy if name == POLICY else name
        yield {"case": run.case.label, "name": run.case.name, "what": what, "algorithm": used,
               "chosen": used == policy, "seconds": spread.as_dict(), "flops_per_second": flops,
               "of_gemm": flops / gemm, **memory, "error": errors[what], "macs": run.case.macs}  # fmt: skip


def _show(case: ConvCase, rows: list[dict[str, Any]]) -> None:
    title = f"{case.name}: {case.label}" if case.name else case.label
    console.say(f"{title}, {case.macs:,} multiply-adds", markup=False)
    table = console.table("", "algorithm", ">ms", ">GFLOP/s", ">% GEMM", ">workspace", ">error")
    for what in WHAT:
        mine = sorted((row for row in rows if row["what"] == what), key=lambda row: row["seconds"]["median"])
        for row in mine:
            table.add_row(what, row["algorithm"] + " *" * row["chosen"], f"{1000 * row['seconds']['median']:.3f}",
                          f"{row['flops_per_second'] / 1e9:.1f}", f"{100 * row['of_gemm']:.0f}",
                          mega(row["workspace_bytes"]), f"{row['error']:.0e}")  # fmt: skip
            what = ""
    console.show(table, ("workspace",))
    console.say("")


def _case(input_, filters, kernel, stride, padding, groups) -> ConvCase:
    shape = _integers("--input", input_, 4, "N,C,H,W, such as 16,64,56,56")
    N, C, H, W = shape
    case = ConvCase("", (N, C, H, W), filters or C, _pair("--kernel", kernel), _pair("--stride", stride),
                    _pair("--padding", padding, least=0), groups)  # fmt: skip
    with console.usage_errors():
        Conv2dGeometry.of(case.input, case.w_shape, case.stride, case.padding, 1, groups)
    return case


def _integers(option: str, text: str, count: int, form: str, least: int = 1) -> tuple[int, ...]:
    parts = text.replace("x", ",").replace("×", ",").split(",")
    if len(parts) != count or not all(p.strip().isdecimal() and int(p) >= least for p in parts):
        raise console.UsageError(f"{option} {text!r} must be {form}")
    return tuple(map(int, parts))


def _pair(option: str, text: str, least: int = 1) -> tuple[int, int]:
    count = 2 if "," in text else 1
    values = _integers(option, text, count, "an integer, or two: down,across", least)
    return values[0], values[-1]


def _names(case: ConvCase, wanted: str) -> list[str]:
    supported = convolution.supported(case)
    if wanted not in ("all", POLICY) and wanted not in supported:
        raise console.UsageError(f"algorithm {wanted!r} does not support {case.label}: {', '.join(supported)} do")
    if wanted == "all":
        return supported if convolution.chosen(case) in supported else [*supported, POLICY]
    return [wanted]


# --------------------------------------------------------------------------------------------------------- whole nets


@app.command("model")
def model(
    name: Annotated[
        str, typer.Argument(help="A net of the zoo, NAME or NAME:VARIANT; a run folder, a model file or an ONNX file.")
    ],
    batch: Annotated[int, typer.Option(help="Images in a training step; 0: the usual number.", min=0)] = 0,
    input_size: Annotated[str, typer.Option("--input", help="An image, such as 3x128x128; by default the net's.")] = "",
    settings: ModelSettings = None,
    seconds: Seconds = 2.0,
    threads: Threads = 0,
    device: Annotated[str, typer.Option(help="cpu or auto.")] = "auto",
    as_json: console.Json = False,
):
    """Time a training step, and inference on one image and on a batch: images per second, memory."""
    device = console.device(device)
    _use(threads)
    run, options = _net_run(name, batch, input_size, settings, device)
    macs = _macs(run)
    calls: dict[str, tuple[Callable, int, int]] = {"training step": (lambda: run.step().item(), run.batch, 3)}
    for count in (1, run.batch):
        calls[f"inference, {_images(count)}"] = (lambda count=count: run.infer(count).numpy(), count, 1)
        if devices.get(device).name == "cpu":
            plan, x = run.compiled(count), run.x[:count]
            calls[f"compiled, {_images(count)}"] = (lambda plan=plan, x=x: plan(x), count, 1)
    rows = []
    for what, (call, count, passes) in _progress(list(calls.items()), as_json):
        call()
        spread = Spread.of(time_calls(call, seconds, least=3, most=1000))
        rows.append({"what": what, "images": count, "seconds": spread.as_dict(),
                     "images_per_second": count / spread.median,
                     "flops_per_second": 2 * macs * count * passes / spread.median})  # fmt: skip
        _say(what, rows[-1]["seconds"], as_json)
    peak = peak_memory()
    if as_json:
        return console.print_json({**_about(), "model": name, "options": options or {}, "input": list(run.shape),
                                   "batch": run.batch, "parameters": run.parameters, "macs": macs, "rows": rows,
                                   "peak_bytes": peak})  # fmt: skip
    console.say(f"{name} ({run.parameters:,} parameters, {macs:,} multiply-adds an image)", markup=False)
    table = console.table("", ">ms", ">quartiles", ">images/s", ">GFLOP/s")
    for row in rows:
        t = row["seconds"]
        table.add_row(row["what"], f"{1000 * t['median']:.2f}", f"{1000 * t['q1']:.2f} – {1000 * t['q3']:.2f}",
                      f"{row['images_per_second']:.1f}", f"{row['flops_per_second'] / 1e9:.1f}")  # fmt: skip
    console.show(table, ("quartiles",))
    console.say(f"memory: {mega(peak)}\n" if peak else "")
    console.say(EXPLAIN_MODEL.format(batch=_images(run.batch), shape=times(run.shape)), markup=False)


def _net_run(name: str, batch: int, input_size: str, settings: list[str] | None,
             device: str) -> tuple[NetRun, dict[str, Any] | None]:  # fmt: skip
    """The net to measure, and its options."""
    if is_file(name):
        found = find(name, settings, input_size)
        net = found.net if is_onnx(name) else loaded(name)[0]
        return NetRun(name, batch, found.shape, images=0, device=device, net=net), found.options
    zoo, options = (name, None) if name in NETS and name not in models.names() else of_zoo(name, settings)
    shape = parse_shape(input_size) if input_size else None
    with console.usage_errors():
        return NetRun(zoo, batch, shape, images=0, options=options, device=device), options


def _macs(run: NetRun) -> int:
    """Multiply-adds of one image."""
    from minicnn.inspect import summary

    return summary(run.net, run.shape).totals["macs"]


# ---------------------------------------------------------------------------------------------------------- for both


def _use(count: int) -> None:
    if count:
        pool.set_num_threads(count)


def _about() -> dict[str, Any]:
    return {"machine": machine.describe(), "versions": machine.versions(), "threads": pool.num_threads()}


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _progress(work: list, quiet: bool) -> Iterable:
    """The same items, with a progress bar on a terminal, and an empty line after them elsewhere."""
    if not quiet and console.out.is_terminal and len(work) > 1:
        yield from track(work, "measuring", console=console.out, transient=True)
    else:
        yield from work
        if not quiet and not console.out.is_terminal:
            console.say("")


def _say(what: str, seconds: dict[str, float], quiet: bool) -> None:
    """One line for each measurement where there is no progress bar: the tables come only at the end."""
    if not quiet and not console.out.is_terminal:
        console.say(f"{what}: {1000 * seconds['median']:.3f} ms", markup=False)
