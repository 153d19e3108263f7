"""Fonts for foreign names: found by the characters that they have, among the fonts that matplotlib knows.

Matplotlib's own font has the Latin, Greek, Cyrillic, Hebrew and Arabic alphabets, and no Hangul, Chinese or Japanese.
Where no font has a character, one line says which package to install.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

from minicnn.foreign import NoFontWarning

OWN = "DejaVu Sans"
"""Matplotlib's font, which it always has."""

PACKAGES = (
    # a word in the Unicode names of the characters, and Debian's package with a font for them
    (("HANGUL", "CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "IDEOGRAPH", "FULLWIDTH"), "fonts-noto-cjk"),
    (("FACE", "EMOJI", "HAND", "HEART", "CAT", "MAN", "WOMAN", "SYMBOL"), "fonts-symbola"),
)
MOST = 8  # characters that the line names


def families(text: str) -> tuple[list[str], set[str]]:
    """(further fonts for the characters that matplotlib's own lacks, the characters that no font has)."""
    left = {c for c in text if not _invisible(c)} - _own()
    chosen: list[str] = []
    for entries in (_known, _not_yet_known):               # fonts installed after matplotlib made its list come second
        if not left:
            break
        offers = [(name, {c for c in left if ord(c) in _characters(path)}) for name, path in entries()]
        while left and (best := max(offers, key=lambda offer: len(offer[1] & left), default=None)):
            if not best[1] & left:
                break
            chosen.append(best[0])
            left = left - best[1]
    return chosen, left


def file_for(text: str) -> str:
    """The path of the font that has the most characters of a text."""
    chosen, _ = families(text)
    from matplotlib import font_manager

    wanted = {c for c in text if not _invisible(c)}
    paths = [font_manager.findfont(name) for name in (OWN, *chosen)]
    return max(paths, key=lambda path: sum(ord(c) in _characters(path) for c in wanted))


def tell(missing: Iterable[str]) -> None:
    """Warn with one line about characters that no font has; each only once in a process."""
    new = sorted(set(missing) - _told)
    if not new:
        return
    _told.update(new)
    more = f" and {len(new) - MOST} more characters" if len(new) > MOST else ""
    names = [unicodedata.name(c, "") for c in new]
    found = [package for words, package in PACKAGES if any(word in name for name in names for word in words)]
    install = " or ".join(found or ["fonts-noto-core"])
    warnings.warn(f"no installed font has {' '.join(new[:MOST])}{more}: they are drawn as boxes; install a font that "
                  f"has them, such as the package {install}", NoFontWarning, stacklevel=2)


_told: set[str] = set()


def _invisible(c: str) -> bool:
    return c.isspace() or unicodedata.category(c) in ("Cc", "Cf", "Mn")


@cache
def _own() -> frozenset[str]:
    from matplotlib import font_manager

    return frozenset(map(chr, _characters(font_manager.findfont(OWN))))


@cache
def _characters(path: str) -> frozenset[int]:
    """The characters of a font; none where it can't be drawn, as coloured emoji can't."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        font.set_size(10, 72)                              # fails for fonts of pictures instead of outlines
        return frozenset(font.get_charmap())
    except Exception:  # a damaged font must not stop a figure
        return frozenset()


def _known() -> list[tuple[str, str]]:
    """(name, path) of each upright font of the usual weight that matplotlib knows."""
    from matplotlib import font_manager

    return [(entry.name, entry.fname) for entry in font_manager.fontManager.ttflist if _usable(entry)]


def _not_yet_known() -> list[tuple[str, str]]:
    """The same of the fonts that were installed since matplotlib listed them."""
    from matplotlib import font_manager

    listed: Any = font_manager.fontManager
    before, files = len(listed.ttflist), {entry.fname for entry in listed.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in files:
            try:
                listed.addfont(path)
            except Exception:  # not every file with the name of a font is one
                continue
    return [(entry.name, entry.fname) for entry in listed.ttflist[before:] if _usable(entry)]


def _usable(entry: Any) -> bool:
    """Whether it is upright, and not the font that shows boxes for all characters."""
    return entry.style == "normal" and "lastresort" not in f"{entry.name}{entry.fname}".lower().replace(" ", "")
