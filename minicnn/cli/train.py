"""minicnn train DATA"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import data
from minicnn.cli import console, training
from minicnn.environment import differences, environment
from minicnn.train import Config, Run, finder
from minicnn.train.config import CLASS_WEIGHTS, OPTIMIZERS, SCHEDULES, from_toml
from minicnn.train.config import read as read_settings
from minicnn.train.folder import ENVIRONMENT


def _option(help_: str, default: Any = None, **more) -> Any:
    """A setting: None, and so the file's or the usual value, unless it is said."""
    return typer.Option(help=help_, show_default="" if default is None else str(default), **more)


def train(
    dataset: Annotated[
        str | None, typer.Argument(help="A dataset by name, or a folder of pictures with a folder a class.",
                                   show_default=Config.dataset)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; what is said on the command line comes first.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder, bit for bit.")] = None,
    model: Annotated[str | None, _option("The net.", Config.model)] = None,
    epochs: Annotated[int | None, _option("Passes over the training images.", Config.epochs)] = None,
    batch_size: Annotated[int | None, _option("Images a step.", Config.batch_size)] = None,
    optimizer: Annotated[str | None, _option(", ".join(OPTIMIZERS) + ".", Config.optimizer)] = None,
    lr: Annotated[float | None, _option("Learning rate at its highest.", Config.lr)] = None,
    momentum: Annotated[float | None, _option("Momentum (sgd).", Config.momentum)] = None,
    weight_decay: Annotated[float | None, _option("Weight decay.", Config.weight_decay)] = None,
    schedule: Annotated[
        str | None, _option(", ".join(SCHEDULES) + ": the learning rate over time.", Config.schedule)
    ] = None,
    milestones: Annotated[
        str | None, _option("Epochs after which the rate falls by --gamma (multistep): 82,123.")
    ] = None,
    gamma: Annotated[
        float | None, _option("How much it falls: at a step, or over the run (exponential).", Config.gamma)
    ] = None,
    warmup: Annotated[float | None, _option("Epochs over which the rate rises first.", Config.warmup)] = None,
    label_smoothing: Annotated[float | None, _option("Share of the label spread over all classes.")] = None,
    augment: Annotated[
        str | None, _option("Changes to training images, in words: 'pad-crop:4 flip', 'random-resized jitter', none.",
                            Config.augment)
    ] = None,
    validation: Annotated[
        float | None, _option("Share of each class kept aside to choose the best epoch.", Config.validation)
    ] = None,
    test: Annotated[float | None, _option("Share of a folder's pictures kept aside to test.", Config.test)] = None,
    fit: Annotated[
        str | None, _option("How a file of a folder fits the net: crop, pad or stretch.", Config.fit)
    ] = None,
    size: Annotated[int | None, _option("Side of the image that a file becomes; by default the model's own.")] = None,
    class_weights: Annotated[
        str | None, _option(", ".join(CLASS_WEIGHTS) + ": whether rare classes count more.", Config.class_weights)
    ] = None,
    clip: Annotated[float | None, _option("The longest that all gradients together may be; 0: any length.")] = None,
    accumulate: Annotated[int | None, _option("Batches whose gradients make one step.", Config.accumulate)] = None,
    ema: Annotated[
        float | None, _option("Evaluate and keep a running average of the weights with this decay, say 0.999.")
    ] = None,
    patience: Annotated[int | None, _option("Stop early when so many epochs were no better; 0: never.")] = None,
    overfit_batches: Annotated[
        int | None, _option("Learn so many batches by heart: a net that can't has a fault.")
    ] = None,
    tensorboard: Annotated[bool | None, _option("Write event files for TensorBoard.")] = None,
    gradient_flow: Annotated[
        bool | None, _option("Write down each layer's gradients and dead ReLUs after each epoch.")
    ] = None,
    workers: Annotated[
        int | None, _option("Threads that read pictures; -1: one a core where there are files to decode.", "-1")
    ] = None,
    seed: Annotated[int | None, _option("Start of all random numbers: the same seed, the same run.", "0")] = None,
    device: Annotated[str | None, _option("cpu or auto.", Config.device)] = None,
    checkpoint_steps: Annotated[int | None, _option("Save every so many steps, besides after each epoch.")] = None,
    checkpoint_seconds: Annotated[
        float | None, _option("Save every so many seconds; 0: not by the clock.", Config.checkpoint_seconds)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, by default runs/DATA-MODEL-1, -2, …; of --find-lr the picture.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only look for a learning rate: a picture and a suggestion.")
    ] = False,
    fast_dev_run: Annotated[
        bool, typer.Option("--fast-dev-run", help="Three batches of everything, to see that it works; nothing is kept.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document at the end, and nothing else.")
    ] = False,
):
    """Train a net, test it, and leave model, metrics and pictures in a run folder.

    Ctrl-C and SIGTERM save and say how to go on; a second one stops at once.
    """
    said = locals()
    given = {f.name: said[f.name] for f in fields(Config) if said.get(f.name) is not None}
    if resume:
        if given or config or out or overwrite or find_lr or fast_dev_run:
            raise console.UsageError(f"--resume goes on with the settings in {resume}/config.json: leave others out")
        return training.go(_resumed(resume), as_json)
    if "milestones" in given:
        given["milestones"] = _numbers(milestones)
    if fast_dev_run:
        given |= {"epochs": 1, "limit_batches": 3, "schedule": "constant", "milestones": []}
    settings = _settings(config, given)
    if find_lr:
        return _find_lr(settings, out or Path("lr.png"), as_json)
    if fast_dev_run and not out:
        with tempfile.TemporaryDirectory(prefix="minicnn-") as folder:
            training.go(Run(settings, folder, overwrite=True), as_json)
        if not as_json:
            console.say("A fast dev run: training, saving, testing and drawing work; nothing is kept.")
        return None
    name = settings.dataset if settings.dataset in data.names() else Path(settings.dataset).resolve().name
    return training.go(Run(settings, out or free_folder(name, settings.model), overwrite), as_json)


def _settings(config: Path | None, given: dict) -> Config:
    """A file's settings, and those of the command line over them; a usage error where one makes no sense."""
    values = {**(from_toml(config) if config else {}), **given}
    try:
        return read_settings(values)
    except (ValueError, TypeError) as problem:
        raise console.UsageError(str(problem)) from None


def _numbers(text):
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise console.UsageError(f"--milestones {text!r} must be epochs with commas between them: 82,123") from None


def _resumed(folder: Path) -> Run:
    run = Run.resume(folder)
    try:
        changed = differences(json.loads((folder / ENVIRONMENT).read_bytes()), environment(run.config.device))
    except (OSError, ValueError, AttributeError):
        changed = f"{ENVIRONMENT} can't be read"
    if changed:
        print(f"the run goes on, but not bit for bit as where it began ({changed})", file=sys.stderr)
    return run


def _find_lr(settings: Config, path: Path, as_json: bool):
    run, started = Run.without_folder(settings), time.perf_counter()
    with console.progress(as_json) as progress:
        bar = progress.add_task("learning rates", total=100, loss="")
        search = finder.find_lr(run, on_step=lambda done: progress.update(bar, completed=done))
    seconds = time.perf_counter() - started
    try:
        finder.draw(search, path)
        picture: str | None = str(path)
    except ModuleNotFoundError as missing:
        print(f"no picture: {missing}", file=sys.stderr)
        picture = None
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


def free_folder(dataset: str, model: str) -> Path:
    """runs/DATA-MODEL-1, or the next number that is free."""
    return next(folder for n in itertools.count(1) if not (folder := Path("runs") / f"{dataset}-{model}-{n}").exists())
