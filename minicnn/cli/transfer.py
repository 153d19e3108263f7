"""minicnn transfer FOLDER"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import foreign
from minicnn.cli import console, run_report
from minicnn.cli.settings import given, with_settings
from minicnn.data import NORMALISATIONS
from minicnn.io.model_file import description, is_onnx
from minicnn.train.config_files import from_toml, read
from minicnn.train.transfer import transfer as solve_head

DEFAULTS = {"epochs": 20, "batch_size": 16, "lr": 1e-3, "validation": 0.15, "test": 0.3, "fit": "stretch",
            "augment": "random-resized:0.5 flip"}  # fmt: skip
"""Settings whose default differs from that of `minicnn train`."""


@with_settings("transfer", **DEFAULTS)
def transfer(
    dataset: Annotated[
        str, typer.Argument(help="A folder of pictures with a folder for each class, or a dataset by name.")
    ],
    weights: Annotated[
        Path | None, typer.Option(help="The body's weights: a model file, an ONNX file, .safetensors, .npz, .pt or "
                                       ".pth; by default --model, where that is a file.")
    ] = None,
    preprocess: Annotated[
        str, typer.Option(help=f"The body's normalisation: {', '.join(NORMALISATIONS)}. auto: that of a model file, or "
                               "the best in cross-validation on the training pictures.")
    ] = "auto",
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; options on the command line override it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder, by default runs/DATA-MODEL-1, -2, …")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only one JSON document, at the end.")
    ] = False,
    **settings: Any,
):
    """Adapt a net that was trained elsewhere to your classes: a new head on a fixed or slowly trained body.

    The body's features of each picture, and of its mirror image, are computed once; the head is the best linear
    classifier of them, with a weight decay chosen by cross-validation. With --unfreeze parts of the body are trained
    from there.

    Batch norm in training mode would replace its statistics of a million pictures by those of a few batches, even at a
    learning rate of 0. So they stay frozen.
    """
    console.one_rank("minicnn transfer")
    started = time.perf_counter()
    values = {**DEFAULTS, **(from_toml(config) if config else {}), **given(settings), "dataset": dataset}
    named = str(values.get("model", ""))
    if is_onnx(named) or named.endswith(".safetensors"):   # --model names a file, which says what its net is
        del values["model"]
        weights = weights or Path(named)
    if weights is None:
        raise console.UsageError("--weights is missing: name a file with the body's weights, such as the .pth "
                                 "file of torchvision's squeezenet1_1, or best.safetensors of another run")  # fmt: skip
    values["weights"] = str(weights)
    if "model" not in values:
        values["model"], options = _model_of(Path(named or weights))
        values["options"] = {**options, **values.get("options", {})}
    if not values.get("unfreeze"):
        values["validation"] = 0.0
    if preprocess != "auto":
        console.choose("preprocessing", preprocess, NORMALISATIONS)
    with console.usage_errors():
        chosen = read(values)
    with console.progress(as_json) as progress:
        bar = progress.add_task("", loss="")

        def on_batch(what, done, all_):
            progress.update(bar, description=what, completed=done, total=all_)

        run = solve_head(chosen, out, normalisation=preprocess, overwrite=overwrite, on_batch=on_batch)
    head = json.loads((run.folder / "head.json").read_text())
    head["seconds"] = time.perf_counter() - started
    if not as_json:
        say(head)
    run_report.go(run, as_json, {"head": head})


def _model_of(weights: Path) -> tuple[str, dict[str, Any]]:
    """The net that a model file names, and its options apart from its classes; a usage error for other files."""
    try:
        about = description(weights)
    except (ValueError, OSError):
        if is_onnx(weights):
            raise
        raise console.UsageError(f"--model is missing, and {weights} does not name its net") from None
    return about.model, {k: v for k, v in about.options.items() if k not in ("num_classes", "in_channels")}


def _normalisation(head: dict) -> str:
    """The name of the normalisation; of one that has none, the weights file and its numbers."""
    found = head["normalisation"]
    if isinstance(found, str):
        return found
    mean, std = found
    for name, known in NORMALISATIONS.items():
        if (list(known[0][:len(mean)]), list(known[1][:len(std)])) == (list(mean), list(std)):
            return name
    numbers = " ".join(f"{m:g}" for m in mean), " ".join(f"{s:g}" for s in std)
    return f"{foreign.terminal(Path(head['weights']).name)} (mean {numbers[0]}, std {numbers[1]})"


def say(head: dict) -> None:
    """Print how the head was solved."""
    console.say(f"{head['features']} features of {head['pictures']:,} pictures in {head['views']} views, computed once "
                f"({head['seconds']:.1f} s); normalised as for {_normalisation(head)}", markup=False)
    if head.get("prefix"):
        console.say(f"the prefix {foreign.terminal(head['prefix'])} was taken off the names in the file", markup=False)
    table = console.table(">λ", ">loss", ">right, %")
    for tried in head["tried"]:
        mark = "[bold]" if tried["lambda"] == head["lambda"] else ""
        cells = f"{tried['lambda']:g}", f"{tried['loss']:.4f}", f"{100 * tried['accuracy']:.2f}"
        table.add_row(*(mark + cell for cell in cells))
    console.show(table)
    console.say(f"the head {head['head']} is solved with λ = {head['lambda']:g}: {100 * head['accuracy']:.2f} % right "
                "in cross-validation on the training pictures", markup=False)
    if len(head["learns"]) > 2:
        console.say(f"now {len(head['learns'])} parameters are trained: {head['learns'][0]} to {head['learns'][-1]}; "
                    "the statistics of batch norm stay frozen", markup=False)
