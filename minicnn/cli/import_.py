"""minicnn import MODEL WEIGHTS"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from minicnn import models
from minicnn.cli import console
from minicnn.data import NORMALISATIONS
from minicnn.io import model_file
from minicnn.io.weights import load_into
from minicnn.nn import Module

PREPROCESSING = {name: (*numbers, 0 if name == "none" else 256) for name, numbers in NORMALISATIONS.items()}
"""What pictures go through: mean and deviation, and the shorter side for 224 pixels."""


def import_(
    model: Annotated[str, typer.Argument(help="The net that the weights belong to.")],
    weights: Annotated[Path, typer.Argument(help="A .safetensors, .npz, .pt or .pth file with PyTorch's names.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="Class names: a JSON list, a JSON object by index, or a line each.")
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes, where there are no labels.", min=1)] = 1000,
    variant: Annotated[str, typer.Option(help="The model's variant.")] = "",
    preprocess: Annotated[
        str, typer.Option(help=", ".join(PREPROCESSING) + ": what is done to pictures.")
    ] = "imagenet",
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave a part of the file out, such as aux1; may be said several times.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
):
    """Make a model file of somebody else's weights, for `minicnn predict`. PyTorch is not needed."""
    console.choose("model", model, models.names())
    console.choose("preprocessing", preprocess, PREPROCESSING)
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} is there already and stays as it is: choose another --out, or say --overwrite")
    if out.is_dir() or not out.parent.is_dir():
        raise console.UsageError(f"--out {out} must be a file in a folder that is there")
    net, about = assemble(model, weights, labels, classes, variant, preprocess, skip or ())
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        model_file.save(draft, net, about)
        model_file.load(draft)  # what was written can be read, and fits; only then it takes the name
        draft.replace(out)
    size = sum(p.size for p in net.parameters())
    console.say(f"{out}: {model}, {size:,} parameters, {len(about.classes):,} classes", markup=False)


def assemble(
    model: str, weights: Path, labels: Path | None, classes: int, variant: str, preprocess: str,
    skip: Sequence[str] = (),
) -> tuple[Module, model_file.Description]:  # fmt: skip
    """A net with somebody's weights in it, and what they mean; a sentence where they do not fit."""
    mean, std, resize = PREPROCESSING[console.choose("preprocessing", preprocess, PREPROCESSING)]
    names = _labels(labels) if labels else [str(i) for i in range(classes)]
    options: dict = {"num_classes": len(names), **({"variant": variant} if variant else {})}
    shape = models.input_shape(model, variant)
    try:
        net = models.build(model, **options)
    except ValueError as problem:
        raise console.UsageError(str(problem)) from None
    report = load_into(net, weights, strict=False, skip=skip)
    if not report.ok:
        raise ValueError(f"{weights} does not fit {model} with {len(names)} classes ({report}): another --variant, "
                         "--classes or --labels may, or --skip for parts that only the file has")  # fmt: skip
    C, side = shape[0], shape[1]
    short = max(side, round(resize * side / 224)) if resize else 0
    return net, model_file.Description(model, options, names, list(shape), list(mean[:C]), list(std[:C]), short)


def _labels(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of labels {path}: check the name and the folder")
    try:
        text = path.read_text(encoding="utf-8").rstrip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8, so it holds no class names") from None
    try:
        given = json.loads(text)
    except json.JSONDecodeError:
        given = text.splitlines()
    if isinstance(given, dict):
        try:
            given = [given[str(i)] for i in range(len(given))]
        except KeyError as missing:
            raise ValueError(
                f"{path} has no label for class {missing}: its keys must be 0 to {len(given) - 1}"
            ) from None
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{path} must hold class names: a JSON list, a JSON object by index, or a line each")
    return given
