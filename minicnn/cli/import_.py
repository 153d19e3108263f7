"""minicnn import MODEL WEIGHTS, minicnn import NET.onnx"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn import atomic, foreign, models
from minicnn.cli import console
from minicnn.cli.model_name import InputSize, ModelSettings, of_zoo, parse_shape
from minicnn.data import NORMALISATIONS, imagenet
from minicnn.data.preprocessing import Preprocessing
from minicnn.io import model_file, normalisation
from minicnn.io.weights import fit, load_into
from minicnn.names import MAX_CLASSES
from minicnn.nn import Module, init

AUTO, IMAGENET = "auto", 1000
MAX_LABELS = 2**24
"""Bytes of a file of class names."""
OWN = {"googlenet": "inception", "inception_v3": "inception"}
"""Nets whose published weights have another normalisation than ImageNet's usual one."""

PREPROCESSING = {name: (*numbers, 0 if name == "none" else 256) for name, numbers in NORMALISATIONS.items()}
"""Normalisations: mean and standard deviation, and the shorter side for 224 pixels."""


def prepared(shape: tuple[int, ...], preprocess: str) -> Preprocessing:
    """The preprocessing of a net that has none of its own, for images of a shape (C,H,W); auto: ImageNet's."""
    C, H, W = shape
    if C not in (1, 3):
        raise console.UsageError(f"pictures are grey (1 channel) or RGB (3), and this net takes {C} channels")
    mean, std, _ = PREPROCESSING["imagenet" if preprocess == AUTO else preprocess]
    return Preprocessing((H, W), tuple(mean[:C]), tuple(std[:C]), channels=C)


def import_(
    model: Annotated[
        str, typer.Argument(help="An ONNX file, or the net that the weights belong to: NAME or NAME:VARIANT.")
    ],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    weights: Annotated[
        Path | None, typer.Argument(help="A .safetensors, .npz, .pt or .pth file with PyTorch's names; none with an "
                                         "ONNX file, which holds them.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Class names: a JSON list, a JSON object by index, or one per line.")
    ] = None,
    settings: ModelSettings = None,
    input_size: InputSize = "",
    as_python: Annotated[
        Path | None, typer.Option(help="ONNX: also write the net as Python code, a net of your own: FILE.py::Net.")
    ] = None,
    preprocess: Annotated[
        str, typer.Option(help="How pictures are normalised: " + ", ".join(PREPROCESSING) + "; auto: Caffe's way, or "
                               "the usual one, by the size of the scores.")
    ] = AUTO,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave a part of the file out, such as aux1; may be repeated.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Use only the arrays below this prefix, such as model.; by default it is found.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
):
    """Make a model file from PyTorch's weights, or from an ONNX file with its own net, for `minicnn predict`.

    Neither PyTorch nor onnxruntime is needed.
    """
    console.choose("preprocessing", preprocess, (AUTO, *PREPROCESSING))
    console.check_out(out, (), overwrite=overwrite)
    if model_file.is_onnx(model):
        if weights or settings or skip or prefix is not None:
            raise console.UsageError(f"{model} holds its own weights and settings: leave out WEIGHTS, --set, --skip "
                                     "and --prefix")
        net, about, said = _of_onnx(Path(model), labels, input_size, preprocess)
    else:
        base, options = of_zoo(model, settings)
        if weights is None:
            raise console.UsageError(f"WEIGHTS is missing: name the file with the weights of {model}")
        if as_python or input_size:
            raise console.UsageError(f"{'--as-python' if as_python else '--input'} is for an ONNX file, and {model} is "
                                     "a net of the zoo")
        net, about, said = assemble(base, weights, labels, options, preprocess, skip or (), prefix)
    if as_python:
        said.append(_write_python(net, out, as_python, overwrite))
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        model_file.save(draft, net, about)
        model_file.load(draft)  # the file gets its name only after a test read
        draft.replace(out)
    size = sum(p.size for p in net.parameters())
    console.say(f"{out}: {model}, {size:,} parameters, {console.count(len(about.classes), 'class', 'classes')}",
                markup=False)
    for sentence in said:
        console.say(sentence, markup=False)


def _of_onnx(path: Path, labels: Path | None, input_size: str,
             preprocess: str) -> tuple[Module, model_file.Description, list[str]]:  # fmt: skip
    from minicnn.io.onnx.read.classifier import classifier

    shape = parse_shape(input_size) if input_size else None
    names = _labels(labels) if labels else None
    found = classifier(path, shape, names, preprocess)
    return found.net, found.about, found.said


def _write_python(net: Any, weights: Path, out: Path, overwrite: bool) -> str:
    """Write the net's code. → a sentence"""
    from minicnn.models.graph_source import source

    console.check_out(out, (".py",), "--as-python", overwrite)
    atomic.write(out, source(net, weights.name, out.name).encode())
    return f"{out}: the same net as Python code; `minicnn lab {out}::Net --weights {weights}` uses it"


def assemble(
    model: str, weights: Path, labels: Path | None, options: dict[str, Any], preprocess: str = AUTO,
    skip: Sequence[str] = (), prefix: str | None = None,
) -> tuple[Module, model_file.Description, list[str]]:  # fmt: skip
    """A net of the zoo with weights from a file, their description, and sentences about what was assumed.

    ValueError where they do not fit. The number of classes is that of the labels, or the option num_classes, or 1000.
    """
    console.choose("preprocessing", preprocess, (AUTO, *PREPROCESSING))
    names = _labels(labels) if labels else [str(i) for i in range(_classes(options))]
    if labels and options.get("num_classes", len(names)) != len(names):
        raise console.UsageError(f"--set num_classes={options['num_classes']} contradicts {labels}, which has "
                                 f"{len(names)} labels: leave it out")  # fmt: skip
    options = {**options, "num_classes": len(names)}
    shape = models.input_shape(model, options.get("variant", ""))
    shape = (options.get("in_channels", shape[0]), *shape[1:])
    said = []
    with console.usage_errors(), init.shapes_only():       # a net that the file does not fit is never built
        empty = models.build(model, **options)
    report = fit(empty, weights, skip=skip, prefix=prefix)
    if not report.ok:
        raise ValueError(f"{weights} does not fit {model} with {console.count(len(names), 'class', 'classes')} "
                         f"({report}): try another variant (NAME:VARIANT), --set num_classes=N or --labels, or "
                         "--skip for parts that only the file has, or --prefix")  # fmt: skip
    net = models.build(model, **options)
    load_into(net, weights, skip=skip, prefix=prefix)
    if report.prefix:
        said.append(f"the prefix {foreign.terminal(report.prefix)} was taken off the names in the file")
    if preprocess == AUTO:
        preprocess, sentence = _normalisation(model, net, shape)
        said.append(sentence)
    if not labels and len(names) == IMAGENET and shape[0] == 3:
        names = list(imagenet.labels().values())
        said.append("classes: the names of ImageNet's 1000, in its order (--labels FILE for others)")
    mean, std, resize = PREPROCESSING[preprocess]
    C, side = shape[0], shape[1]
    short = max(side, round(resize * side / 224)) if resize else 0
    about = model_file.Description(model, options, names, list(shape), list(mean[:C]), list(std[:C]), short)
    return net, about, said


def _normalisation(model: str, net: Module, shape: tuple[int, int, int]) -> tuple[str, str]:
    """(the normalisation of the weights, a sentence about it)"""
    usual = OWN.get(model, "imagenet")
    if shape[0] != 3:
        return usual, f"normalisation: {usual}, the default (--preprocess NAME for another)"
    found, spread = normalisation.detect(net, shape, usual)
    other = usual if found == "caffe" else "caffe"
    return found, (f"normalisation: {found}, with which the scores of pictures differ by {spread[found]:.2g}, and with "
                   f"{other} by {spread[other]:.2g}; trained nets have about 2 (--preprocess NAME for another)")


def _classes(options: dict[str, Any]) -> int:
    count = options.get("num_classes", 1000)
    if type(count) is not int or not 1 <= count <= MAX_CLASSES:
        raise console.UsageError(f"--set num_classes={count} must be a whole number from 1 to {MAX_CLASSES:,}")
    return count


def _labels(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no label file {path}: check the name and the folder")
    if path.stat().st_size > MAX_LABELS:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, and a file of class names may have {MAX_LABELS}: it "
                         "is another file")
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8, so it holds no class names") from None
    try:
        given = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
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
    if len(given) > MAX_CLASSES:
        raise ValueError(f"{path} has {len(given):,} class names, and there may be at most {MAX_CLASSES:,}")
    return given
