"""How every verb names a net: NAME, NAME:VARIANT, FILE.py::NET, a run folder, a model file or an ONNX file; --set for
its options.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from minicnn.cli import console

ModelSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the net, such as num_classes=10; may be repeated."),
]
"""The type of a verb's argument for --set KEY=VALUE."""

InputSize = Annotated[
    str,
    typer.Option("--input", metavar="CxHxW", help="Channels, height and width of the image, such as 3x224x224."),
]
"""The type of a verb's argument for --input CxHxW."""

BEST = "best.safetensors"


@dataclass(frozen=True)
class Named:
    """A net from the command line, its weights without values."""

    name: str
    net: Any
    """A Module."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the input images."""
    options: dict[str, Any]
    made_for: tuple[int, ...] = ()
    """The shape that the net was made for, if known."""


def parse(settings: Iterable[str] | None) -> dict[str, Any]:
    """{"aux": True, "width": 0.5} for ["aux=true", "width=0.5"].

    A value is read as a TOML literal: true, 3, 0.5, "text", [1, 2]. Anything else is a string, and so is a variant. A
    usage error (exit code 2) where there is no KEY=VALUE, or where one key is given two values.
    """
    options: dict[str, Any] = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise console.UsageError(f"--set {text!r} must be KEY=VALUE, such as --set num_classes=10")
        if key in options:
            raise console.UsageError(f"--set {key} is given twice: leave one of them out")
        # variants are words, lenet5's 1998 too
        options[key] = value.strip().strip("\"'") if key == "variant" else _literal(value.strip())
    return options


def _literal(text: str) -> Any:
    if "\n" in text:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str, list, dict)) else text  # no option is a date


def of_zoo(model: str, settings: Iterable[str] | dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """("lenet5", {"variant": "1998", "num_classes": 7}) for lenet5:1998 and --set num_classes=7, or a usage error."""
    from minicnn import models

    options = dict(settings) if isinstance(settings, dict) else parse(settings)
    console.choose("model", model.partition(":")[0], models.names())
    with console.usage_errors():
        return models.resolve(model, options)


def find(model: str, settings: Iterable[str] | dict[str, Any] | None = None, input_size: str = "") -> Named:
    """The net that `model` names, built without drawing weights, and the shape of its images; or a usage error."""
    shape = parse_shape(input_size) if input_size else None
    given = settings if isinstance(settings, dict) else parse(settings)
    if "::" in model:
        return _of_user(model, given, shape)
    no_python_file(model)
    from minicnn import models

    if is_file(model):
        return _of_file(model_path(Path(model)), model, given, shape)
    base, options = of_zoo(model, given)
    made_for = models.input_shape(base, options.get("variant", ""))
    shape = shape or (options.get("in_channels", made_for[0]), *made_for[1:])
    return Named(model, _built(base, {"in_channels": shape[0], **options}), shape, options, made_for)


def _of_user(target: str, options: dict[str, Any], shape) -> Named:
    from minicnn.cli import user_file

    if shape is None:
        raise console.UsageError(f"--input is missing: {target} does not define its image size; give channels x "
                                 "height x width, such as --input 3x32x32")
    return Named(target, user_file.net(target, options), shape, options)


def _of_file(path: Path, model: str, options: dict[str, Any], shape) -> Named:
    from minicnn.io import model_file

    if options:
        raise console.UsageError(f"--set is for a net that is built now; the options of the net in {model} are fixed")
    if model_file.is_onnx(path):
        return _of_onnx(path, model, shape)
    about = model_file.description(path)
    made_for = (about.input[0], about.input[1], about.input[2])
    return Named(model, _built(about.model, about.options), shape or made_for, about.options, made_for)


def _of_onnx(path: Path, model: str, shape) -> Named:
    """Any net that is read, also one that is no classifier."""
    from minicnn.io.onnx.read.load import content, image_shape, load

    net = load(path, shape)
    made_for = image_shape(content(path), shape)
    if len(made_for) != 3:
        raise ValueError(f"{model} takes no images (C, H, W), but {list(made_for)}: load it in Python, with "
                         "minicnn.io.onnx.load")
    return Named(model, net, (made_for[0], made_for[1], made_for[2]), {}, made_for)


def loaded(run: str | Path) -> tuple[Any, Any]:
    """(the net, its description) of a run folder, a model file or an ONNX file; of the last what was assumed is said"""
    from minicnn.io import model_file

    path = model_path(Path(run))
    if not model_file.is_onnx(path):
        return model_file.load(path)
    from minicnn.io.onnx.read.classifier import classifier

    found = classifier(path)
    for sentence in found.said:
        console.note(sentence)
    return found.net, found.about


def _built(name: str, options: dict[str, Any]):
    from minicnn import models
    from minicnn.nn import init

    with console.usage_errors(TypeError), init.shapes_only():
        return models.build(name, **options)


def no_python_file(model: str) -> None:
    """A usage error for FILE.py without the name of a net in it."""
    if model.endswith(".py"):
        raise console.UsageError(f"{model} is a Python file: name the net in it, {model}::NET")


def is_file(model: str) -> bool:
    """Whether `model` names a run folder or a file, and no net of the zoo."""
    from minicnn import models

    if model.partition(":")[0] in models.names():
        return False
    return Path(model).exists() or "/" in model or os.sep in model or model.endswith((".safetensors", ".onnx"))


def model_path(run: Path) -> Path:
    """The model file of a run folder, or the model file itself."""
    if run.is_dir():
        if not (run / BEST).is_file():
            raise FileNotFoundError(f"{run} holds no {BEST}, so no trained model: train one with "
                                    f"`minicnn train digits --out {run}`")
        return run / BEST
    if run.is_file():
        return run
    from minicnn import models

    if str(run).partition(":")[0] in models.names():
        raise console.UsageError(f"{run} is a net without weights: name a run folder or a model file")
    if ".py::" in str(run):
        raise console.UsageError(f"{run} is code, and this command needs a file with weights: write your trained net "
                                 "with minicnn.io.onnx.save, and name that file")
    raise FileNotFoundError(f"there is no model file {run}: train one with `minicnn train digits`")


def parse_shape(text: str) -> tuple[int, int, int]:
    """(3, 224, 224) for "3x224x224"."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise console.UsageError(f"--input {text!r} must be channels x height x width, such as 3x224x224")
    return int(parts[0]), int(parts[1]), int(parts[2])
