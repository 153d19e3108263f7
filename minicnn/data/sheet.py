"""A contact sheet: small pictures in rows under headings, each with its name below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data import picture
from minicnn.data.doctor import KINDS, Report

CELL, TEXT, GAP, HEAD = 112, 30, 8, 26
COLUMNS = 10
MOST = 2 * COLUMNS
"""Pictures a heading."""
INK, PALE, RED = (30, 30, 30), (225, 225, 225), (176, 32, 32)


@dataclass(frozen=True)
class Row:
    """A heading, whether it is red, and (file, what stands below it) of what belongs to it."""

    heading: str
    alarm: bool
    cells: Sequence[tuple[Path, str]]


def of_report(report: Report) -> list[Row]:
    """The rows that show what the doctor found: each problem, the groups of duplicates, and some of each class."""
    rows = []
    for kind, names in report.problems.items():
        stops, meaning = KINDS[kind]
        if kind == "no picture":
            continue
        if kind.startswith(("two", "duplicate", "near")):
            continue
        rows.append(Row(f"{kind}: {len(names)}, {meaning}", stops, [(report.root / name, name) for name in names]))
    for groups, word in ((report.exact, "the same file"), (report.near, "nearly the same picture")):
        for group in groups[:MOST]:
            rows.append(Row(f"{word}, {len(group)} times", len({Path(name).parent for name in group}) > 1,
                            [(report.root / name, name) for name in group]))
    for label in report.counts():
        sound = [f.name for f in report.pictures if f.label == label and f.width]
        chosen = [sound[i] for i in np.linspace(0, len(sound) - 1, min(COLUMNS, len(sound))).round().astype(int)]
        rows.append(Row(f"{label or 'in no class'}: {len(sound)} pictures", False,
                        [(report.root / name, name) for name in chosen]))
    return rows


def draw(rows: Sequence[Row], path: str | PathLike[str]) -> None:
    """Write the sheet to a picture file; what can't be decoded is a grey field. ValueError where there is nothing."""
    from PIL import Image, ImageDraw, ImageFont

    if not rows:
        raise ValueError("there is nothing to show on a contact sheet: the folder holds no pictures")
    lines = [-(-min(len(row.cells), MOST) // COLUMNS) for row in rows]
    width = COLUMNS * (CELL + GAP) + GAP
    sheet = Image.new("RGB", (width, sum(HEAD + n * (CELL + TEXT) + GAP for n in lines) + GAP), "white")
    pen, large, small = ImageDraw.Draw(sheet), ImageFont.load_default(15), ImageFont.load_default(10)
    y = GAP
    for row, n in zip(rows, lines):
        hidden = len(row.cells) - MOST
        heading = f"{row.heading}{f'; {MOST} of them:' if hidden > 0 else ''}"
        pen.text((GAP, y + 3), _cut(pen, heading, large, width - 2 * GAP), RED if row.alarm else INK, large)
        y += HEAD
        for i, (file, name) in enumerate(row.cells[:MOST]):
            x, top = GAP + i % COLUMNS * (CELL + GAP), y + i // COLUMNS * (CELL + TEXT)
            _cell(sheet, pen, file, x, top)
            folder, _, last = name.rpartition("/")
            for k, line in enumerate((folder, last)):
                pen.text((x, top + CELL + 2 + 12 * k), _cut(pen, line, small, CELL), INK, small)
        y += n * (CELL + TEXT) + GAP
    sheet.save(path)


def _cell(sheet: Any, pen: Any, file: Path, x: int, y: int) -> None:
    from PIL import Image

    try:
        image = picture.read(file, lambda w, h: picture.around(w, h, (CELL, CELL)), (CELL, CELL), channels=3,
                             background=PALE, draft=True)
    except (ValueError, OSError):
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), PALE)
        pen.line((x, y, x + CELL - 1, y + CELL - 1), RED, 2)
        pen.line((x, y + CELL - 1, x + CELL - 1, y), RED, 2)
        return
    sheet.paste(Image.fromarray(image.transpose(1, 2, 0)), (x, y))


def _cut(pen: Any, text: str, font: Any, width: int) -> str:
    """The text, or its beginning and …, so that it fits."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
