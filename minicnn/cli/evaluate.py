"""minicnn eval RUN"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from minicnn import data
from minicnn.cli import console
from minicnn.io import model_file
from minicnn.train import plots
from minicnn.train.assess import Assessment, assess
from minicnn.train.config import known_dataset
from minicnn.train.folder import BEST, CONFIG
from minicnn.train.source import SPLITS, preparer, split_of_run, whole_dataset


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model file (.safetensors).")],
    dataset: Annotated[
        str, typer.Option("--data", help="Dataset or folder of pictures; by default what the model was trained on.")
    ] = "",
    split: Annotated[
        str, typer.Option(help=", ".join(SPLITS) + ": of a run's own pictures those that were kept aside then.")
    ] = "test",
    worst: Annotated[int, typer.Option(help="How many of the worst mistakes to name and to draw.", min=0, max=64)] = 12,
    out: Annotated[
        Path | None, typer.Option(help="Folder for confusion.png and worst.png; by default the run folder.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Evaluate a trained model: top-1 and top-5, class by class, confusion matrix, and the mistakes it is surest of."""
    console.choose("split", split, SPLITS)
    try:
        known_dataset("dataset", dataset or "digits")
    except ValueError as problem:
        raise console.UsageError(str(problem)) from None
    model, about = model_file.load(model_path(run))
    classes = about.classes
    if not dataset and (run / CONFIG).is_file():
        splits = split_of_run(run / CONFIG, split)
        name, loader = splits.name, splits.evaluated(chosen := getattr(splits, split))
    else:
        name, chosen = whole_dataset(dataset or about.trained_on, split, about)
        loader = data.Loader(chosen, 64, transform=data.Transform(about.preprocessing))
    model.to(console.device(device))
    result = assess(model, loader, preparer(device), len(classes), chosen.names)
    files = _draw(result, chosen, about, out or (run if run.is_dir() else None), worst)
    named = [_mistake(result, i, classes) for i in result.worst(worst)]
    if as_json:
        return console.print_json({
            "data": name, "split": split, "images": len(chosen), "accuracy": result.accuracy,
            "top5": result.top_accuracy(5), "loss": result.loss, "classes": list(classes),
            "per_class": [result.of_class(k) for k in range(len(classes))], "confusion": result.confusion.tolist(),
            "worst": named, "files": files,
        })  # fmt: skip
    show(result, list(classes), f"{name}, {split}")
    if len(classes) > 5:
        console.out.print(f"the right class is among the first five for {100 * result.top_accuracy(5):.2f} %")
    _per_class(result, list(classes))
    if named:
        console.out.print(f"\nthe {len(named)} mistakes that it was surest of:")
        for m in named:
            mistake = f"{m['truth']} taken for {m['prediction']} ({100 * m['probability']:.1f} %)"
            console.out.print(f"  {m['image']}: {mistake}", markup=False, soft_wrap=True)
    if files:
        console.out.print("\n" + ", ".join(files), markup=False, soft_wrap=True)
    return None


def _mistake(result: Assessment, i, classes) -> dict:
    return {"image": str(result.names[i]), "truth": classes[result.labels[i]], "prediction": classes[result.top[i, 0]],
            "probability": float(result.probabilities[i, 0])}  # fmt: skip


def _draw(result: Assessment, chosen, about, folder: Path | None, count: int) -> list[str]:
    """The two pictures, where there is a folder for them. → their paths"""
    if folder is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plots.confusion(result.confusion, about.classes, folder / "confusion.png")
        files = [str(folder / "confusion.png")]
        if count and len(result.worst(count)):
            plots.mistakes(result, chosen, about, folder / "worst.png", count)
            files.append(str(folder / "worst.png"))
        return files
    except ModuleNotFoundError as missing:
        print(f"no pictures: {missing}", file=sys.stderr)
        return []


def _per_class(result: Assessment, classes: list[str]) -> None:
    table = console.table("class", ">images", ">right", ">recall, %", ">precision, %", "commonest mistake")

    def percent(share):
        return "–" if share is None else f"{100 * share:.1f}"

    for k, name in enumerate(classes):
        of = result.of_class(k)
        if of["images"] or of["precision"] is not None:
            table.add_row(escape(name), str(of["images"]), str(of["right"]), percent(of["recall"]),
                          percent(of["precision"]), "" if of["taken_for"] is None else escape(classes[of["taken_for"]]))
    console.out.print()
    console.show(table)


def show(result, classes: list[str], what: str) -> None:
    """Print an evaluation for people."""
    right, total = int(result.confusion.trace()), int(result.confusion.sum())
    console.out.print(
        f"[bold]{escape(what)}: {100 * result.accuracy:.2f} % right[/] ({right:,} of {total:,} images), "
        f"loss {result.loss:.4f}"
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
        if not (run / BEST).is_file():
            raise FileNotFoundError(
                f"{run} holds no best.safetensors, so no trained model: train one with "
                f"`minicnn train digits --out {run}`"
            )
        return run / BEST
    return run
