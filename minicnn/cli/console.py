"""How the verbs speak: tables and bars for a terminal, plain text for a pipe, JSON when asked."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

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


def say(text: str, markup: bool = True) -> None:
    """Print a sentence: a terminal breaks it between words, a pipe gets it on one line."""
    out.print(text, markup=markup, soft_wrap=not out.is_terminal)


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is one of the known; otherwise a usage error with the nearest one."""
    known = list(known)
    if name not in known:
        sentence = unknown(what, name, known)
        if what == "model":                                # too many to read here
            sentence = f"{sentence.partition(' Known: ')[0]} `minicnn models` lists all {len(known)}"
        raise UsageError(sentence)
    return name


def progress(quiet: bool = False):
    """A bar, in a terminal, for work that takes long: tasks have a description, a total and a field `loss`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
               TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal)


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


def _of(columns: Sequence[Column], title) -> Table:
    """A table of these columns of another one."""
    made = table(*(f"{'>' * (c.justify == 'right')}{c.header}" for c in columns), title=title)
    for cells in zip(*(c.cells for c in columns)):
        made.add_row(*cells)
    return made


def show(table: Table, spare: Sequence[str] = ()) -> None:
    """Print a table, to a pipe all of it.

    Where a terminal is too narrow, columns named in `spare` are left out, the first one first; then words are cut,
    numbers and the first column never.
    """
    room = out.width if out.is_terminal else math.inf
    left_out: list[Column] = []
    for name in spare:
        if _least(table, left_out) > room:
            left_out += [c for c in table.columns if c.header == name]
    for column in left_out[::-1]:                          # the last one to go may have made room for an earlier one
        fewer = [c for c in left_out if c is not column]
        left_out = fewer if _least(table, fewer) <= room else left_out
    names = [str(c.header) for c in table.columns if c in left_out]
    table = _of([c for c in table.columns if c not in left_out], table.title)
    for column in table.columns:
        column.width = _natural(column)
    words = [c for c in table.columns[1:] if c.justify != "right"]
    while words and width(table) > room and (widest := max(words, key=_set)) and _set(widest) > 8:
        widest.width = _set(widest) - 1
    # rich itself would cut all columns alike; what still is too wide, the terminal may break
    Console(file=out.file, highlight=False, emoji=False, width=max(80, width(table))).print(table)
    if names:
        say(f"(Left out, for the terminal is narrow: {', '.join(names)}. A pipe gets all, as in `… | less -S`.)")


def width(table: Table) -> int:
    """How wide it is; before it is shown, when nothing is cut."""
    return sum(map(_set, table.columns)) + 2 * (len(table.columns) - 1)


def _least(table: Table, without: list[Column]) -> int:
    """How wide it is without some columns, numbers and the first column whole, other words with 30 letters."""
    kept = [c for c in table.columns if c not in without]
    words = (c is not kept[0] and c.justify != "right" for c in kept)
    return sum(min(30, _natural(c)) if w else _natural(c) for c, w in zip(kept, words)) + 2 * (len(kept) - 1)


def _natural(column: Column) -> int:
    lines = (line for cell in (column.header, *column.cells) for line in str(cell).split("\n"))
    return max(Text.from_markup(line).cell_len for line in lines)


def _set(column: Column) -> int:
    return column.width or _natural(column)


def bars(names: list[str], probabilities, width: int = 40) -> Iterable[str]:
    """A line for each name: its probability as a bar and in per cent."""
    longest = max(map(len, names))
    for name, p in zip(names, probabilities):
        eighths = round(float(p) * width * 8)
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        yield f"  {name:>{longest}}  {bar:<{width}}  {100 * float(p):6.2f} %"
