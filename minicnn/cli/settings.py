"""The options of `train` and `transfer`: one for each setting of train.Config, from its declaration there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any

import typer

from minicnn.cli import console
from minicnn.cli.model_name import parse
from minicnn.train.config import Config

KINDS = {"int": int, "float": float, "bool": bool, "str": str, "list": str, "dict": list[str]}


def with_settings(verb: str, **defaults: Any) -> Callable[[Callable], Callable]:
    """Replace `**settings` of a verb by an option for each setting; the verb gets only those that were given.

    defaults: the verb's own defaults if they differ from those of Config; they are only shown in the help.
    """
    def decorate(function: Callable) -> Callable:
        parameters = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                parameters.append(parameter)
                continue
            for f in fields(Config):
                if verb in f.metadata["verbs"].split():
                    kind = KINDS[str(f.type)] | None
                    option = Annotated[kind, _option(f, defaults)]             # type: ignore[valid-type]
                    parameters.append(
                        inspect.Parameter(f.name, parameter.KEYWORD_ONLY, default=None, annotation=option)
                    )
        function.__signature__ = inspect.Signature(parameters)                 # type: ignore[attr-defined]
        return function

    return decorate


def _option(f: Field, defaults: dict) -> Any:
    default = defaults.get(f.name, f.default)
    shown = "" if default is MISSING or default in ("", False) else str(default)
    names, metavar = (("--set",), "KEY=VALUE") if f.name == "options" else ((), None)
    return typer.Option(*names, help=f.metadata["help"], show_default=shown or False, metavar=metavar,
                        rich_help_panel=f.metadata["group"])  # fmt: skip


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given on the command line, with lists and options of the net parsed."""
    values = {name: value for name, value in settings.items() if value is not None and value != []}
    if "milestones" in values:
        values["milestones"] = _numbers(values["milestones"])
    if "options" in values:
        values["options"] = parse(values["options"])
    return values


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise console.UsageError(f"--milestones {text!r} must be epochs with commas between them: 82,123") from None
