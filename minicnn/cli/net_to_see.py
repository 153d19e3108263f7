"""The net that `lab`, `explain` and `visualize` look into: of a run or a file, of the zoo, or FILE.py::NET."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minicnn import models
from minicnn.cli import console, user_file
from minicnn.cli.import_ import AUTO, PREPROCESSING, assemble, prepared
from minicnn.cli.model_name import loaded, no_python_file, of_zoo, parse, parse_shape
from minicnn.io.model_file import Description
from minicnn.nn import Module


class NetToSee(NamedTuple):
    """A net with its description, which lists no classes where they have no names."""

    net: Module
    about: Description
    source: str
    """"file", "weights", "random", or "own" for FILE.py::NET."""


def net_to_see(model: str, weights: Path | None, labels: Path | None, settings: list[str] | None, input_size: str,
               preprocess: str, *, random: str = AUTO) -> NetToSee:  # fmt: skip
    """The net that `model` and the options name, or a usage error.

    random: the preprocessing of a net of the zoo without weights where `preprocess` is auto; auto again is ImageNet's.
    """
    console.choose("preprocessing", preprocess, (AUTO, *PREPROCESSING))
    if "::" in model:
        if not input_size:
            raise console.UsageError(f"--input is missing: {model} does not define its image size; give channels x "
                                     "height x width, such as --input 3x32x32")  # fmt: skip
        if labels:
            raise console.UsageError("--labels is for a net of the zoo: a net of your own shows the classes' numbers")
        prepare = prepared(parse_shape(input_size), preprocess)
        net = user_file.with_weights(model, parse(settings), weights)
        return NetToSee(net, Description.of(model, {}, [], prepare), "own")
    no_python_file(model)
    if input_size:
        raise console.UsageError(f"--input is for FILE.py::NET: {model} defines its image size")
    if weights:
        return NetToSee(*with_weights(model, weights, labels, settings, preprocess), "weights")
    if labels:
        raise console.UsageError("--labels needs --weights: a model file has its own class names")
    if model.partition(":")[0] in models.names() and not Path(model).exists():
        name, options = of_zoo(model, settings)
        with console.usage_errors(TypeError):
            net = models.build(name, **options)
        C, H, W = models.input_shape(name, options.get("variant", ""))
        prepare = prepared((options.get("in_channels", C), H, W), random if preprocess == AUTO else preprocess)
        return NetToSee(net, Description.of(name, options, [], prepare), "random")
    if settings:
        raise console.UsageError(f"--set is for a net that is built now; the options of the net in {model} are fixed")
    return NetToSee(*loaded(model), "file")


def with_weights(model: str, weights: Path, labels: Path | None, settings: list[str] | None,
                 preprocess: str) -> tuple[Module, Description]:  # fmt: skip
    """A net of the zoo with weights from a file; what was assumed is said."""
    name, options = of_zoo(model, settings)
    net, about, said = assemble(name, weights, labels, options, preprocess)
    for sentence in said:
        console.note(sentence)
    return net, about

