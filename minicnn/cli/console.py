"""Output of the verbs: tables and bars in a terminal, plain text on a pipe, JSON with --json."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from minicnn import foreign
from minicnn.cli.language import translated
from minicnn.names import quoted, unknown

T = TypeVar("T")

class SafeConsole(Console):
    """rich's console, which prints control characters in foreign text as escapes, also where a caller forgot to."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of anything that is printed; what rich itself sends to the terminal is in control segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print texts in the current language, and other objects."""
        super().print(*(translated(thing) if isinstance(thing, str) else thing for thing in objects), **settings)


out = SafeConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 160)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The type of a verb's argument for --json."""

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's error for a wrong command line (exit code 2): its place in typer depends on the version."""

PICTURES = (".png", ".jpg", ".svg", ".pdf")
PIPE_SECONDS = 10.0
"""Seconds between the progress lines of long work on a pipe, which has no progress bar."""


def silence() -> None:
    """Print nothing from now on: another rank prints the same."""
    sys.stdout = sys.stderr = out.file = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process


def fail(sentence: str, code: int) -> int:
    """Print an error on stderr. → the exit code"""
    print(translated(f"error: {foreign.terminal(sentence)}"), file=sys.stderr)
    return code


def note(sentence: str) -> None:
    """Print a remark on stderr: the result, on stdout, may go into a file."""
    print(translated(foreign.terminal(sentence)), file=sys.stderr)


def clean(text: str) -> str:
    """A sentence of ours that has foreign names, safe to print; its line breaks are kept, so clean the names before."""
    return foreign.terminal(text, lines=True)


def escape(text: object) -> str:
    """A foreign name for text with rich's markup."""
    return foreign.markup(text)


def print_json(value) -> None:
    """Print one JSON document on stdout."""
    print(foreign.json(json.dumps(value, indent=1, ensure_ascii=False)))


def say(text: str, markup: bool = True) -> None:
    """Print a sentence: wrapped in a terminal, on one line on a pipe."""
    out.print(text if markup else clean(text), markup=markup, soft_wrap=not out.is_terminal)


def count(n: int, word: str, plural: str = "") -> str:
    """"1 thread", "2 threads", "1,000 classes": a number with its noun."""
    return f"{n:,} {word if n == 1 else plural or word + 's'}"


def program() -> str:
    """How to call this program in a shell: "minicnn" if it is on the PATH, otherwise as it was called."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{quoted(sys.executable)} -m minicnn"
    return "minicnn" if shutil.which("minicnn") or not Path(sys.argv[0]).is_file() else quoted(sys.argv[0])


def suggest(title: str, commands: dict[str, str]) -> None:
    """Print commands with explanations, beside them or, in a narrow terminal, below."""
    shown = {foreign.terminal(program() + command.removeprefix("minicnn")): translated(why)
             for command, why in commands.items()}  # fmt: skip
    longest = max(map(len, shown))
    room = out.width if out.is_terminal else math.inf
    beside = 2 + longest + 3 + max(map(len, shown.values())) <= room
    out.print(title)
    for command, why in shown.items():
        text = f"  {command:<{longest}}   {why}" if beside else f"  {command}\n      {why}"
        out.print(text, markup=False, soft_wrap=True)      # a wrapped command can't be copied


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, if it is in `known`; otherwise a usage error with the nearest name."""
    known = list(known)
    if name not in known:
        sentence = unknown(what, name, known)
        if what == "model":                                # too many to list here
            sentence = f"{sentence.partition(' Known: ')[0]} `minicnn models` lists all {len(known)}"
        raise UsageError(sentence)
    return name


@contextlib.contextmanager
def usage_errors(*more: type[Exception]) -> Iterator[None]:
    """Within the block a ValueError, or one of `more`, becomes a usage error (exit code 2) with the same sentence."""
    try:
        yield
    except (ValueError, *more) as problem:  # type: ignore[misc]
        raise UsageError(str(problem)) from None


def device(name: str) -> str:
    """`name`, if that device is usable; otherwise a usage error that says why not."""
    from minicnn import devices

    with usage_errors():
        devices.get(name)
    return name


def check_out(path: Path, endings: Sequence[str], option: str = "--out", overwrite: bool = True) -> Path:
    """`path`, if a file can be written there and has one of these endings; otherwise an error that says why not."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{option} {path} must be a file in a folder that exists")
    if endings and path.suffix not in endings:
        *others, last = endings
        raise UsageError(f"{option} {path} must end in {', '.join(others) + ' or ' if others else ''}{last}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already and is kept: choose another {option}, or add --overwrite")
    return path


# ------------------------------------------------------------------------------------------------------------- progress


def progress(quiet: bool = False):
    """A progress bar for a terminal; its tasks have a description, a total and a field `loss`."""
    from minicnn.train.fit import progress_bar

    return progress_bar(out, quiet or not out.is_terminal)


def track(work: Iterable[T], what: str, quiet: bool = False, total: int | None = None) -> Iterator[T]:
    """The items of `work`, with a bar in a terminal; on a pipe with a line on stderr now and then."""
    total = len(work) if total is None and isinstance(work, Sized) else total
    if quiet:
        yield from work
    elif out.is_terminal:
        from rich.progress import track as bar

        yield from bar(work, what, total=total, console=out, transient=True)
    else:
        tell = ticker(what)
        for done, item in enumerate(work):
            yield item
            tell(done + 1, total)


def ticker(what: str) -> Callable[[int, int | None], None]:
    """A function of (done, total) that prints "WHAT: DONE of TOTAL" on stderr, once in PIPE_SECONDS."""
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if done != total and time.monotonic() - last >= PIPE_SECONDS:
            last = time.monotonic()
            print(f"{what}: {done:,}" + (f" of {total:,}" if total else ""), file=sys.stderr, flush=True)

    return tell


# --------------------------------------------------------------------------------------------------------------- tables


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table. A column whose name starts with > is aligned to the right."""
    made = Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return made


def show(table: Table, optional: Sequence[str] = ()) -> None:
    """Print a table; on a pipe always in full.

    In a terminal that is too narrow, columns named in `optional` are dropped, the first one first; then words are cut.
    Numbers and the first column stay whole.
    """
    room = out.width if out.is_terminal else math.inf
    dropped: list[Column] = []
    for name in optional if out.is_terminal else ():        # a pipe has room for all
        if _least_width(table, dropped) > room:
            dropped += [c for c in table.columns if c.header == name]
    for column in dropped[::-1]:                           # dropping the last one may have made room for an earlier one
        fewer = [c for c in dropped if c is not column]
        dropped = fewer if _least_width(table, fewer) <= room else dropped
    names = [str(c.header) for c in table.columns if c in dropped]
    if table.title:
        out.print(Text(translated(str(table.title)), "italic"), soft_wrap=not out.is_terminal)
    table = _with_columns([c for c in table.columns if c not in dropped])
    for column in table.columns:
        column.header = translated(str(column.header))
        column.width = _natural_width(column)
    words = [c for c in table.columns[1:] if c.justify != "right"]
    while words and width(table) > room and (widest := max(words, key=_set_width)) and _set_width(widest) > 8:
        widest.width = _set_width(widest) - 1
    # rich itself would cut all columns equally; the terminal wraps a table that is still too wide
    SafeConsole(file=out.file, highlight=False, emoji=False, width=max(width(table), 1)).print(table)
    if names:
        say(f"(Not shown, because the terminal is narrow: {', '.join(names)}. A pipe gets all: `… | less -S`.)")


def width(table: Table) -> int:
    """The width of a table before `show` cuts it."""
    return sum(map(_set_width, table.columns)) + 2 * (len(table.columns) - 1)


def _with_columns(columns: Sequence[Column]) -> Table:
    """A table with these columns of another table."""
    made = table(*(f"{'>' * (c.justify == 'right')}{c.header}" for c in columns))
    for cells in zip(*(c.cells for c in columns)):
        made.add_row(*cells)
    return made


def _least_width(table: Table, without: list[Column]) -> int:
    """The width without some columns: numbers and the first column whole, other words with 30 letters."""
    kept = [c for c in table.columns if c not in without]
    words = (c is not kept[0] and c.justify != "right" for c in kept)
    widths = (min(30, _natural_width(c)) if w else _natural_width(c) for c, w in zip(kept, words))
    return sum(widths) + 2 * (len(kept) - 1)


def _natural_width(column: Column) -> int:
    lines = (line for cell in (column.header, *column.cells) for line in str(cell).split("\n"))
    return max(Text.from_markup(line).cell_len for line in lines)


def _set_width(column: Column) -> int:
    return column.width or _natural_width(column)


def bars(names: list[str], probabilities, width: int = 40) -> Iterator[str]:
    """A line for each name: its probability as a bar and in per cent; as wide as the terminal allows."""
    from rich.cells import cell_len, set_cell_size

    room, names = out.width if out.is_terminal else 160, list(map(foreign.terminal, names))
    longest = min(max(map(cell_len, names)), max(8, room - 24))
    width = max(1, min(width, room - longest - 14))
    for name, p in zip(names, probabilities):
        eighths = round(float(p) * width * 8)
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        shown = name if cell_len(name) <= longest else set_cell_size(name, longest - 1) + "…"
        yield f"  {' ' * (longest - cell_len(shown))}{shown}  {bar:<{width}}  {100 * float(p):6.2f} %"
