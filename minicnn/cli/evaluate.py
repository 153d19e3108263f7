"""minicnn eval RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minicnn import data, foreign
from minicnn.cli import console
from minicnn.cli.model_name import loaded
from minicnn.train import plots
from minicnn.train.assess import Assessment, assess
from minicnn.train.config import known_dataset
from minicnn.train.folder import CONFIG
from minicnn.train.source import SPLITS, preparer, split_of_run, whole_dataset


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, a model file (.safetensors), or an ONNX file.")],
    dataset: Annotated[
        str, typer.Option("--data", help="A dataset or a folder of pictures; by default the model's training data.")
    ] = "",
    split: Annotated[
        str, typer.Option(help="Which part of the pictures: " + ", ".join(SPLITS) + ".")
    ] = "test",
    worst: Annotated[int, typer.Option(help="How many of the worst mistakes to list and to draw.", min=0, max=64)] = 12,
    out: Annotated[
        Path | None, typer.Option(help="Folder for confusion.png and worst.png; by default the run folder.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda:0 or auto.")] = "auto",
    as_json: console.Json = False,
):
    """Evaluate a trained model: top-1 and top-5, class by class, confusion matrix, and its most confident mistakes."""
    console.choose("split", split, SPLITS)
    with console.usage_errors():
        known_dataset("dataset", dataset or "digits")
    model, about = loaded(run)
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
        console.out.print(f"top-5 accuracy: {100 * result.top_accuracy(5):.2f} %")
    _per_class(result, list(classes))
    if named:
        console.out.print(f"\nmost confident mistakes ({len(named)}):")
        for m in named:
            mistake = f"{m['image']}: {m['truth']} taken for {m['prediction']} ({100 * m['probability']:.1f} %)"
            console.say(f"  {foreign.terminal(mistake)}", markup=False)
    if files:
        console.say("\npictures: " + foreign.terminal(", ".join(files)), markup=False)
    return None


def _mistake(result: Assessment, i, classes) -> dict:
    return {"image": str(result.names[i]), "truth": classes[result.labels[i]], "prediction": classes[result.top[i, 0]],
            "probability": float(result.probabilities[i, 0])}  # fmt: skip


def _draw(result: Assessment, chosen, about, folder: Path | None, count: int) -> list[str]:
    """Draw the confusion matrix and the worst mistakes into `folder`, if there is one. → their paths"""
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
        console.note(f"no pictures: {missing}")
        return []


def _per_class(result: Assessment, classes: list[str]) -> None:
    table = console.table("class", ">images", ">right", ">recall, %", ">precision, %", "most common mistake")

    def percent(share):
        return "–" if share is None else f"{100 * share:.1f}"

    for k, name in enumerate(classes):
        of = result.of_class(k)
        if of["images"] or of["precision"] is not None:
            mistake = "" if of["taken_for"] is None else console.escape(classes[of["taken_for"]])
            table.add_row(console.escape(name), str(of["images"]), str(of["right"]), percent(of["recall"]),
                          percent(of["precision"]), mistake)  # fmt: skip
    console.out.print()
    console.show(table, ("most common mistake", "right"))


def show(result, classes: list[str], what: str) -> None:
    """Print an evaluation."""
    right, total = int(result.confusion.trace()), int(result.confusion.sum())
    console.say(f"[bold]{console.escape(what)}: {100 * result.accuracy:.2f} % right[/] ({right:,} of "
                f"{console.count(total, 'image')}), loss {result.loss:.4f}")
    if len(classes) <= 12:
        short = [c[:7] for c in classes]
        table = console.table("truth \\ prediction", *(f">{console.escape(c)}" for c in short))
        for truth, counts in enumerate(result.confusion):
            table.add_row(
                console.escape(classes[truth]),
                *(f"[bold]{n}[/]" if truth == i else f"{n}" if n else "·" for i, n in enumerate(counts)),
            )
        console.show(table)
    mistakes = [f"{classes[t]} taken for {classes[p]} ({n})" for t, p, n in result.worst_pairs()]
    if mistakes:
        console.say(foreign.terminal(f"most common mistakes: {', '.join(mistakes)}"), markup=False)
