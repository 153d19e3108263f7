"""minicnn predict RUN images…"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from minicnn.cli import console
from minicnn.cli.evaluate import model_path
from minicnn.io import model_file
from minicnn.ops.softmax import softmax
from minicnn.tensor import no_grad
from minicnn.train.source import preparer


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, or a model file (.safetensors).")],
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 5,
    invert: Annotated[
        bool, typer.Option(help="Swap dark and bright first: for ink on paper, when the model knows chalk on slate.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
):
    """Say what is in a picture: the likeliest classes, with their softmax probabilities as bars."""
    model, about = model_file.load(model_path(run))
    model.to(console.device(device))
    preprocessing, prepare = about.preprocessing, preparer(device)
    answers = []
    for path in images:
        image = preprocessing.read(path)
        bright = not invert and _paper(image) and about.trained_on in ("digits", "mnist")
        probabilities = classify(model, prepare(preprocessing.normalise((255 - image if invert else image)[None])))
        order = np.argsort(-probabilities, kind="stable")[:top]
        answers.append(
            {
                "image": str(path),
                "classes": [
                    {"index": int(i), "class": about.classes[i], "probability": float(probabilities[i])} for i in order
                ],
            }
        )
        if not as_json:
            console.out.print(f"[bold]{escape(f'{path}: {about.classes[order[0]]}')}[/]", soft_wrap=True)
            for line in console.bars([_short(about.classes[i]) for i in order], probabilities[order]):
                console.out.print(line, markup=False)
            if bright:
                console.out.print(
                    "  the picture's edge is bright, and this model knows bright digits on black: try --invert"
                )
    if as_json:
        console.print_json(answers)


def _short(name: str) -> str:
    """A class's first name, of 30 letters at most: ImageNet's have up to eight."""
    first = name.split(",")[0]
    return first if len(first) <= 30 else first[:29] + "…"


def classify(model, x) -> np.ndarray:
    """One image, as the model takes it, (1,C,H,W) → probabilities (K,)"""
    with no_grad():
        return softmax(model.eval()(x)).numpy()[0]


def _paper(image):
    edge = np.concatenate([image[:, 0].ravel(), image[:, -1].ravel(), image[:, :, 0].ravel(), image[:, :, -1].ravel()])
    return edge.mean() > 127
