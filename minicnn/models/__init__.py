"""Every architecture: one paper a file, one line each in this table."""

from __future__ import annotations

import inspect
import sys

from minicnn.models.lenet import lenet5
from minicnn.names import unknown
from minicnn.nn import Module

MODELS = {
    # name: (builder, the input that it was made for: channels, height, width)
    "lenet5": (lenet5, (1, 28, 28)),
}


VARIANT_INPUTS = {("lenet5", "1998"): (1, 32, 32), ("alexnet", "paper"): (3, 227, 227)}
"""Where a variant was made for another input than the model's default."""


def names() -> list[str]:
    """What `build` can build."""
    return sorted(MODELS)


def build(name: str, **options) -> Module:
    """The net called `name` with freshly drawn weights; options are its builder's arguments, say num_classes=10."""
    builder = _entry(name)[0]
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            raise ValueError(unknown(f"option of model {name}", option, known))
    return builder(**options)


def input_shape(name: str, variant: str = "") -> tuple[int, int, int]:
    """The (channels, height, width) that a model, or its variant, was made for."""
    _entry(name)
    return VARIANT_INPUTS.get((name, variant), _entry(name)[1])


def variants(name: str) -> list[str]:
    """The values of a model's `variant=`, the default first; none where there is only one net of that name."""
    builder = _entry(name)[0]
    option = inspect.signature(builder).parameters.get("variant")
    if option is None:
        return []
    known = sys.modules[builder.__module__].VARIANTS
    return sorted(known, key=lambda variant: variant != option.default)


def _entry(name):
    if name not in MODELS:
        raise ValueError(unknown("model", name, MODELS))
    return MODELS[name]
