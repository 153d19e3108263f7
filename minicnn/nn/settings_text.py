"""The settings of a layer, an optimiser or a schedule as text, for its repr."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

PLAIN = (bool, int, float, str, np.generic)


def settings(thing: object) -> list[str]:
    """["3", "8", "kernel_size=3", "bias=False"]: the constructor's arguments that matter, read from the attributes.

    An argument is shown if it is the first one, if it has no default, or if its value is not the default. For a switch,
    an attribute that holds an array or a module counts as True, None as False: `bias=False`. Arguments without an
    attribute of the same name are not shown.
    """
    shown: list[str] = []
    positional = True
    arguments = list(inspect.signature(type(thing).__init__).parameters.values())[1:]
    for argument in arguments:
        if argument.name not in vars(thing):
            positional = False
            continue
        value = _short(vars(thing)[argument.name])
        if isinstance(argument.default, bool) and not isinstance(value, bool):
            value = value is not None
        required, positional = argument.default is argument.empty, positional and _is_plain(value)
        if not _is_plain(value):
            continue
        usual = vars(thing).get("kernel_size") if argument.name == "stride" and argument.default is None else \
            argument.default
        if required and positional and argument.name != "kernel_size":
            shown.append(repr(value))
        elif required or value != _short(usual) or argument is arguments[0]:
            shown.append(f"{argument.name}={value!r}")
    return shown


def sizes(parameters: list[Any]) -> str:
    """"10 parameters, 61,706 values"."""
    count = len(parameters)
    return f"{count} parameter{'s' if count != 1 else ''}, {sum(p.size for p in parameters):,} values"


def _short(value):
    """3 for (3, 3): a pair of equal numbers is written as one."""
    same = isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] and isinstance(value[0], int)
    return value[0] if same else value


def _is_plain(value):
    return value is None or isinstance(value, PLAIN) or (
        isinstance(value, (tuple, list)) and len(value) <= 8 and all(map(_is_plain, value)))
