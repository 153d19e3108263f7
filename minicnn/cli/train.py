"""minicnn train DATA"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import ranks
from minicnn.cli import console, run_report
from minicnn.cli.rank_settings import RankWait, joined
from minicnn.cli.settings import given, with_settings
from minicnn.environment import differences, environment
from minicnn.train import Config, Run, finder
from minicnn.train.config import AUTO
from minicnn.train.config_files import from_toml, read
from minicnn.train.folder import ENVIRONMENT


@with_settings("train")
def train(
    dataset: Annotated[
        str | None, typer.Argument(help="A dataset by name, or a folder of pictures with a folder for each class.",
                                   show_default=Config.dataset)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; options on the command line override it.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder, bit for bit.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, by default runs/DATA-MODEL-1, -2, …; with --find-lr the picture.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only search for a learning rate: a table, a suggestion, and with --out "
                                                                         "a picture.")
    ] = False,
    fast_dev_run: Annotated[
        bool, typer.Option("--fast-dev-run", help="A test run: three batches of each split, in a temporary folder.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only one JSON document, at the end.")
    ] = False,
    rank_wait: RankWait = ranks.WAIT,
    **settings: Any,
):
    """Train a net, test it, and leave model, metrics and pictures in a run folder.

    Ctrl-C and SIGTERM save the run and say how to resume it; a second one stops at once.

    `mpiexec -n 4 minicnn train …` and `srun minicnn train …` train one net on several ranks, which share each batch.
    """
    said = given({"dataset": dataset, **settings})
    if resume:
        if said or config or out or overwrite or find_lr or fast_dev_run:
            raise console.UsageError(f"--resume uses the settings in {resume}/config.json: leave out all other options")
        with joined(rank_wait) as team:
            return run_report.go(_resumed(resume, team), as_json)
    if fast_dev_run:
        said |= {"epochs": 1, "limit_batches": 3, "schedule": "constant", "milestones": []}
    chosen = _settings(config, said)
    if find_lr:
        with joined(rank_wait) as team:
            return _find_lr(chosen, out, as_json, team)
    usual = chosen.model == AUTO
    with joined(rank_wait) as team:
        if not fast_dev_run or out:
            return run_report.go(Run(chosen, out, overwrite, team), as_json, usual=usual)
        with tempfile.TemporaryDirectory(prefix="minicnn-") as folder:
            run_report.go(Run(chosen, folder, overwrite=True, team=team), as_json, keep=False, usual=usual)
        if not as_json:
            console.say("A fast dev run: training, saving, testing and drawing work; its temporary folder was deleted.")
        return None


def _settings(config: Path | None, given: dict) -> Config:
    """The settings of a file, overridden by the command line; a usage error for an invalid one."""
    values = {**(from_toml(config) if config else {}), **given}
    with console.usage_errors():
        return read(values)


def _resumed(folder: Path, team: ranks.Alone) -> Run:
    run = Run.resume(folder, team)
    if not run.writes:
        return run
    try:
        changed = differences(json.loads((folder / ENVIRONMENT).read_bytes()), environment(run.config.device))
    except (OSError, ValueError, AttributeError):
        changed = f"{ENVIRONMENT} can't be read"
    if run.doubt:
        console.note(run.doubt)
    if changed:
        console.note(f"the run continues, but not bit for bit: the environment has changed ({changed})")
    return run


def _find_lr(settings: Config, path: Path | None, as_json: bool, team: ranks.Alone):
    if path:
        console.check_out(path, console.PICTURES)
    run, started = Run.without_folder(settings, team), time.perf_counter()
    with console.progress(as_json) as progress:
        bar = progress.add_task("learning rates", total=100, loss="")
        search = finder.find_lr(run, on_step=lambda done: progress.update(bar, completed=done))
    seconds = time.perf_counter() - started
    picture = None
    if path and run.writes:
        try:
            finder.draw(search, path)
            picture = str(path)
        except ModuleNotFoundError as missing:
            console.note(f"no picture: {missing}")
    if as_json:
        return console.print_json({**asdict(search), "seconds": seconds, "picture": picture})
    table = console.table(">learning rate", ">loss", ">smoothed")
    for i in range(0, len(search.rates), max(1, len(search.rates) // 15)):
        table.add_row(f"{search.rates[i]:.2e}", f"{search.losses[i]:.4f}", f"{search.smoothed[i]:.4f}")
    console.show(table)
    console.say(f"\nthe loss falls fastest at a learning rate of {search.steepest:.2g} and is least at "
                f"{search.least:.2g} ({len(search.rates)} steps in {seconds:.1f} s): try a tenth of that, "
                f"--lr {search.suggestion:.2g}", markup=False)
    if picture:
        console.say(picture, markup=False)
    return None
