"""FILE.py::NAME: a function or a net from a Python file of the user's own."""

from __future__ import annotations

import importlib.util
import inspect as python
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from minicnn.cli import console
from minicnn.names import unknown
from minicnn.nn import Module, init


def load(target: str, what: str = "function") -> tuple[Any, ModuleType]:
    """(the object NAME, the module) of FILE.py::NAME. The file is run, as Python runs any file.

    A usage error (exit code 2) where there is no such file or name; ValueError where running the file fails.
    """
    path, _, name = target.partition("::")
    if not Path(path).is_file():
        raise console.UsageError(f"there is no file {path}: FILE.py::{what.upper()} names a Python file and a {what} "
                                 "in it")
    spec = importlib.util.spec_from_file_location(f"_user_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise console.UsageError(f"{path} is not a Python file: its name must end in .py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)                         # it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ValueError(f"{path} can't be run: {type(problem).__name__}: {problem}") from problem
    if not hasattr(module, name):
        raise console.UsageError(f"{path} has no {what} {name!r}")
    return getattr(module, name), module


def with_weights(target: str, options: dict[str, Any], weights: Path | None) -> Module:
    """The net FILE.py::NAME with weights from a file; without one they are drawn. ValueError where they do not fit."""
    from minicnn.io.weights import load_into

    made = net(target, options, drawn=True)
    if weights is not None:
        report = load_into(made, weights, strict=False)
        if not report.ok:
            raise ValueError(f"{weights} does not fit {target} ({report})")
    return made


def net(target: str, options: dict[str, Any], drawn: bool = False) -> Module:
    """The net FILE.py::NAME: a Module, or a class or function that gives one when called with `options`.

    drawn: with its weights drawn; otherwise they have shapes only.
    """
    found, _ = load(target, "net")
    if isinstance(found, Module):
        if options:
            raise console.UsageError(f"{target} is a net already, so --set can't change it: name its class, or a "
                                     "function that returns it")
        return found
    if not callable(found):
        raise console.UsageError(f"{target} is {found!r:.60}, not a net: name a Module, a class or a function")
    known = python.signature(found).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for name in options:
            if name not in known:
                raise console.UsageError(unknown(f"option of {target}", name, known))
    try:
        with nullcontext() if drawn else init.shapes_only():
            made = found(**options)
    except Exception as problem:
        raise ValueError(f"{target} can't be built: {type(problem).__name__}: {problem}") from problem
    if not isinstance(made, Module):
        raise console.UsageError(f"{target} returns {type(made).__name__}, not a net: it must return a Module")
    return made
