"""The reference pages, written from the code: verbs from their help, packages from their docstrings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from docs.site.pages import ROOT
from minicnn.cli import app

PACKAGES = {
    "minicnn": "minicnn.api", "minicnn.ops": "minicnn.ops", "minicnn.nn": "minicnn.nn", "minicnn.nn.init":
    "minicnn.nn.init", "minicnn.models": "minicnn.models", "minicnn.data": "minicnn.data", "minicnn.optim":
    "minicnn.optim", "minicnn.train": "minicnn.train", "minicnn.inspect": "minicnn.inspect", "minicnn.explain":
    "minicnn.explain", "minicnn.io": "minicnn.io", "minicnn.reference": "minicnn.reference", "minicnn.geometry":
    "minicnn.geometry",
}  # fmt: skip
"""The name of a page, and the module that has its names; of a package without `__all__`, the modules in it."""


def cli() -> str:
    """The page of all verbs."""
    parts = ["# The command line\n\nEvery verb of `minicnn`, from its own help, which `minicnn VERB --help` prints.\n"]
    panel = ""
    for name, verb in app.VERBS.items():
        if verb.panel != panel:
            panel = verb.panel
            parts.append(f"## {panel}\n")
        parts += _verb(f"minicnn {name}", app.load(name), "###")
        parts.append("```console\n" + "\n".join(
            "$ " + (line if " minicnn " in line else f"minicnn {line}") for line in verb.examples) + "\n```\n")
    return "\n".join(parts)


def _verb(name: str, command: Any, mark: str) -> list[str]:
    """A verb's section, and those of the verbs in it."""
    parts = [f"{mark} {name}\n", _text(command.help or "") + "\n"]
    inner = getattr(command, "commands", {})
    if not inner:
        rows = [_option(p) for p in command.params if not getattr(p, "hidden", False)]
        parts.append("| | | default |\n|---|---|---|\n" + "\n".join(row for row in rows if row) + "\n")
    for below, sub in inner.items():
        parts += _verb(f"{name} {below}", sub, mark + "#")
    return parts


def _text(help_text: str) -> str:
    """The help text as Markdown: its paragraphs, with what could be taken for markup escaped."""
    return inspect.cleandoc(help_text).replace("\b\n", "").replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")


def _option(parameter: Any) -> str:
    """A row: the option, its help, its default."""
    if "--help" in parameter.opts:
        return ""
    argument = "Argument" in type(parameter).__name__
    names = (parameter.name or "").upper() if argument else " ".join(
        sorted({*parameter.opts, *parameter.secondary_opts}, key=len, reverse=True))
    meaning = _text(getattr(parameter, "help", "") or "").replace("\n", " ").replace("|", r"\|")
    said = getattr(parameter, "show_default", True)
    default = said if isinstance(said, str) else parameter.default
    nothing = default is None or default is False or default in ("", (), []) or callable(default)
    shown = "required" if parameter.required else "" if nothing else f"`{default}`"
    return f"| `{names}` | {meaning.strip()} | {shown} |"


def api(page: str) -> str:
    """The page of a package: each public name with its signature, its docstring and its place in the code."""
    module = importlib.import_module(PACKAGES[page])
    parts = [f"# {page}\n"]
    if page != "minicnn" and module.__doc__:
        parts.append(_block(module.__doc__))
    for owner in [module] if _names(module) else _modules(module):
        heading = "##"
        if owner is not module:
            parts += [f"## {owner.__name__}\n", _block(owner.__doc__ or "")]
            heading = "###"
        for name in _names(owner):
            parts += _entry(owner, name, heading)
    return "\n".join(parts)


def _modules(package: ModuleType) -> list[ModuleType]:
    names = [f"{package.__name__}.{info.name}" for info in pkgutil.iter_modules(package.__path__)]
    return [module for module in map(importlib.import_module, names) if _names(module)]


def _names(module: ModuleType) -> list[str]:
    """The public names of a module: `__all__`, or else the functions and classes that it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    code = {name: value for name, value in vars(module).items() if inspect.isclass(value) or inspect.isroutine(value)}
    return [name for name, value in code.items() if not name.startswith("_") and inspect.getdoc(value)
            and value.__module__ == module.__name__]  # fmt: skip


def _entry(module: ModuleType, name: str, heading: str) -> list[str]:
    value = getattr(module, name)
    if not (inspect.isclass(value) or callable(value)):
        return [f"{heading} {name}\n", f"`{type(value).__name__}`\n"]
    parts = [f"{heading} {name}\n", f"```python\n{name}{signature(value)}\n```\n", _block(inspect.getdoc(value) or "")]
    if inspect.isclass(value):
        for method, code in vars(value).items():
            if method.startswith("_") or not inspect.isroutine(code) or not inspect.getdoc(code):
                continue
            bare = code.__func__ if isinstance(code, (staticmethod, classmethod)) else code
            parts += [f"```python\n{name}.{method}{signature(bare)}\n```\n", _block(inspect.getdoc(bare) or "")]
    return [*parts, source_link(value)]


def signature(value: Any) -> str:
    """The arguments of a function, or of a class's constructor, one a line where they are many."""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(…)"
    text = text.replace("'", "").replace("collections.abc.", "").replace("typing.", "")
    return text if len(text) < 88 else text.replace(", ", ",\n    ").replace("(", "(\n    ", 1)


def _block(doc: str) -> str:
    """A docstring as it is written: its formulas are aligned."""
    return f"```text\n{inspect.cleandoc(doc)}\n```\n" if doc.strip() else ""


def source(value: Any) -> tuple[PurePosixPath, int] | None:
    """The file and the line of a function or class, if it is ours."""
    bare = inspect.unwrap(value)
    try:
        path = PurePosixPath(inspect.getsourcefile(bare) or "").relative_to(ROOT)
        return path, inspect.getsourcelines(bare)[1]
    except (TypeError, OSError, ValueError):
        return None


def source_link(value: Any) -> str:
    """A link to the page that shows the code."""
    found = source(value)
    if not found:
        return ""
    path, line = found
    return f"[{path}, line {line}](../source/{path}.md#__codelineno-0-{line})\n"


def pages() -> tuple[dict[PurePosixPath, str], set[PurePosixPath]]:
    """The reference pages as {place: text}, and the files that they link to."""
    made = {PurePosixPath("reference/cli.md"): cli()}
    made |= {PurePosixPath(f"reference/{page}.md"): api(page) for page in PACKAGES}
    linked = set()
    for text in made.values():
        for part in text.split("](../source/")[1:]:
            linked.add(PurePosixPath(part.partition(".md#")[0]))
    return made, linked
