"""minicnn gradcheck [OP … | all | FILE.py::FUNCTION | NET.onnx]"""

from __future__ import annotations

import contextlib
import functools
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minicnn.cli import console, user_file
from minicnn.cli.language import translated
from minicnn.geometry import positive
from minicnn.gradient_check import (
    GradientError,
    NothingCheckedError,
    Report,
    UnrepeatableError,
    check_directions,
    gradcheck,
    sweep,
)
from minicnn.ops_table import MASKS, ROWS, Case, Row, normal
from minicnn.precision import PrecisionError, check_float32
from minicnn.tensor import Tensor


@dataclass
class Result:
    """What the cases of one op gave, over all seeds."""

    op: str
    cases: int = 0
    worst: float | None = 0.0  # None if it is wrong: the message has the error
    coordinates: int = 0
    kinks: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    float32: float = 0.0  # the largest relative difference between float32 and float64
    error: str = ""
    status: str = "right"  # or "WRONG", "NOT CHECKED"

    def add(self, report: Report) -> None:
        """Add what one check gave."""
        self.worst = max(self.worst or 0.0, report.worst)
        self.coordinates += report.coordinates
        self.kinks += report.kinks
        self.unclear += report.unclear

    def found(self, problem: Exception, where: str) -> None:
        """Note that a check failed."""
        self.error, self.worst = f"{problem} ({where})", None
        unchecked = isinstance(problem, (NothingCheckedError, UnrepeatableError))
        self.status = "NOT CHECKED" if unchecked else "WRONG"


def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Names of ops, 'all', your own FILE.py::FUNCTION, or a NET.onnx.", show_default="all"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many different random inputs to try.", min=1)] = 1,
    first_seed: Annotated[int, typer.Option("--seed", help="The first seed.", min=0)] = 0,
    tolerance: Annotated[float, typer.Option(help="Largest relative error allowed.", min=1e-12)] = 1e-6,
    shapes: Annotated[
        str,
        typer.Option(
            help="Shapes of the arguments of FILE.py::FUNCTION: 2x3x5x4,6x3x3x2. Without it, the "
            "file's FUNCTION_inputs(rng) gives the arrays. Of NET.onnx: the shape of the images."
        ),
    ] = "",
    draw_sweep: Annotated[
        bool, typer.Option("--sweep", help="Draw the error against the step size: truncation against round-off.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The picture that --sweep writes.")] = None,
    as_json: console.Json = False,
):
    """Compare the gradients of ops with finite differences in float64, and their float32 with float64.

    Of a net in an ONNX file, the gradients of its images and of all its parameters along ten random directions.
    """
    rows: list[Row | _Net] = []
    for target in targets or ["all"]:
        rows += [_net(target, shapes)] if target.endswith(".onnx") else _rows(target, shapes)
    if draw_sweep:
        if nets := [row.name for row in rows if isinstance(row, _Net)]:
            raise console.UsageError(f"--sweep is for ops and functions, and {nets[0]} is a net")
        return _sweep([row for row in rows if isinstance(row, Row)], first_seed, out, as_json)
    results = []
    for row in console.track(rows, "ops checked", as_json):
        chosen = range(first_seed, first_seed + seeds)
        results.append(row.check(chosen, tolerance) if isinstance(row, _Net) else _check(row, chosen, tolerance))
    wrong = [r for r in results if r.error]
    if as_json:
        console.print_json({"seeds": seeds, "tolerance": tolerance, "ops": [vars(r) for r in results]})
    else:
        _show(results, seeds)
    if wrong:
        for r in wrong:
            console.fail(r.error, 1)
        raise typer.Exit(1)


def _check(row: Row, seeds: range, tolerance: float) -> Result:
    cases = [(case, 0) for case in row.cases] + [(case, 8) for case in row.crossing]
    result = Result(row.name, len(cases))
    for seed in seeds:
        for case, directions in cases:
            try:
                with _naming(row):
                    report = gradcheck(row.op, *case.inputs(seed), seed=seed, tolerance=tolerance,
                                       directions=directions, **case.hyper)
                    if row.name in ROWS and row is ROWS[row.name]:
                        off = check_float32(row.op, *case.inputs(seed), seed=seed, **case.hyper)
                        result.float32 = max(result.float32, off)
            except FINDINGS as problem:
                result.found(problem, f"case: {case}; seed {seed}")
                return result
            result.add(report)
    return result


@dataclass
class _Net:
    """A net that was read from an ONNX file, in float64, for images of a shape (N,C,H,W)."""

    name: str
    net: Any
    shape: tuple[int, ...]

    def check(self, seeds: range, tolerance: float) -> Result:
        """Random images for each seed, and ten directions through them and all parameters."""
        result = Result(self.name, 1)
        for seed in seeds:
            x = Tensor(np.random.default_rng(seed).standard_normal(self.shape), requires_grad=True)
            leaves = {"the images": x, **dict(self.net.named_parameters())}
            try:
                f = functools.partial(self.net, x)
                report = check_directions(f, leaves, name=self.name, tolerance=tolerance, seed=seed)
            except FINDINGS as problem:
                result.found(problem, f"seed {seed}")
                return result
            result.add(report)
        return result


def _net(path: str, shapes: str) -> _Net:
    """The net in an ONNX file, for two images of its size or for those of --shapes."""
    from minicnn.cli.model_name import find

    shape = _shapes(shapes)[0] if shapes else None
    if shape is not None and (len(shape) != 4 or "," in shapes):
        raise console.UsageError(f"--shapes {shapes!r} must be that of the net's images, N x C x H x W: 2x3x64x64")
    found = find(path, input_size="x".join(map(str, shape[1:])) if shape else "")
    return _Net(path, found.net.astype("float64"), shape or (2, *found.shape))


FINDINGS = (GradientError, NothingCheckedError, UnrepeatableError, PrecisionError)
"""Exceptions that report a result of the check; any other is an error in the function."""


@contextlib.contextmanager
def _naming(row: Row):
    """Turn any exception in a user's own function into one sentence with its file and line."""
    try:
        yield
    except FINDINGS:
        raise
    except Exception as problem:
        ours = str(Path(__file__).parents[1])
        theirs = [f for f in traceback.extract_tb(problem.__traceback__) if not f.filename.startswith(ours)]
        where = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
        raise ValueError(f"{row.name} can't be checked: {type(problem).__name__}: {problem}{where}") from problem


def _show(results: list[Result], seeds: int) -> None:
    table = console.table("op", ">cases", ">worst error", ">coordinates", "kinks left out")
    for r in results:
        kinks = ", ".join(r.kinks[:3]) + (f", … ({len(r.kinks)})" if len(r.kinks) > 3 else "")
        worst = f"[bold red]{translated(r.status)}[/]" if r.worst is None else f"{r.worst:.1e}"
        table.add_row(r.op, str(r.cases), worst, f"{r.coordinates:,}", kinks or "·")
    console.show(table)
    for r in results:
        if r.unclear:
            places = ", ".join(r.unclear[:3]) + f", … ({len(r.unclear)})" * (len(r.unclear) > 3)
            console.out.print(f"{r.op}: finite differences give no verdict at {places}: there are several kinks, or "
                              "round-off hides the gradient. Try other inputs, larger weights, or fewer layers")
    right = [r.worst for r in results if r.worst is not None]
    worst = f", worst relative error {max(right):.1e}" if right else ""
    console.out.print(
        f"\n{len(right)} of {len(results)} ops right in {sum(r.cases for r in results)} cases and {seeds} "
        f"{'draw' if seeds == 1 else 'draws'}: {sum(r.coordinates for r in results):,} coordinates{worst}"
    )


def _rows(target: str, shapes: str) -> list[Row]:
    if target == "all":
        return list(ROWS.values())
    if "::" in target:
        return [_own(target, shapes)]
    if target.endswith(".py"):
        raise console.UsageError(f"{target} is a Python file: name the function in it, {target}::FUNCTION")
    if target in {row.name for row in MASKS}:
        raise console.UsageError(f"{target} gives booleans, so it has no gradient to check")
    return [ROWS[console.choose("op", target, ROWS)]]


def _own(target: str, shapes: str) -> Row:
    """A row for a function of the user's own file, which is run as Python runs any file."""
    function, module = user_file.load(target)
    path, _, name = target.partition("::")
    if not callable(function):
        raise console.UsageError(f"{path} has no function {name!r}: {name} is {function!r:.60}")
    if isinstance(function, type):
        raise console.UsageError(f"{name} is a class: make a layer of it in the file, layer = {name}(…), and name the "
                                 f"layer, {path}::layer")
    if shapes:
        draws = tuple(normal(*shape) for shape in _shapes(shapes))
        return Row(_returning_a_tensor(function, name), function, (Case(draws, {}),))
    inputs = getattr(module, f"{name}_inputs", None)
    if inputs is None:
        raise console.UsageError(
            f"{name} needs inputs: give --shapes 2x3x5x4,6x3x3x2, a shape for each argument, "
            f"or write a function {name}_inputs(rng) beside it that returns a list of arrays"
        )
    return Row(_returning_a_tensor(function, name), function, (_Given(inputs),))


def _shapes(text: str) -> list[tuple[int, ...]]:
    """[(2, 3, 5, 4), (6, 3, 3, 2)] for 2x3x5x4,6x3x3x2"""
    try:
        return [tuple(positive(text, int(n)) for n in shape.split("x")) for shape in text.split(",")]
    except ValueError:
        raise console.UsageError(
            f"--shapes {text!r} must look like 2x3x5x4,6x3x3x2: a shape for each argument, extents of at least 1"
        ) from None


def _returning_a_tensor(function, name):
    """`function` under this name; a sentence where it returns something else: an array, or an op's pair without @op."""

    @functools.wraps(function)
    def call(*arrays):
        y = function(*arrays)
        if not isinstance(y, Tensor):
            raise TypeError(f"it must return a Tensor, not {type(y).__name__}: compute with minicnn.ops, "
                            "or put @op from minicnn.tensor before a function that returns (y, gradients)")
        return y

    call.__name__ = name                                           # a layer has none
    return call


class _Given(Case):
    """A case with inputs from the user's FUNCTION_inputs."""

    def __init__(self, draw):
        super().__init__((draw,), {})

    def inputs(self, seed):
        arrays = self.draws[0](np.random.default_rng(seed))
        if not isinstance(arrays, (list, tuple)):
            raise TypeError(f"{self.draws[0].__name__} must return a list of arrays, not {type(arrays).__name__}")
        return list(arrays)


def _sweep(rows: list[Row], seed: int, out: Path | None, as_json: bool) -> None:
    """The V-curve of each op's first case, in a picture and in numbers."""
    if len(rows) > 8:
        raise console.UsageError(f"--sweep draws one curve per op, and {len(rows)} are too many: name up to 8 ops")
    curves = {}
    for row in rows:
        with _naming(row):
            curves[row.name] = sweep(row.op, *row.cases[0].inputs(seed), seed=seed, **row.cases[0].hyper)
    drawn = out is not None and _draw(curves, out)
    if as_json:
        console.print_json({"picture": str(out) if drawn else None, "curves": curves,
                            "right": {name: _is_right(points) for name, points in curves.items()}})
        return _exit(curves)
    table = console.table(">step h", *(f">{name}" for name in curves), title="worst relative error for each step size")
    for i, (h, _) in enumerate(next(iter(curves.values()))):
        table.add_row(f"{h:.1e}", *(f"{points[i][1]:.1e}" for points in curves.values()))
    console.show(table)
    for name, points in curves.items():
        console.out.print(_verdict(name, points))
    console.out.print("With smaller steps round-off grows as 1/h, with larger ones truncation as h²: a V.")
    if drawn:
        console.out.print(f"drawn in {out}")
    return _exit(curves)


def _is_right(points) -> bool:
    """Judged by small steps only: at a large one, truncation can cancel the error of a wrong gradient."""
    return min(error for h, error in points if h <= 1e-4) <= 1e-6


def _exit(curves) -> None:
    if not all(map(_is_right, curves.values())):
        raise typer.Exit(1)


def _verdict(name, points) -> str:
    h, error = min(points, key=lambda point: point[1])
    best = f"{name}: smallest error {error:.1e}, at h = {h:.1e}"
    if not _is_right(points):
        return f"{best}: the gradient is wrong (a right one falls below 1e-06); minicnn gradcheck {name} says where"
    bends = max(points)[1] > 1e-4                                  # at the largest step truncation shows
    straight = ": the op is linear in each argument, so there is no truncation and the error only falls; tanh shows a V"
    return f"{best}: the gradient is right{'' if bends else straight}"


def _draw(curves: dict, out: Path) -> bool:
    from minicnn.inspect.plots import figure

    try:
        fig = figure(7, 4.5)
    except ModuleNotFoundError as missing:
        console.note(f"no picture: {missing}")
        return False
    ax = fig.subplots()
    for name, points in curves.items():
        h, error = zip(*points)
        ax.loglog(h, error, marker="o", markersize=3, label=name)
    steps = [h for h, _ in next(iter(curves.values()))]
    ax.loglog(steps, [1e-16 / h for h in steps], "k:", linewidth=0.8, label="round-off, 1e-16/h")
    ax.loglog(steps, [h * h / 6 for h in steps], "k--", linewidth=0.8, label="truncation, h²/6")
    ax.set_xlabel("step size h")
    ax.set_ylabel("worst relative error")
    ax.set_ylim(1e-16, 1e1)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    ax.set_title("A central difference against the analytic gradient")
    fig.savefig(out)
    return True
