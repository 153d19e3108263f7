"""A contact sheet: small pictures under headings, each with a remark and its file name below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments, foreign
from minicnn.data import crop, decode, fonts
from minicnn.data.doctor import KINDS, Report

CELL, LINE, GAP, HEAD = 112, 12, 8, 26
COLUMNS = 10
MAX_CELLS = 4 * COLUMNS
"""The most pictures under one heading."""
MAX_PER_PROBLEM = 5
"""The most pictures of one kind of problem."""
INK, GREY, PALE, RED = (30, 30, 30), (110, 110, 110), (225, 225, 225), (176, 32, 32)


@dataclass(frozen=True)
class Cell:
    """A picture file (None: must not be opened), its name, a remark, and whether the remark is a warning."""

    file: Path | None
    name: str
    tag: str = ""
    alarm: bool = False


Row = tuple[str, Sequence[Cell]]
"""A heading and the pictures under it."""


def report_rows(report: Report) -> list[Row]:
    """The rows for a report: problems, groups of duplicates, and some pictures of each class."""
    rows: list[Row] = []
    for stops, heading in ((True, "training would stop at these"), (False, "worth a look")):
        shown = [Cell(report.root / name if kind != "outside link" else None, name, kind, stops)
                 for kind, names in report.problems.items() for name in names[:MAX_PER_PROBLEM]
                 if KINDS[kind][0] == stops and kind not in NOT_SHOWN]
        if shown:
            rows.append((heading, shown))
    for groups, heading in ((report.exact, "the same file, twice or more"), (report.near, "nearly the same picture")):
        if groups:
            rows.append((heading, [cell for n, group in enumerate(groups, 1) for cell in _group(report, n, group)]))
    for label in report.counts():
        sound = [f.name for f in report.pictures if f.label == label and f.width]
        chosen = [sound[i] for i in np.linspace(0, len(sound) - 1, min(COLUMNS, len(sound))).round().astype(int)]
        rows.append((f"{label or 'in no class'}: {len(sound)} pictures", [Cell(report.root / n, n) for n in chosen]))
    return [row for row in rows if row[1]]


NOT_SHOWN = ("not a picture", "duplicate", "near duplicate", "two classes", "two splits")
"""Kinds that are not shown as problems: there is nothing to show, or they are shown in groups."""


def _group(report: Report, number: int, group: Sequence[str]) -> list[Cell]:
    apart = len({Path(name).parent for name in group}) > 1
    return [Cell(report.root / name, name, f"group {number}", apart) for name in group]


def draw(rows: Sequence[Row], path: str | PathLike[str]) -> None:
    """Write the sheet to a picture file; files that can't be decoded are crossed out. ValueError without rows."""
    from PIL import Image, ImageDraw

    if not rows:
        raise ValueError("there is nothing to show on a contact sheet: the folder holds no pictures")
    path = arguments.file_to_write(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{path} must have the name of a picture, such as sheet.png")
    width, tall = COLUMNS * (CELL + GAP) + GAP, [CELL + 3 * LINE + GAP if _tagged(cells) else CELL + 2 * LINE + GAP
                                                 for _, cells in rows]
    lines = [-(-min(len(cells), MAX_CELLS) // COLUMNS) for _, cells in rows]
    sheet = Image.new("RGB", (width, sum(HEAD + n * high + GAP for n, high in zip(lines, tall)) + GAP), "white")
    pen, large, small = ImageDraw.Draw(sheet), _Fonts(15), _Fonts(10)
    y = GAP
    for (heading, cells), n, high in zip(rows, lines, tall):
        more = f" (the first {MAX_CELLS} of {len(cells)})" if len(cells) > MAX_CELLS else ""
        text, font = _cut(pen, heading + more, large, width - 2 * GAP)
        pen.text((GAP, y + 3), text, INK, font)
        y += HEAD
        for i, cell in enumerate(cells[:MAX_CELLS]):
            x, top = GAP + i % COLUMNS * (CELL + GAP), y + i // COLUMNS * high
            _show(sheet, pen, cell.file, x, top)
            folder, _, last = cell.name.rpartition("/")
            remark = [(cell.tag, RED if cell.alarm else INK)] if _tagged(cells) else []
            for k, (text, colour) in enumerate([*remark, (folder, GREY), (last, INK)]):
                shown, font = _cut(pen, text, small, CELL)
                pen.text((x, top + CELL + 2 + LINE * k), shown, colour, font)
        y += n * high + GAP
    sheet.save(path)


def _tagged(cells: Sequence[Cell]) -> bool:
    return any(cell.tag for cell in cells)


def _show(sheet: Any, pen: Any, file: Path | None, x: int, y: int) -> None:
    from PIL import Image

    edge = (x, y, x + CELL - 1, y + CELL - 1)
    try:
        if file is None:
            raise ValueError("must not be opened")
        image = decode.read(file, lambda w, h: crop.around(w, h, (CELL, CELL)), (CELL, CELL), channels=3,
                            background=PALE, draft=True)
        sheet.paste(Image.fromarray(image.transpose(1, 2, 0)), (x, y))
    except (ValueError, OSError):
        pen.rectangle(edge, PALE)
        pen.line(edge, RED, 2)
        pen.line((edge[0], edge[3], edge[2], edge[1]), RED, 2)
    pen.rectangle(edge, outline=PALE)


class _Fonts:
    """The font of each text, in one size: Pillow's own, or for other alphabets one that has them."""

    def __init__(self, size: int) -> None:
        self.size, self.known = size, dict[str, Any]()

    def of(self, text: str) -> Any:
        """The font. `NoFontWarning` names the characters that no font has."""
        from PIL import ImageFont

        path = _font_file(text)
        if path not in self.known:
            self.known[path] = ImageFont.truetype(path, self.size) if path else ImageFont.load_default(self.size)
        return self.known[path]


def _font_file(text: str) -> str:
    if all(c.isascii() or c in "…×" for c in text):
        return ""
    try:
        fonts.tell(fonts.families(text)[1])
        return fonts.file_for(text)
    except ImportError:                                    # only matplotlib knows the fonts
        return ""


def _cut(pen: Any, text: str, fonts_: _Fonts, width: int) -> tuple[str, Any]:
    """(the text, shortened with … to fit into the width; its font)"""
    text = foreign.terminal(text)
    font = fonts_.of(text)
    if pen.textlength(text, font) <= width:
        return text, font
    while text and pen.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…", font
