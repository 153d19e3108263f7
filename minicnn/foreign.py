r"""Foreign text, made safe for where it is shown: names of classes, files, folders and layers can hold anything.

    terminal(name)   no escape sequences, no line breaks, no changes of writing direction
    markup(name)     the same, and no rich markup: [bold] stays [bold]
    picture(name)    the same as in the terminal, and no mathematics of matplotlib: $x$ stays $x$
    html(name)       the same, and no HTML

What is unsafe is shown as its escape: "\x1b", "\u202e". All that prints or draws foreign text calls one of these.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from html import escape as escape_html

KEPT = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\ufe0e\ufe0f")
"""Format characters that scripts and emoji are written with."""


def terminal(text: object, lines: bool = False) -> str:
    """The text for a terminal. lines: line breaks and tabs are kept, for a text of our own that has foreign names."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():            # most names
        return shown
    return "".join(c if _safe(c) or (lines and c in "\n\t") else _escaped(c) for c in shown)


def markup(text: object) -> str:
    """The text for rich's markup."""
    from rich.markup import escape

    shown = terminal(text)
    stem = shown.rstrip("\\")
    # rich takes backslashes at the end for escapes of the tag that follows the name
    return escape(stem) + 2 * (len(shown) - len(stem)) * "\\"


def picture(text: object) -> str:
    """The text for a figure of matplotlib."""
    return terminal(text).replace("$", r"\$")


def html(text: object) -> str:
    """The text for HTML, also within quotes."""
    return escape_html(terminal(text))


def json(document: str) -> str:
    """A JSON document, of which the texts' unsafe characters become JSON's own escapes."""
    if document.isascii() and "\x7f" not in document:
        return document
    return "".join(c if _safe(c) or c == "\n" else _json_escape(c) for c in document)


def _json_escape(c: str) -> str:
    digits = c.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[i : i + 4]}" for i in range(0, len(digits), 4))


class NoFontWarning(UserWarning):
    """No installed font has some characters of a name in a picture."""


OUTPUTS: tuple[Callable[[object], str], ...] = (terminal, markup, picture, html)


def _safe(c: str) -> bool:
    return unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or c in KEPT


def _escaped(c: str) -> str:
    code = ord(c)
    short = {10: r"\n", 13: r"\r", 9: r"\t"}.get(code)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
