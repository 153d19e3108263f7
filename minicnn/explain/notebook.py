"""Pages of explanations as HTML, for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from minicnn.explain.show import (
    DEFAULT_WIDTH,
    Beside,
    Block,
    Formula,
    Heading,
    Lines,
    Say,
    Shades,
    Table,
    shade_lines,
)


def html(page: Sequence[Block]) -> str:
    """The page for a notebook."""
    return "<div>" + "\n".join(map(_html, page)) + "</div>"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<p><b>{escape(block.text)}</b></p>"
    if isinstance(block, Say):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, (Formula, Lines)):
        return "<pre style='white-space: pre-wrap'>" + escape(block.text) + "</pre>"
    if isinstance(block, Shades):
        return "<pre style='line-height: 1'>" + escape("\n".join(shade_lines(block, DEFAULT_WIDTH))) + "</pre>"
    if isinstance(block, Beside):
        cells = (f"<td style='border: 0'>{escape(p) if isinstance(p, str) else _html(p)}</td>" for p in block.parts)
        return f"<table style='border: 0'><tr>{''.join(cells)}</tr></table>"
    if isinstance(block, Table):
        styles = ["text-align: " + ("right" if h.startswith(">") else "left") for h in block.headings]
        head = "".join(f"<th style='{s}'>{escape(h.lstrip('>'))}</th>" for s, h in zip(styles, block.headings))
        rows = ("".join(f"<td style='{s}'>{escape(c)}</td>" for s, c in zip(styles, row)) for row in block.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table>"
    lines = [f"<caption>{escape(block.title)}</caption>"]
    if block.columns:
        corner = "<th></th>" * bool(block.rows)
        lines.append(f"<tr>{corner}{''.join(f'<th>{escape(c)}</th>' for c in block.columns)}</tr>")
    for i, row in enumerate(block.cells):
        label = f"<th>{escape(block.rows[i])}</th>" if block.rows else ""
        lines.append(f"<tr>{label}" + "".join(
            f"<td><b>[{escape(c)}]</b></td>" if (i, j) in block.marked else f"<td>{escape(c)}</td>"
            for j, c in enumerate(row)) + "</tr>")  # fmt: skip
    return f"<table>{''.join(lines)}</table>"
