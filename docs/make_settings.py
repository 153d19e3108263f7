"""Write the tables of settings in training.md from their declarations in minicnn/train/config.py.

    python docs/make_settings.py
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from itertools import groupby
from pathlib import Path

from minicnn.train import Config

PAGE = Path(__file__).with_name("training.md")
BEGIN, END = "<!-- settings: written by make_settings.py -->", "<!-- end of settings -->"


def tables() -> str:
    """A table for each group of settings: name, meaning, default."""
    parts = []
    for group, settings in groupby(fields(Config), key=lambda f: f.metadata["group"]):
        rows = []
        for f in settings:
            default = f.default if f.default is not MISSING else f.default_factory()  # type: ignore[misc]
            verb = " (`transfer` only)" if f.metadata["verbs"] == "transfer" else ""
            shown = f"'{default}'".replace("'", '"') if isinstance(default, str) else repr(default)
            rows.append(f"| `{f.name}` | {f.metadata['help']}{verb} | `{shown}` |")
        parts.append("\n".join([f"| {group} | | default |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts)


def page() -> str:
    """The page with the tables as they must be."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{tables()}\n\n{END}", PAGE.read_text("utf-8"), flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
