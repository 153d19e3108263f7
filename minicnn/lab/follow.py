"""The log of a run that trains elsewhere, as server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from minicnn.train.folder import METRICS

EVERY = 0.5
"""Seconds from look to look at the file."""
SIGN = 20
"""Looks without news after which a sign of life is sent: so a page that is gone is noticed."""


def events(run: Path, refresh: Callable[[], bool], stop: Callable[[], bool]) -> Iterator[bytes]:
    """Each line of RUN/metrics.jsonl as it comes; "again" when the log starts anew; "weights" when refresh() is."""
    sent, quiet = 0, 0
    while not stop():
        lines = read(run)
        news = []
        if len(lines) < sent:
            sent = 0
            news.append(b"event: again\ndata: {}\n\n")
        news += [f"data: {line}\n\n".encode() for line in lines[sent:]]
        sent = len(lines)
        if refresh():
            news.append(b"event: weights\ndata: {}\n\n")
        quiet = 0 if news else quiet + 1
        if quiet >= SIGN:
            news, quiet = [b": still here\n\n"], 0
        if news:
            yield b"".join(news)
        time.sleep(EVERY)


def read(run: Path) -> list[str]:
    """The complete lines of the log, each one JSON object, NaN and ∞ as null; none where there is no log."""
    try:
        text = (run / METRICS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in text.splitlines():
        try:
            record = json.loads(line, parse_constant=lambda name: None)
        except (ValueError, RecursionError):
            break                                                  # half a line: it will be whole at the next look
        if not isinstance(record, dict):
            break
        found.append(json.dumps(record))
    return found
