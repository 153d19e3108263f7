"""minicnn transfer FOLDER"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from minicnn import data, models
from minicnn.cli import console, training
from minicnn.cli.train import free_folder
from minicnn.io.model_file import description
from minicnn.train import Config
from minicnn.train.adapt import adapt
from minicnn.train.config import read
from minicnn.train.source import NORMALISATIONS

LR, EPOCHS, BATCH = 1e-3, 20, 16


def transfer(
    dataset: Annotated[str, typer.Argument(help="A folder of pictures with a folder a class, or a dataset by name.")],
    weights: Annotated[Path, typer.Option(help="The body's weights: a model file, .safetensors, .npz, .pt or .pth.")],
    model: Annotated[
        str, typer.Option(help="The net that the weights belong to; by default what a model file says.")
    ] = "",
    unfreeze: Annotated[
        str, typer.Option(help="Parts of the body that learn on: layer4, features.9- (from there on), all.")
    ] = "",
    epochs: Annotated[int, typer.Option(help="Epochs that unfrozen parts learn on.")] = EPOCHS,
    lr: Annotated[float, typer.Option(help="The head's learning rate then.")] = LR,
    body_rate: Annotated[
        float, typer.Option(help="The last unfrozen block's learning rate, as a share of --lr.")
    ] = Config.body_rate,
    layer_decay: Annotated[
        float, typer.Option(help="Each earlier block's, as a share of that of the block after it.")
    ] = Config.layer_decay,
    batch_size: Annotated[int, typer.Option(help="Images a step then.")] = BATCH,
    weight_decay: Annotated[float, typer.Option(help="Weight decay then.")] = Config.weight_decay,
    augment: Annotated[
        str, typer.Option(help="Changes to training images then, in words: 'random-resized:0.5 flip'.")
    ] = "random-resized:0.5 flip",
    validation: Annotated[
        float, typer.Option(help="Share of each class kept aside then, to choose the best epoch.")
    ] = 0.15,
    test: Annotated[float, typer.Option(help="Share of each class kept aside to test.")] = 0.3,
    fit: Annotated[
        str, typer.Option(help="How a picture fits the net: stretch and pad keep all of it, crop cuts the middle out.")
    ] = "stretch",
    size: Annotated[int, typer.Option(help="Side of the image; 0: as large as the net was made for.")] = 0,
    preprocess: Annotated[
        str, typer.Option(help=f"What the body's pictures went through: {', '.join(NORMALISATIONS)}. auto: as a model "
                               "file says, or as cross-validation on the training pictures finds best.")
    ] = "auto",
    class_weights: Annotated[
        str, typer.Option(help="balanced: rare classes count more.")
    ] = Config.class_weights,
    seed: Annotated[int, typer.Option(help="Decides what is kept aside, and all else that is drawn.")] = Config.seed,
    device: Annotated[str, typer.Option(help="cpu or auto.")] = Config.device,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/DATA-MODEL-1, -2, …")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document at the end, and nothing else.")
    ] = False,
):
    """Make a net that learned elsewhere tell your classes apart: a new head, on a body that stays or learns on slowly.

    The body's features of each picture, and of its mirror image, are computed once; the head is the best linear
    classifier of them, its strength chosen by cross-validation. With --unfreeze parts of the body learn on from there.

    The trap: batch norm in training mode would forget in a few batches what it knows of a million pictures, even at a
    learning rate of 0. Its statistics stay frozen here.
    """
    started = time.perf_counter()
    try:
        model = model or description(weights).model
    except (ValueError, OSError):
        raise console.UsageError(f"--model is missing, and {weights} does not say what net it belongs to") from None
    console.choose("model", model, models.names())
    if preprocess != "auto":
        console.choose("preprocessing", preprocess, NORMALISATIONS)
    try:
        config = read({
            "dataset": dataset, "model": model, "weights": str(weights), "unfreeze": unfreeze, "epochs": epochs,
            "lr": lr, "body_rate": body_rate, "layer_decay": layer_decay, "batch_size": batch_size,
            "weight_decay": weight_decay,
            "augment": augment, "validation": validation if unfreeze else 0.0, "test": test, "fit": fit, "size": size,
            "class_weights": class_weights, "seed": seed, "device": device,
        })  # fmt: skip
    except ValueError as problem:
        raise console.UsageError(str(problem)) from None
    name = dataset if dataset in data.names() else Path(dataset).resolve().name
    with console.progress(as_json) as progress:
        bar = progress.add_task("", loss="")

        def on_batch(what, done, all_):
            progress.update(bar, description=what, completed=done, total=all_)

        run = adapt(config, out or free_folder(name, model), normalisation=preprocess, overwrite=overwrite,
                    on_batch=on_batch)
    head = json.loads((run.folder / "head.json").read_text())
    head["seconds"] = time.perf_counter() - started
    if not as_json:
        say(head)
    training.go(run, as_json, {"head": head})


def say(head: dict) -> None:
    """What was found, for people."""
    console.say(f"{head['features']} features of {head['pictures']:,} pictures in {head['views']} views, computed once "
                f"({head['seconds']:.1f} s); normalised as for {head['normalisation']}", markup=False)
    table = console.table(">λ", ">loss", ">right, %")
    for tried in head["tried"]:
        mark = "[bold]" if tried["lambda"] == head["lambda"] else ""
        cells = f"{tried['lambda']:g}", f"{tried['loss']:.4f}", f"{100 * tried['accuracy']:.2f}"
        table.add_row(*(mark + cell for cell in cells))
    console.show(table)
    console.say(f"the head {head['head']} is solved with λ = {head['lambda']:g}: {100 * head['accuracy']:.2f} % right "
                "in cross-validation on the training pictures", markup=False)
    if len(head["learns"]) > 2:
        console.say(f"now {len(head['learns'])} parameters learn on: {head['learns'][0]} to {head['learns'][-1]}; the "
                    "statistics of batch norm stay", markup=False)
