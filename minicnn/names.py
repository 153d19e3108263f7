"""Names and values in error messages: unknown names, and values cut to a readable length."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable
from typing import Any

WINDOWS = os.name == "nt"
MAX_CLASSES = 100_000
"""The most classes that a file can ask for: several times the largest published data set's."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: `unknown model 'lenet6': did you mean 'lenet5'? Known: lenet5`."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} Known: {', '.join(known)}"


def quoted(word: str) -> str:
    """A word of a command, as this system's shell reads it: 'a b', on Windows "a b"."""
    if not WINDOWS:
        return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_in_quotes, word))}'"
    import subprocess

    return subprocess.list2cmdline([word])


def _in_quotes(c: str) -> str:
    """A character within $'…', whose escapes bash and zsh read."""
    if c.isprintable():
        return "\\" + c if c in "\\'" else c
    code = ord(c)
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def short(value: Any) -> str:
    """A value for an error message: its repr, at most 80 characters long, safe for values read from any file."""
    if isinstance(value, (list, tuple)):                    # one level: a pickle can nest them a million deep
        inner = [f"a {type(v).__name__}" if isinstance(v, (list, tuple)) else short(v) for v in value[:11]]
        text = ", ".join(inner) + (", …" if len(value) > 11 else "")
        text = f"[{text}]" if isinstance(value, list) else f"({text})"
    elif isinstance(value, int) and value.bit_length() > 4000:
        text = "an integer of over 4000 bits"               # which Python may refuse to print
    elif isinstance(value, (int, float, str, type(None))):
        text = repr(value[:80] if isinstance(value, str) else value)
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
