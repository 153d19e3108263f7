"""minicnn claim NAME | list | all | report"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minicnn import foreign
from minicnn.cli import console
from minicnn.cli.language import translated

if TYPE_CHECKING:
    from minicnn.claims.claim import Claim


class ClaimOrVerb(typer.core.TyperGroup):
    """The group `minicnn claim`: a word that is none of its commands is a claim's name, for `run`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` name, or `run` with all of them."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=ClaimOrVerb, no_args_is_help=True, add_completion=False,
                  help="Measure a claim of the textbooks: it holds, it does not, or this size cannot tell. "
                       "`minicnn claim NAME` runs one.")  # fmt: skip

Size = Annotated[str, typer.Option(help="small: what two cores can afford; paper: the source's own setting.")]
Seeds = Annotated[int, typer.Option(help="Seeds of each arm; 0: as many as the claim's file says.")]
Series = Annotated[int, typer.Option(help="Which seeds: 2 repeats the experiment with others.", min=1)]
Device = Annotated[str, typer.Option(help="cpu, cuda:0 or auto.")]
Folder = Annotated[str, typer.Option("--data", help="A folder with train/ and val/, where the size needs ImageNet.")]
Workers = Annotated[int, typer.Option(help="Trainings side by side; 0: one for each core.", min=0)]
Root = Annotated[Path, typer.Option("--out", help="The folder of all experiments.")]
ROOT = Path("runs/claims")


@app.command("list")
def list_(size: Size = "small", root: Root = ROOT, as_json: console.Json = False):
    """List the claims, what they need and cost, and the verdicts of those that were run."""
    from minicnn.claims import report

    console.choose("size", size, _sizes())
    rows = [_row(name, size, root) for name in report.files.NAMES]
    if as_json:
        return console.print_json(rows)
    table = console.table("claim", "verdict", "again", "data", ">trainings", ">CPU minutes", "what is said")
    for row in rows:
        verdicts = [translated(row["verdicts"].get(series, "–")) for series in (1, 2)]
        needs = f"{row['data']} (missing)" if row["missing"] else row["data"]
        cost = f"{row['cpu_minutes']:.0f}" if row["cpu_minutes"] is not None else "?"
        table.add_row(row["claim"], *verdicts, needs, f"{row['trainings']:,}", cost,
                      translated(row["sentence"]))  # fmt: skip
    console.show(table, ("again", "trainings", "data", "CPU minutes"))
    for data in dict.fromkeys(row["data"] for row in rows if row["missing"]):
        console.say("--data FOLDER names the pictures, such as ILSVRC 2012" if data == "folder" else
                    f"`{console.program()} data get {data}` downloads {data}", markup=False)  # fmt: skip
    return None


def _row(name: str, size: str, root: Path) -> dict[str, Any]:
    from minicnn.claims import report
    from minicnn.claims.engine import Experiment, Setup
    from minicnn.data import registry

    experiment = Experiment(name, Setup(size=size), root)
    found = report.collect(name, size, root)
    data = experiment.plan.data
    return {
        "claim": name, "sentence": experiment.claim.sentence, "source": experiment.claim.source,
        "sha256": report.files.digest(name), "data": data,
        "missing": bool(data == "folder" or registry.info(data).missing), "trainings": experiment.trainings,
        "cpu_minutes": round(report.costs()[name] / 60, 1) if size == "small" and name in report.costs() else None,
        "verdicts": {series: result["verdict"] for series, result in found.items()},
    }  # fmt: skip


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="A claim of `minicnn claim list`, all, or FILE.py that defines CLAIM.")],
    size: Size = "small", seeds: Seeds = 0, series: Series = 1, device: Device = "cpu", data: Folder = "",
    workers: Workers = 0, root: Root = ROOT, as_json: console.Json = False,
):  # fmt: skip
    """Run a claim's experiment, or what is missing of it, and say whether the claim holds.

    `run` may be left out. Ctrl-C stops, and kill -9 may: the same command continues, with the same numbers.
    """
    from minicnn.claims import files
    from minicnn.claims.engine import Experiment, Setup

    console.choose("size", size, _sizes())
    console.device(device)
    if not name.endswith(".py"):
        console.choose("claim", name, [*files.NAMES, "all"])
    with console.usage_errors():
        setup = Setup(size, seeds, series, device, data, workers)
        experiments = [Experiment(each, setup, root) for each in (files.NAMES if name == "all" else [name])]
    results = []
    for experiment in experiments:
        try:
            result = _run(experiment, as_json)
        except FileNotFoundError as missing:
            if name != "all":
                raise
            console.note(f"{experiment.name} is left out: {missing}")
            continue
        results.append(result | {"folder": str(experiment.folder)})
        if not as_json:
            _show(experiment.claim, result)
        drawn = _draw(experiment, result)
        if not as_json:
            named = ", ".join(["result.json", *drawn])
            console.say(f"In {foreign.terminal(experiment.folder)}: {named}\n", markup=False)
    if as_json:
        console.print_json(results if name == "all" else results[0])


def _run(experiment: Any, quiet: bool) -> dict[str, Any]:
    """Run it with a progress bar; `Stopped` where the user stops it."""
    from minicnn.train import Stopped, on_signals

    name = foreign.terminal(experiment.name)
    if not quiet:
        console.say(f"{name}: {translated(experiment.claim.sentence)}", markup=False)
        if experiment.folder.is_dir() and experiment.changed:
            console.note(f"part of {experiment.folder} was computed in another environment ({experiment.changed})")
    tell = console.ticker(f"{name}, trainings")
    with on_signals() as asked, console.progress(quiet) as bar:
        task = bar.add_task(name, total=experiment.trainings, loss="")

        def on_job(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, loss=what)
            if bar.disable and not quiet:
                tell(done, total)

        try:
            return experiment.run(on_job, lambda: bool(asked))
        except KeyboardInterrupt:
            raise Stopped(f"stopped: {experiment.jobs_done} trainings are saved in {experiment.folder}; the same "
                          "command continues", asked.code) from None  # fmt: skip


def _show(claim: Claim, result: dict[str, Any]) -> None:
    from minicnn.claims.report import notes, number

    table = console.table("comparison", ">measured", ">from", ">to", ">threshold", ">the source", "unit", "verdict")
    for comparison, outcome in zip(claim.comparisons, result["outcomes"]):
        known = outcome["estimate"] is not None
        cells = [number(outcome[key]) if known else "–" for key in ("estimate", "low", "high")]
        sign = "≥" if outcome["at_least"] else "≤"
        source = "–" if comparison.published is None else f"{comparison.published:g}"
        table.add_row(console.escape(translated(comparison.says)), *cells, f"{sign} {outcome['threshold']:g}", source,
                      console.escape(translated(comparison.unit)), translated(outcome["verdict"]))  # fmt: skip
    console.show(table, ("the source", "unit"))
    for note in notes(result):
        console.say(note, markup=False)
    made = translated(f"{len(result['seeds'])} seeds, rule {result['sha256'][:12]}")
    console.out.print(f"\n[bold]{translated(result['verdict'])}[/] ({made})")
    console.say(claim.meaning[result["verdict"]], markup=False)


def _draw(experiment: Any, result: dict[str, Any]) -> list[str]:
    """The picture in the folder of the experiment. → its name; none without matplotlib"""
    from minicnn.claims import figures
    from minicnn.inspect.plots import write

    try:
        write(figures.draw(experiment.claim, result), experiment.folder / "picture.png")
    except ModuleNotFoundError as missing:
        console.note(f"no picture: {missing}")
        return []
    return ["picture.png"]


@app.command("report")
def report_(
    page: Annotated[
        Path | None, typer.Option("--write", help="Write a page in Markdown, with pictures and results beside it.")
    ] = None,
    size: Size = "small", root: Root = ROOT, as_json: console.Json = False,
):  # fmt: skip
    """Show the results of all claims that were run; --write makes a page of them, such as docs/claims.md."""
    from minicnn.claims import report

    console.choose("size", size, _sizes())
    if page:
        console.check_out(page, (".md",), "--write")
    saved = page.with_suffix("") if page else None
    found = {name: report.collect(name, size, root, saved) for name in report.files.NAMES}
    made = report.write(page, size, root) if page else []
    if as_json:
        return console.print_json({name: list(own.values()) for name, own in found.items()})
    table = console.table("claim", "verdict", "again", "comparison", ">measured", ">from", ">to", ">threshold")
    for name, own in found.items():
        verdicts = [translated(own[series]["verdict"] if series in own else "not run yet") for series in (1, 2)]
        for i, outcome in enumerate(own[min(own)]["outcomes"] if own else []):
            known = outcome["estimate"] is not None
            cells = [report.number(outcome[key]) if known else "–" for key in ("estimate", "low", "high")]
            sign = "≥" if outcome["at_least"] else "≤"
            table.add_row(*((name, *verdicts) if i == 0 else ("", "", "")), translated(outcome["says"]), *cells,
                          f"{sign} {outcome['threshold']:g} {translated(outcome['unit'])}")  # fmt: skip
        if not own:
            table.add_row(name, *verdicts, *[""] * 5)
    console.show(table, ("again", "from", "to"))
    if made:
        console.say(f"{foreign.terminal(page)}, and {len(made) - 1} files in {foreign.terminal(saved)}", markup=False)
    return None


def _sizes() -> tuple[str, ...]:
    from minicnn.claims.claim import SIZES

    return SIZES
