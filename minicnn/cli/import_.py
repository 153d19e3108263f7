"""minicnn import MODEL WEIGHTS"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import models
from minicnn.cli import console
from minicnn.cli.model_name import ModelSettings, of_zoo
from minicnn.data import NORMALISATIONS
from minicnn.io import model_file
from minicnn.io.weights import load_into
from minicnn.nn import Module

PREPROCESSING = {name: (*numbers, 0 if name == "none" else 256) for name, numbers in NORMALISATIONS.items()}
"""Normalisations: mean and standard deviation, and the shorter side for 224 pixels."""


def import_(
    model: Annotated[str, typer.Argument(help="The net that the weights belong to: NAME or NAME:VARIANT.")],
    weights: Annotated[Path, typer.Argument(help="A .safetensors, .npz, .pt or .pth file with PyTorch's names.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="Class names: a JSON list, a JSON object by index, or one per line.")
    ] = None,
    settings: ModelSettings = None,
    preprocess: Annotated[
        str, typer.Option(help="How pictures are normalised: " + ", ".join(PREPROCESSING) + ".")
    ] = "imagenet",
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave a part of the file out, such as aux1; may be repeated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
):
    """Make a model file from PyTorch's weights, for `minicnn predict`. PyTorch is not needed."""
    base, options = of_zoo(model, settings)
    console.choose("preprocessing", preprocess, PREPROCESSING)
    console.check_out(out, (), overwrite=overwrite)
    net, about = assemble(base, weights, labels, options, preprocess, skip or ())
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        model_file.save(draft, net, about)
        model_file.load(draft)  # the file gets its name only after a test read
        draft.replace(out)
    size = sum(p.size for p in net.parameters())
    console.say(f"{out}: {model}, {size:,} parameters, {console.count(len(about.classes), 'class', 'classes')}",
                markup=False)


def assemble(
    model: str, weights: Path, labels: Path | None, options: dict[str, Any], preprocess: str,
    skip: Sequence[str] = (),
) -> tuple[Module, model_file.Description]:  # fmt: skip
    """A net of the zoo with weights from a file, and their description; ValueError where they do not fit.

    The number of classes is that of the labels, or the option num_classes, or 1000.
    """
    mean, std, resize = PREPROCESSING[console.choose("preprocessing", preprocess, PREPROCESSING)]
    names = _labels(labels) if labels else [str(i) for i in range(_classes(options))]
    if labels and options.get("num_classes", len(names)) != len(names):
        raise console.UsageError(f"--set num_classes={options['num_classes']} contradicts {labels}, which has "
                                 f"{len(names)} labels: leave it out")  # fmt: skip
    options = {**options, "num_classes": len(names)}
    shape = models.input_shape(model, options.get("variant", ""))
    with console.usage_errors():
        net = models.build(model, **options)
    report = load_into(net, weights, strict=False, skip=skip)
    if not report.ok:
        raise ValueError(f"{weights} does not fit {model} with {console.count(len(names), 'class', 'classes')} "
                         f"({report}): try another variant (NAME:VARIANT), --set num_classes=N or --labels, or --skip "
                         "for parts that only the file has")  # fmt: skip
    C, side = shape[0], shape[1]
    short = max(side, round(resize * side / 224)) if resize else 0
    return net, model_file.Description(model, options, names, list(shape), list(mean[:C]), list(std[:C]), short)


def _classes(options: dict[str, Any]) -> int:
    count = options.get("num_classes", 1000)
    if type(count) is not int or count < 1:
        raise console.UsageError(f"--set num_classes={count} must be a whole number of at least 1")
    return count


def _labels(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no label file {path}: check the name and the folder")
    try:
        text = path.read_text(encoding="utf-8").rstrip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8, so it holds no class names") from None
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
        raise ValueError(f"{path} must hold class names: a JSON list, a JSON object by index, or one per line")
    return given
