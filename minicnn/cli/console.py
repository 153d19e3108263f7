"""How the verbs speak: tables and bars for a terminal, plain text for a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from minicnn import devices
from minicnn.names import unknown

out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 160)

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's error for a wrong command line (exit code 2): where typer keeps it depends on its version."""


def fail(sentence: str, code: int) -> int:
    """Say on stderr what went wrong. → the exit code"""
    print(f"error: {sentence}", file=sys.stderr)
    return code


def print_json(value) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is one of the known; otherwise a usage error with the nearest one."""
    known = list(known)
    if name not in known:
        raise UsageError(unknown(what, name, known))
    return name


def device(name: str) -> str:
    """`name`, if it is a device that can compute here; otherwise a usage error that says why not."""
    try:
        devices.get(name)
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    return name


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table: a column whose name starts with > is aligned to the right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return made


def show(table: Table) -> None:
    """Print a table. Where it is too wide, words are cut, numbers never."""
    for column in table.columns:
        if column.justify == "right":
            column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
    out.print(table)


def bars(names: list[str], probabilities, width: int = 40) -> Iterable[str]:
    """A line for each name: its probability as a bar and in per cent."""
    longest = max(map(len, names))
    for name, p in zip(names, probabilities):
        eighths = round(float(p) * width * 8)
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        yield f"  {name:>{longest}}  {bar:<{width}}  {100 * float(p):6.2f} %"
