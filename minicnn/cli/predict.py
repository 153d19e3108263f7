"""minicnn predict RUN images…"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import foreign
from minicnn.cli import console
from minicnn.cli.model_name import loaded


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, a model file (.safetensors), or an ONNX file.")],
    images: Annotated[list[str], typer.Argument(help="Picture files, folders of them, or - for standard input.")],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 5,
    invert: Annotated[
        bool, typer.Option("--invert", help="Swap dark and bright: for ink on paper if the model expects bright ink.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda:0 or auto.")] = "auto",
    as_json: console.Json = False,
):
    """Classify pictures: the most probable classes, with their softmax probabilities as bars."""
    from minicnn.plan import classify, predictor
    from minicnn.train.source import preparer

    model, about = loaded(run)
    model.to(console.device(device))
    preprocessing, prepare = about.preprocessing, preparer(device)
    answers: list[dict[str, Any]] = []
    problems: list[str] = []
    sources = _sources(images)
    answer = predictor(model, len(sources))
    for name, source in console.track(sources, "classifying", as_json or len(sources) < 2):
        try:
            image = preprocessing.read(source)
        except (OSError, ValueError) as problem:           # one bad file must not stop the others
            problems.append(str(problem))
            continue
        bright = not invert and about.looks_inverted(image)
        probabilities = classify(answer, prepare(preprocessing.normalise((255 - image if invert else image)[None])))
        order = (-probabilities).argsort(kind="stable")[:top]
        answers.append({"image": name, "classes": [
            {"index": int(i), "class": about.classes[i], "probability": float(probabilities[i])} for i in order]})
        if not as_json:
            _show(name, [about.classes[i] for i in order], probabilities[order], bright)
    if as_json and answers:
        console.print_json(answers)
    if problems:
        for sentence in problems:
            console.fail(sentence, 1)
        raise typer.Exit(1)


def _sources(names: Iterable[str]) -> list[tuple[str, Any]]:
    """(name, source) for each picture: a file, the files of a folder, or standard input."""
    from minicnn.data.decode import SUFFIXES, Packed
    from minicnn.data.folder import left_out

    found: list[tuple[str, Any]] = []
    for name in names:
        if name == "-":
            found.append((name, Packed("standard input", sys.stdin.buffer.read())))
        elif Path(name).is_dir():
            files = sorted(p for p in Path(name).rglob("*") if p.is_file() and not p.name.startswith("."))
            inside = [path for path in files if path.suffix.lower() in SUFFIXES]
            for note in left_out(str(path) for path in files if path not in set(inside)):
                console.note(f"{name}: {note}")
            if not inside:
                raise FileNotFoundError(f"the folder {name} holds no pictures ({', '.join(SUFFIXES)})")
            found += [(str(path), path) for path in inside]
        else:
            found.append((name, Path(name)))
    return found


def _show(name: str, classes: list[str], probabilities, bright: bool) -> None:
    console.out.print(f"[bold]{console.escape(f'{name}: {classes[0]}')}[/]", soft_wrap=True)
    for line in console.bars([_short(name) for name in classes], probabilities):
        console.out.print(line, markup=False, soft_wrap=True)
    if bright:
        console.say("  The edge of the picture is bright, but this model expects bright digits on black: try --invert")


def _short(name: str) -> str:
    """The first of a class's names, at most 30 letters of it: ImageNet's classes have up to eight."""
    first = foreign.terminal(name.split(",")[0])
    return first if len(first) <= 30 else first[:29] + "…"
