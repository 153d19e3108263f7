"""minicnn eval RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from minicnn import data
from minicnn.cli import console
from minicnn.io import model_file
from minicnn.train import evaluate as run_evaluation
from minicnn.train.run import preparer


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model file (.safetensors).")],
    dataset: Annotated[
        str, typer.Option("--data", help="Dataset; by default the one that the model was trained on.")
    ] = "",
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    device: Annotated[str, typer.Option(help="cpu or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Evaluate a trained model: accuracy, loss, confusion matrix, commonest mistakes."""
    console.choose("split", split, ("test", "train"))
    model, about = model_file.load(model_path(run))
    name = console.choose("dataset", dataset or about.trained_on, data.names())
    bundle = data.load(name)
    images = getattr(bundle, split)
    if list(images.images.shape[1:]) != about.input or len(bundle.classes) != len(about.classes):
        raise ValueError(
            f"{name} has {len(bundle.classes)} classes of {images.images.shape[1:]} images, but the model takes "
            f"{tuple(about.input)} and tells {len(about.classes)} classes apart: choose another --data"
        )
    model.to(console.device(device))
    result = run_evaluation(
        model, data.Batches(images, 500, shuffle=False), preparer(about.mean, about.std, device), len(about.classes)
    )
    if as_json:
        return console.print_json(
            {
                "data": name,
                "split": split,
                "images": len(images),
                "accuracy": result.accuracy,
                "loss": result.loss,
                "classes": list(bundle.classes),
                "confusion": result.confusion.tolist(),
            }
        )
    show(result, list(bundle.classes), f"{name}, {split}")


def show(result, classes: list[str], what: str) -> None:
    """Print an evaluation for people."""
    right, total = int(result.confusion.trace()), int(result.confusion.sum())
    console.out.print(
        f"[bold]{what}: {100 * result.accuracy:.2f} % right[/] ({right:,} of {total:,} images), loss {result.loss:.4f}"
    )
    if len(classes) <= 12:
        short = [c[:7] for c in classes]
        table = console.table("truth \\ prediction", *(f">{escape(c)}" for c in short))
        for truth, counts in enumerate(result.confusion):
            table.add_row(
                escape(classes[truth]),
                *(f"[bold]{n}[/]" if truth == i else f"{n}" if n else "·" for i, n in enumerate(counts)),
            )
        console.show(table)
    mistakes = [f"{classes[t]} taken for {classes[p]} ({n})" for t, p, n in result.worst_pairs()]
    if mistakes:
        console.out.print(f"commonest mistakes: {', '.join(mistakes)}", markup=False)


def model_path(run: Path) -> Path:
    """The model file of a run folder; a model file itself stays what it is."""
    if run.is_dir():
        if not (run / "best.safetensors").is_file():
            raise FileNotFoundError(
                f"{run} holds no best.safetensors, so no trained model: train one with "
                f"`minicnn train digits --out {run}`"
            )
        return run / "best.safetensors"
    return run
