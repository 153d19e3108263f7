"""Where datasets lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def folder(name: str) -> Path:
    """`$MINICNN_HOME/datasets/<name>`; the default home is `~/.cache/minicnn`. It need not exist."""
    home = os.environ.get("MINICNN_HOME") or "~/.cache/minicnn"
    return Path(home).expanduser() / "datasets" / name
