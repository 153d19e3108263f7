"""Every architecture: one paper a file, one line each in this table."""

from __future__ import annotations

import inspect

from minicnn.models.lenet import lenet5
from minicnn.names import unknown
from minicnn.nn import Module

MODELS = {
    # name: (builder, the input that it was made for: channels, height, width)
    "lenet5": (lenet5, (1, 28, 28)),
}


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


def input_shape(name: str) -> tuple[int, int, int]:
    """The (channels, height, width) that a model was made for."""
    return _entry(name)[1]


def _entry(name):
    if name not in MODELS:
        raise ValueError(unknown("model", name, MODELS))
    return MODELS[name]
