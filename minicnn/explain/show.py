"""Pages: how an explanation is shown. A page is a list of blocks; `text` prints it at any width.

Nothing is said by colour alone: marked numbers stand in [brackets], and a shade is a sign of its own.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DEFAULT_WIDTH = 100
ABOVE, BELOW = "░▒▓█", "-=≡≣"
"""The shades of values above and below 0, the faintest first; 0 itself is a dot."""


@dataclass(frozen=True)
class Heading:
    """The title of a page or of a part of it."""

    text: str


@dataclass(frozen=True)
class Say:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A formula, and its lines below each other."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Lines that are shown as they are, at most 60 columns wide."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A matrix as numbers. rows, columns: their labels, if any."""

    title: str
    cells: tuple[tuple[str, ...], ...]
    marked: frozenset[tuple[int, int]] = frozenset()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beside:
    """Grids and the signs between them: window × filter = products. Below each other where they do not fit."""

    parts: tuple[Grid | str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers. A heading that starts with > is aligned to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shades:
    """A matrix as shades, one sign a pixel."""

    title: str
    values: np.ndarray
    legend: bool = True


Block = Heading | Say | Formula | Lines | Grid | Beside | Table | Shades


# ------------------------------------------------------------------------------------------------------------- numbers


def number(value: float) -> str:
    """A number for a sentence: integers in full, others with four digits; "6,600", "0.125", "-0.3333"."""
    value = float(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == round(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    size = abs(value)
    if 1e-3 <= size < 1e6:
        shown = f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    return f"{value:.3e}"


def numbers(values: Any) -> list[list[str]]:
    """The cells of a matrix, all with the same decimals; 0 is a dot, −∞ is padding."""
    matrix = np.asarray(values, dtype=np.float64)
    known = matrix[np.isfinite(matrix)]
    largest = float(np.abs(known).max()) if known.size else 0.0
    if np.array_equal(known, np.round(known)):
        decimals = 0
    else:
        decimals = max(0, 3 - math.floor(math.log10(largest)))
    if decimals > 7 or largest >= 1e9:
        return [[_cell_text(v, ".2e") for v in row] for row in matrix]
    return [[_cell_text(v, f".{decimals}f") for v in row] for row in matrix]


def _cell_text(v: float, form: str) -> str:
    return "pad" if v == -math.inf else "·" if v == 0 else f"{v:{form}}"


def grid(title: str, values: Any, marked: Collection[tuple[int, int]] = (),
         first: tuple[int, int] | None = None) -> Grid:  # fmt: skip
    """A Grid of a matrix. first: the row and column of its first number, where they are to be labelled."""
    cells = tuple(map(tuple, numbers(values)))
    labels: list[tuple[str, ...]] = [(), ()]
    if first is not None:
        labels = [tuple(str(start + n) for n in range(size)) for start, size in zip(first, np.shape(values))]
    return Grid(title, cells, frozenset((int(i), int(j)) for i, j in marked), *labels)


def shape(sizes: Sequence[int]) -> str:
    """"3×5×5" for (3, 5, 5)."""
    return "×".join(map(str, sizes))


def place(unit: Sequence[int]) -> str:
    """A place as text: "(3, 4)", for example."""
    return f"({', '.join(str(int(n)) for n in unit)})"


def total(products: Any, factors: Any, values: Any, result: str, rest: float = 0, most: int = 12) -> str:
    """"50·30 + 20·30 = 2,100": the products that are not 0, in reading order, with the bias."""
    pairs = [(float(x), float(w)) for p, x, w in zip(np.ravel(products), np.ravel(values), np.ravel(factors)) if p]
    terms = [product(x, w) for x, w in pairs[:most]]
    if len(pairs) > most:
        terms.append(f"… ({len(pairs) - most} more)")
    if rest:
        terms.append(_term(rest))
    return f"{' + '.join(terms)} = {result}" if terms else result


def product(*factors: float) -> str:
    """"0.1·(-2)": factors in one line, negative ones in brackets."""
    return "·".join(_term(float(factor)) for factor in factors)


def _term(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


# ---------------------------------------------------------------------------------------------------------- plain text


def text(page: Sequence[Block], width: int = DEFAULT_WIDTH) -> str:
    """The page as lines of at most `width` columns."""
    return "\n\n".join("\n".join(line.rstrip() for line in _lines(block, width)) for block in page)


def _lines(block: Block, width: int) -> list[str]:
    if isinstance(block, Heading):
        return textwrap.wrap(block.text, width) or [""]
    if isinstance(block, Say):
        return textwrap.wrap(block.text, width, break_on_hyphens=False) or [""]
    if isinstance(block, Formula):
        return [line for part in block.text.split("\n")
                for line in textwrap.wrap(part, width, initial_indent="  ", subsequent_indent="      ",
                                          break_on_hyphens=False) or [""]]  # fmt: skip
    if isinstance(block, Lines):
        return block.text.split("\n")
    if isinstance(block, Grid):
        return _grid_lines(block, width)
    if isinstance(block, Table):
        return _table_lines(block, width)
    if isinstance(block, Shades):
        return shade_lines(block, width)
    return _beside_lines(block, width)


def _grid_lines(block: Grid, width: int) -> list[str]:
    """The numbers; columns that do not fit follow below."""
    columns = list(zip(*block.cells))
    marks = bool(block.marked)
    texts = [[_cell(cell, (i, j) in block.marked, marks) for i, cell in enumerate(column)]
             for j, column in enumerate(columns)]
    heads = [f"{name} " if marks else name for name in block.columns] or [""] * len(columns)
    widths = [max(map(len, (head, *column))) for head, column in zip(heads, texts)]
    side = max(map(len, block.rows), default=0)
    lines = textwrap.wrap(block.title, width)
    start = 0
    while start < len(columns):
        end, room = start + 1, width - side - 2 - widths[start] - 1
        while end < len(columns) and room - widths[end] - 1 >= 0:
            room -= widths[end] + 1
            end += 1
        if block.columns:
            lines.append(" " * side + "  " + " ".join(h.rjust(w) for h, w in zip(heads[start:end], widths[start:end])))
        for i in range(len(block.cells)):
            label = block.rows[i].rjust(side) if block.rows else " " * side
            lines.append(label + "  " + " ".join(c[i].rjust(w) for c, w in zip(texts[start:end], widths[start:end])))
        if end < len(columns):
            lines.append("")
        start = end
    return lines


def _cell(cell: str, marked: bool, marks: bool) -> str:
    return f"[{cell}]" if marked else f"{cell} " if marks else cell


def _beside_lines(block: Beside, width: int) -> list[str]:
    pieces = [part if isinstance(part, str) else _lines(part, width) for part in block.parts]
    tall = max(len(piece) for piece in pieces if not isinstance(piece, str))
    columns = []
    for k, piece in enumerate(pieces):
        if isinstance(piece, str):
            lines = [""] * (tall // 2 + tall % 2) + [f" {piece} "]
        elif k and not isinstance(pieces[k - 1], str):
            lines = ["   " + line for line in piece]
        else:
            lines = piece
        size = max(map(len, lines))
        columns.append([line.ljust(size) for line in (*lines, *[""] * (tall - len(lines)))])
    together = [" ".join(parts) for parts in zip(*columns)]
    if max(len(line.rstrip()) for line in together) <= width:
        return together
    return [line for piece in pieces for line in ([f"  {piece}"] if isinstance(piece, str) else piece)]


def _table_lines(block: Table, width: int) -> list[str]:
    """The table; where it is too wide, each row as lines "heading: value"."""
    names = [heading.lstrip(">") for heading in block.headings]
    right = [heading.startswith(">") for heading in block.headings]
    widths = [max(map(len, column)) for column in zip(names, *block.rows)]
    if sum(widths) + 2 * len(widths) - 2 <= width:
        return ["  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right))
                for row in (names, *block.rows)]  # fmt: skip
    lines: list[str] = []
    for row in block.rows:
        lines += textwrap.wrap("   ".join(f"{name}: {cell}".lstrip(": ") for name, cell in zip(names, row)), width,
                               subsequent_indent="    ", break_on_hyphens=False)  # fmt: skip
    return lines


def shades(values: Any, limit: float | None = None) -> list[str]:
    """Lines of shades: a sign for each number, by its part of the largest absolute value."""
    matrix = np.asarray(values, dtype=np.float64)
    limit = limit or float(np.abs(matrix).max(initial=0)) or 1.0
    steps = len(ABOVE)
    level = np.clip(np.ceil(np.abs(matrix) / limit * steps - 1e-9), 0, steps).astype(int)
    return ["".join("." if not n else (ABOVE if v > 0 else BELOW)[n - 1] for n, v in zip(row, signs))
            for row, signs in zip(level, matrix)]


def shade_lines(block: Shades, width: int) -> list[str]:
    """The lines of a Shades block, reduced to the width, and the meaning of the signs."""
    values = np.asarray(block.values, dtype=np.float64)
    part = max(1, math.ceil(values.shape[1] / min(width - 2, 64)), math.ceil(values.shape[0] / 40))
    lines = textwrap.wrap(block.title, width)
    if part > 1:
        lines.append(f"  (one sign for the strongest of {part}×{part})")
        values = _strongest(values, part)
    lines += ["  " + line for line in shades(values)]
    if block.legend:
        limit = float(np.abs(values).max(initial=0))
        key = f"{ABOVE}: above 0, up to {number(limit)}; .: 0"
        lines += textwrap.wrap(key + f"; {BELOW}: below 0" * bool((values < 0).any()), width, initial_indent="  ",
                               subsequent_indent="  ")  # fmt: skip
    return lines


def _strongest(values: np.ndarray, part: int) -> np.ndarray:
    """The value of the largest size in each box of part × part."""
    H, W = values.shape
    padded = np.pad(values, ((0, -H % part), (0, -W % part)))
    boxes = padded.reshape(padded.shape[0] // part, part, padded.shape[1] // part, part).swapaxes(1, 2)
    flat = boxes.reshape(*boxes.shape[:2], part * part)
    return np.take_along_axis(flat, np.abs(flat).argmax(2)[..., None], 2)[..., 0]
