"""The language of help and messages: English, or Korean by `minicnn --lang ko`, MINICNN_LANG=ko or a Korean locale.

The code is in English. What is printed passes through `translated`, which looks it up in ko.toml: a sentence, or a
pattern with {} where a name or a number stands. What is not in the table stays English, and so does JSON.
"""

from __future__ import annotations

import functools
import locale
import os
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import resources
from typing import Any

from minicnn.names import unknown

LANGUAGES = ("en", "ko")
HOLE = re.compile(r"\{(?:\.\.\.)?\}")
Patterns = list[tuple[re.Pattern[str], str]]
_chosen: str | None = None


def choose(name: str | None) -> None:
    """Use this language from now on, None for that of the environment; ValueError for another than "en" and "ko"."""
    global _chosen
    _chosen = None
    if name is not None and name not in LANGUAGES:
        raise ValueError(unknown("language", name, LANGUAGES))
    _chosen = name


def current() -> str:
    """The language: as chosen, of MINICNN_LANG, or of the locale if the terminal can print it."""
    if _chosen:
        return _chosen
    asked = os.environ.get("MINICNN_LANG", "")
    if asked:
        return asked if asked in LANGUAGES else "en"
    names = [os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    named = next(filter(None, names), locale.getlocale()[0] or "")
    return "ko" if named.lower().startswith("ko") and _can_print("한") else "en"


def _can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def translated(text: str) -> str:
    """A text of ours in the current language: as a whole, or line by line. Spaces around it stay."""
    return text if current() == "en" or not text.strip() else _in_korean(text)


@functools.lru_cache(4096)
def _in_korean(text: str) -> str:
    if (whole := _sentence(text.strip(), *_table()[:2])) is not None:
        start = len(text) - len(text.lstrip())
        return text[:start] + whole + text[len(text.rstrip()) :]
    return "\n".join(map(_in_korean, text.split("\n"))) if "\n" in text else text


def _sentence(text: str, exact: dict[str, str], patterns: Patterns) -> str | None:
    """The Korean of a text that is in the table, or matches one of its patterns."""
    if text in exact:
        return exact[text]
    for pattern, korean in patterns:
        if found := pattern.fullmatch(text):
            return _filled(korean, found.groups())
    return None


def _filled(korean: str, parts: Iterable[str]) -> str:
    """A pattern's translation with the parts in its holes."""
    rest = iter(parts)
    return HOLE.sub(lambda hole: _part(next(rest)) if hole.group() == "{...}" else next(rest), korean)


def _part(text: str) -> str:
    """The Korean of a part of a sentence."""
    _, _, exact, patterns = _table()
    return _sentence(text, exact, patterns) or _in_korean(text)


@functools.cache
def _table() -> tuple[dict[str, str], Patterns, dict[str, str], Patterns]:
    """(texts, patterns, those of parts) of ko.toml. {} is any text, {...} a part, (s) and (es) an ending or nothing.

    The patterns with the most words of their own come first.
    """
    rows = tomllib.loads(resources.files("minicnn.cli").joinpath("ko.toml").read_text("utf-8"))
    parts = rows.pop("parts")
    whole = {english: korean for section in rows.values() for english, korean in section.items()}
    return (*_split(whole), *_split(parts))


def _split(table: dict[str, str]) -> tuple[dict[str, str], Patterns]:
    """(texts without holes, patterns of those with holes)."""
    exact = {english: korean for english, korean in table.items() if "{" not in english}
    with_holes = sorted(table.keys() - exact.keys(), key=lambda english: (-len(HOLE.sub("", english)), english))
    return exact, [(_pattern(english), table[english]) for english in with_holes]


def _pattern(english: str) -> re.Pattern[str]:
    words = [re.sub(r"\\\((e?s)\\\)", "(?:\\1)?", re.escape(word)) for word in HOLE.split(english)]
    return re.compile("(.+?)".join(words), re.S)


def paragraphs(text: str) -> str:
    """A help text, paragraph by paragraph: the lines of each are one sentence or more."""
    return "\n\n".join(translated(" ".join(part.split())) for part in text.split("\n\n"))


def translate_help(command: Any) -> None:
    """Change the help texts of a click command, its arguments and options, and its own commands."""
    if current() == "en":
        return
    for thing in (command, *command.params):
        for name in ("help", "short_help", "rich_help_panel"):
            text = getattr(thing, name, None)
            if isinstance(text, str) and text:
                setattr(thing, name, paragraphs(text))
    if isinstance(command.epilog, str):
        command.epilog = paragraphs(command.epilog)
    usual = command.get_help_option

    def help_option(context: Any) -> Any:
        """The option --help, which click makes when it is asked for."""
        option = usual(context)
        option.help = translated(option.help)
        return option

    command.get_help_option = help_option
    for inner in getattr(command, "commands", {}).values():
        translate_help(inner)
    translate_frames()


def translate_frames() -> None:
    """The titles that typer writes around help texts; their names differ between its versions."""
    from rich.text import Text
    from typer import rich_utils

    Text.rstrip_end = _rstrip_end  # type: ignore[assignment, method-assign]

    for name in ("ARGUMENTS_PANEL_TITLE", "OPTIONS_PANEL_TITLE", "COMMANDS_PANEL_TITLE", "DEFAULT_STRING",
                 "REQUIRED_LONG_STRING"):
        if isinstance(text := getattr(rich_utils, name, None), str):
            setattr(rich_utils, name, translated(text))


def _rstrip_end(text: Any, size: int) -> None:
    """rich's Text.rstrip_end, counting columns.

    rich counts characters: of a line of Hangul, two columns each, it leaves the space at the end, and the last letter
    is then cut off as too wide.
    """
    spaces = len(text.plain) - len(text.plain.rstrip())
    if (excess := text.cell_len - size) > 0 and spaces:
        text.right_crop(min(spaces, excess))
