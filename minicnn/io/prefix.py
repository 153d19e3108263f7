"""Names that a file has under a prefix, such as "model." of Lightning or "module." of DataParallel."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable


def find(theirs: Iterable[str], mine: Collection[str]) -> str:
    """The prefix, with its dot, under which the names `theirs` hold most of the names `mine`; "" for none.

    ValueError where several prefixes hold equally many, such as those of a student and a teacher.
    """
    names = list(theirs)
    plain, under = sum(name in mine for name in names), Counter[str]()
    for name in names:
        for dot in re.finditer(r"\.", name):
            if name[dot.end() :] in mine:
                under[name[: dot.end()]] += 1
    most = max(under.values(), default=0)
    if most <= plain or 2 * most < len(mine):
        return ""
    found = [prefix for prefix, count in under.items() if count == most]
    if len(found) > 1:
        listed = ", ".join(map(repr, found[:5]))
        raise ValueError(f"its names hold the model's under {len(found)} prefixes, {listed}: choose one with prefix=…")
    return found[0]


def below(theirs: Iterable[str], prefix: str) -> dict[str, str]:
    """{their name: the name without the prefix} of the names that have it. ValueError where none has it."""
    names = list(theirs)
    found = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix) and name != prefix}
    if not found:
        parts = list(dict.fromkeys(f"{name.split('.')[0]}." for name in names if "." in name))
        raise ValueError(f"no name in it begins with the prefix {prefix!r}: they begin with "
                         f"{', '.join(parts[:8]) or 'names without a dot'}")
    return found
