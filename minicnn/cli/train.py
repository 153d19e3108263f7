"""minicnn train DATASET"""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minicnn.cli import console
from minicnn.cli.evaluate import show
from minicnn.cli.predict import classify
from minicnn.inspect import picture as net_picture
from minicnn.train import Config, Run, picture
from minicnn.train.run import OPTIMIZERS, SCHEDULES


def train(
    dataset: Annotated[
        str, typer.Argument(help="digits (embedded, needs no download), mnist or fashion-mnist.")
    ] = "digits",
    model: Annotated[str, typer.Option(help="The net.")] = Config.model,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = Config.epochs,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = Config.batch_size,
    optimizer: Annotated[str, typer.Option(help=", ".join(OPTIMIZERS) + ".")] = Config.optimizer,
    lr: Annotated[float, typer.Option(help="Learning rate at its highest.")] = Config.lr,
    momentum: Annotated[float, typer.Option(help="Momentum (sgd).")] = Config.momentum,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = Config.weight_decay,
    schedule: Annotated[
        str, typer.Option(help=", ".join(SCHEDULES) + ": the learning rate over time.")
    ] = Config.schedule,
    warmup: Annotated[float, typer.Option(help="Epochs over which the learning rate rises first.")] = Config.warmup,
    label_smoothing: Annotated[
        float, typer.Option(help="Share of the label spread over all classes.")
    ] = Config.label_smoothing,
    shift: Annotated[
        int, typer.Option(help="Shift training images by up to this many pixels at random.")
    ] = Config.shift,
    validation: Annotated[
        float, typer.Option(help="Share of the training images kept aside to choose the best epoch.")
    ] = Config.validation,
    seed: Annotated[int, typer.Option(help="Start of all random numbers: the same seed, the same run.")] = Config.seed,
    device: Annotated[str, typer.Option(help="cpu or auto.")] = Config.device,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/DATASET-MODEL-1, -2, …")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document at the end, and nothing else.")
    ] = False,
):
    """Train a net, test it, and leave model, metrics and pictures in a run folder."""
    config = Config(
        dataset,
        model,
        {},
        epochs,
        batch_size,
        optimizer,
        lr,
        momentum,
        weight_decay,
        schedule,
        warmup,
        label_smoothing,
        shift,
        validation,
        seed,
        device,
    )
    try:
        config.check()
    except ValueError as problem:
        raise console.UsageError(str(problem)) from None
    run = Run(config, out or _free_folder(dataset, model), overwrite)
    if not as_json:
        size = sum(p.size for p in run.model.parameters())
        console.out.print(
            f"[bold]{model}[/] ({size:,} parameters) on [bold]{dataset}[/]: {len(run.training):,} images to train, "
            f"{len(run.validation):,} to validate, {len(run.bundle.test):,} to test, {len(run.bundle.classes)} classes"
        )
    started = time.perf_counter()
    try:
        _train(run, quiet=as_json)
    except KeyboardInterrupt:
        if not run.metrics:
            raise
        done = len(run.metrics)
        print(f"stopped in epoch {done + 1}; what {done} whole epoch(s) gave is tested and kept", file=sys.stderr)
    seconds = time.perf_counter() - started
    result = run.test()
    pictures = _pictures(run, result)
    if as_json:
        return console.print_json(
            {
                "folder": str(run.folder),
                "config": asdict(config),
                "epochs": run.metrics,
                "seconds": seconds,
                "test": {"accuracy": result.accuracy, "loss": result.loss, "confusion": result.confusion.tolist()},
            }
        )
    best = max(r["epoch"] for r in run.metrics if r["best"])
    console.out.print(f"\ntrained in {seconds:.1f} s; the best on validation was epoch {best}\n")
    show(result, list(run.bundle.classes), f"{dataset}, test")
    _show_one(run)
    files = ", ".join(("best.safetensors (the model)", "metrics.jsonl", *pictures))
    console.out.print(f"\nIn {run.folder}: {files}", markup=False, soft_wrap=True)
    _what_next(run)


def _train(run: Run, quiet: bool) -> None:
    """Train with a bar that counts the steps of an epoch, and a line an epoch."""
    if quiet:
        run.train()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console.out, transient=True, disable=not console.out.is_terminal) as progress:
        bar = progress.add_task("epoch 1", total=run.steps_per_epoch, loss="")

        def on_step(step, loss):
            epoch, done = divmod(step, run.steps_per_epoch)
            progress.update(bar, description=f"epoch {epoch + 1}", completed=done + 1, loss=f"loss {loss:.4f}")

        def on_epoch(r):
            mark = "  best" if r["best"] else ""
            console.out.print(
                f"epoch {r['epoch']:>2}/{run.config.epochs}   loss {r['loss']:.4f}   "
                f"training {100 * r['accuracy']:6.2f} %   "
                f"validation {100 * r['val_accuracy']:6.2f} %   {r['seconds']:5.1f} s{mark}"
            )

        run.train(on_step, on_epoch)


def _pictures(run, result) -> list[str]:
    """Draw what can be drawn. → the file names; without matplotlib, one sentence and none."""
    test, classes = run.bundle.test, list(run.bundle.classes)
    image = test.images[0]
    try:
        picture.curves(run.metrics, run.folder / "curves.png")
        picture.confusion(result.confusion, classes, run.folder / "confusion.png")
        net_picture.filters(run.model, run.prepare(image[None]), image, run.folder / "filters.png")
    except ModuleNotFoundError as missing:
        print(f"no pictures: {missing}", file=sys.stderr)
        return []
    return ["curves.png", "confusion.png", "filters.png"]


def _show_one(run) -> None:
    """Predict one test image, and leave it as a file to try things on."""
    from PIL import Image

    image, label = run.bundle.test.images[0], run.bundle.test.labels[0]
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(run.folder / "sample.png")
    classes = list(run.bundle.classes)
    where = run.folder / "sample.png"
    console.out.print(f"\nOne test image ({where}), in truth {classes[label]}:", markup=False, soft_wrap=True)
    for line in console.bars(classes, classify(run.model, run.prepare, image)):
        console.out.print(line, markup=False)


def _what_next(run) -> None:
    folder, sample = (shlex.quote(str(path)) for path in (run.folder, run.folder / "sample.png"))
    model, dataset = run.config.model, run.config.dataset
    hints = {
        f"minicnn predict {folder} {sample}": "your own pictures too; --invert for ink on paper",
        f"minicnn eval {folder} --split train": "does it know its training images better?",
        f"minicnn summary {model}": "the net, layer by layer",
        "minicnn gradcheck conv2d --sweep": "is the gradient of a convolution right?",
        f"minicnn train {dataset} --epochs 60 --label-smoothing 0.1": "longer, and less sure of itself",
    }
    console.out.print("\nWhat to try next:")
    for command, why in hints.items():
        console.out.print(f"  {command:<{max(map(len, hints))}}   {why}", soft_wrap=True, markup=False)


def _free_folder(dataset: str, model: str) -> Path:
    return next(folder for n in itertools.count(1) if not (folder := Path("runs") / f"{dataset}-{model}-{n}").exists())
